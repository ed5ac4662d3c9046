package dev.flowspan.internal;

import dev.flowspan.FlowspanException;
import dev.flowspan.Stream;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.LogServiceGrpc;
import dev.flowspan.v1.TailLogsRequest;
import dev.flowspan.v1.TailLogsResponse;
import dev.flowspan.v1.WatchRequest;
import dev.flowspan.v1.WatchResponse;
import dev.flowspan.v1.WatchServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.atomic.AtomicBoolean;

/** Streams that resume after broken connections. */
public final class Streams {
  private Streams() {}

  /** Watches runs. */
  public static Stream<WatchResponse> watch(Connection connection, WatchRequest request) {
    return new Resuming<>(
        connection,
        WatchServiceGrpc.getWatchMethod(),
        new Resuming.Cursor<WatchRequest, WatchResponse, WatchResponse>() {
          private String token = request.getResumeToken();
          private boolean fresh = true;

          @Override
          public WatchRequest request() {
            if (token.isEmpty()) {
              return request;
            }
            WatchRequest.Builder resumed = request.toBuilder().setResumeToken(token);
            // With a token there is no snapshot, so these would contradict it.
            return fresh ? request : resumed.clearChangesOnly().clearSnapshot().build();
          }

          @Override
          public boolean canResume() {
            return !token.isEmpty();
          }

          @Override
          public void take(WatchResponse frame, Deque<WatchResponse> items) {
            if (!frame.getResumeToken().isEmpty()) {
              token = frame.getResumeToken();
              fresh = false;
            }
            boolean isItem =
                frame.getItemCase() != WatchResponse.ItemCase.KEEP_ALIVE
                    && frame.getItemCase() != WatchResponse.ItemCase.ITEM_NOT_SET;
            if (isItem) {
              items.add(frame);
            }
          }
        });
  }

  /** Follows logs, with the pieces of long records joined. */
  public static Stream<LogRecord> tail(Connection connection, TailLogsRequest request) {
    return new Resuming<>(
        connection,
        LogServiceGrpc.getTailLogsMethod(),
        new Resuming.Cursor<TailLogsRequest, TailLogsResponse, LogRecord>() {
          private final LogPieces pieces = new LogPieces();
          private long position = request.getAfterPosition();

          @Override
          public TailLogsRequest request() {
            return request.toBuilder().setAfterPosition(position).build();
          }

          @Override
          public boolean canResume() {
            return true;
          }

          @Override
          public void take(TailLogsResponse frame, Deque<LogRecord> items) {
            for (LogRecord record : frame.getLogsList()) {
              position = Math.max(position, record.getPosition());
              pieces.add(record, items::add);
            }
            position = Math.max(position, frame.getPosition());
          }
        });
  }

  /** A stream of the service, called again where it broke. */
  private static final class Resuming<Q, A, T> implements Stream<T> {
    private static final int MAX_FAILURES = 8;

    private final Connection connection;
    private final MethodDescriptor<Q, A> method;
    private final Cursor<Q, A, T> cursor;
    private final Deque<T> items = new ArrayDeque<>();
    private final Context.CancellableContext context = Context.ROOT.withCancellation();
    private final AtomicBoolean isClosed = new AtomicBoolean();
    private final AtomicBoolean isIterated = new AtomicBoolean();
    private final Backoff backoff = new Backoff();
    private Iterator<A> frames;
    private boolean hasEnded;
    private int failures;

    Resuming(Connection connection, MethodDescriptor<Q, A> method, Cursor<Q, A, T> cursor) {
      this.connection = connection;
      this.method = method;
      this.cursor = cursor;
    }

    /** The place in the stream. */
    interface Cursor<Q, A, T> {
      Q request();

      boolean canResume();

      void take(A frame, Deque<T> items);
    }

    @Override
    public Iterator<T> iterator() {
      if (isIterated.getAndSet(true)) {
        throw new IllegalStateException("A stream can be iterated only once.");
      }
      return new Iterator<>() {
        @Override
        public boolean hasNext() {
          while (items.isEmpty() && !hasEnded && !isClosed.get()) {
            read();
          }
          return !items.isEmpty() && !isClosed.get();
        }

        @Override
        public T next() {
          if (!hasNext()) {
            throw new NoSuchElementException();
          }
          return items.remove();
        }
      };
    }

    private void read() {
      try {
        if (frames == null) {
          frames = open();
        }
        if (frames.hasNext()) {
          cursor.take(frames.next(), items);
          failures = 0;
          backoff.reset();
        } else {
          hasEnded = true;
        }
      } catch (StatusRuntimeException error) {
        frames = null;
        if (!isClosed.get()) {
          recover(Errors.of(error.getStatus(), error.getTrailers(), connection.address()));
        }
      }
    }

    private Iterator<A> open() {
      Context before = context.attach();
      try {
        return ClientCalls.blockingServerStreamingCall(
            connection.channel(), method, CallOptions.DEFAULT, cursor.request());
      } finally {
        context.detach(before);
      }
    }

    private void recover(Errors.Failed failed) {
      failures++;
      boolean passes =
          failed.error().retryable()
              || (failed.error().code() == Status.Code.INTERNAL
                  && failed.error().reason().isEmpty());
      if (!passes || !cursor.canResume() || failures > MAX_FAILURES) {
        throw failed.error();
      }
      try {
        Thread.sleep(backoff.nextNanos(failed.retryDelay()) / 1_000_000);
      } catch (InterruptedException interrupt) {
        Thread.currentThread().interrupt();
        throw new FlowspanException(
            Status.Code.CANCELLED,
            "",
            "The thread was interrupted while it waited for the service.",
            java.util.Map.of(),
            false,
            interrupt);
      }
      connection.reconnectNow();
    }

    @Override
    public void close() {
      if (!isClosed.getAndSet(true)) {
        context.cancel(null);
      }
    }
  }
}
