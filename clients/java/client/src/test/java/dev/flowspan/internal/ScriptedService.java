package dev.flowspan.internal;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.ErrorInfo;
import dev.flowspan.v1.Ack;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.GetInfoRequest;
import dev.flowspan.v1.GetInfoResponse;
import dev.flowspan.v1.Hello;
import dev.flowspan.v1.ReportRequest;
import dev.flowspan.v1.ReportResponse;
import dev.flowspan.v1.ReportServiceGrpc;
import dev.flowspan.v1.RunCompleted;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateEntered;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.SystemServiceGrpc;
import dev.flowspan.v1.Welcome;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * A service that keeps events in memory, checks the rules of the stream, and misbehaves on demand.
 */
final class ScriptedService implements AutoCloseable {
  /** Reacts to frames. Called with the lock of the service. */
  interface Script {
    /** Reacts to Hello; by default with a Welcome. Returns false to say nothing. */
    default boolean onHello(Connected connected, Hello hello) {
      return true;
    }

    /** Reacts to a stored batch; by default with an ack. Returns false to say nothing. */
    default boolean onBatch(Connected connected, long lastSequence) {
      return true;
    }
  }

  final List<Event> events = new ArrayList<>();
  final List<Hello> hellos = new ArrayList<>();
  final List<Long> frameSizes = new ArrayList<>();
  final List<String> problems = new ArrayList<>();
  Welcome welcome =
      Welcome.newBuilder()
          .setMaxUnackedEvents(20_000)
          .setMaxFrameBytes(1 << 20)
          .setMaxBatchBytes(1 << 20)
          .setLease(Duration.newBuilder().setSeconds(30))
          .build();
  int heartbeats;
  int goodbyes;
  int shortRuns;
  long acked;
  private Connected current;
  private Script script = new Script() {};
  private final Server server;

  ScriptedService() throws IOException {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
            .addService(new Reports())
            .addService(new Info())
            .build()
            .start();
  }

  synchronized void follow(Script next) {
    script = next;
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  synchronized <T> T read(java.util.function.Supplier<T> reader) {
    return reader.get();
  }

  /** Ends the current connection. */
  synchronized void end(StatusRuntimeException error) {
    current.end(error);
  }

  static StatusRuntimeException error(Status.Code code, String reason) {
    return error(code, reason, Map.of());
  }

  static StatusRuntimeException error(
      Status.Code code, String reason, Map<String, String> metadata) {
    com.google.rpc.Status.Builder status =
        com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("scripted");
    if (!reason.isEmpty()) {
      status.addDetails(
          Any.pack(
              ErrorInfo.newBuilder()
                  .setReason(reason)
                  .setDomain("flowspan.v1")
                  .putAllMetadata(metadata)
                  .build()));
    }
    return StatusProto.toStatusRuntimeException(status.build());
  }

  @Override
  public void close() throws InterruptedException {
    server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
  }

  /** One connection, for scripts. */
  final class Connected implements StreamObserver<ReportRequest> {
    private final StreamObserver<ReportResponse> out;
    private boolean ended;

    Connected(StreamObserver<ReportResponse> out) {
      this.out = out;
    }

    void send(ReportResponse frame) {
      out.onNext(frame);
    }

    void ack(long sequence) {
      acknowledge(Ack.newBuilder().setUpToSequence(sequence).build());
    }

    void acknowledge(Ack ack) {
      acked = Math.max(acked, ack.getUpToSequence());
      send(ReportResponse.newBuilder().setAck(ack).build());
    }

    void end(StatusRuntimeException error) {
      ended = true;
      out.onError(error);
    }

    @Override
    public void onNext(ReportRequest frame) {
      synchronized (ScriptedService.this) {
        if (ended) {
          return;
        }
        switch (frame.getFrameCase()) {
          case HELLO -> hello(frame.getHello());
          case BATCH -> batch(frame);
          case HEARTBEAT -> heartbeats++;
          case GOODBYE -> goodbyes++;
          default -> problems.add("an unknown frame");
        }
      }
    }

    private void hello(Hello hello) {
      hellos.add(hello);
      current = this;
      if (script.onHello(this, hello)) {
        acked = events.size();
        send(
            ReportResponse.newBuilder()
                .setWelcome(welcome.toBuilder().setResumeAfter(events.size()))
                .build());
      }
    }

    private void batch(ReportRequest frame) {
      long first = frame.getBatch().getFirstSequence();
      List<Event> parts = new ArrayList<>();
      frame.getBatch().getEventsList().forEach(event -> addParts(event, parts));
      int count = parts.size();
      frameSizes.add((long) frame.getSerializedSize());
      if (first > events.size() + 1) {
        problems.add("a gap before " + first);
      }
      if (frame.getSerializedSize() > welcome.getMaxFrameBytes()) {
        problems.add("a frame of " + frame.getSerializedSize() + " bytes");
      }
      if (first + count - 1 - acked > welcome.getMaxUnackedEvents()) {
        problems.add("a full window");
      }
      for (int index = 0; index < count; index++) {
        if (first + index > events.size()) {
          events.add(parts.get(index));
        }
      }
      if (script.onBatch(this, first + count - 1)) {
        ack(events.size());
      }
    }

    private void addParts(Event event, List<Event> parts) {
      if (!event.hasRunCompleted()) {
        parts.add(event);
        return;
      }
      shortRuns++;
      if (!welcome.getCapabilitiesList().contains(ShortRuns.CAPABILITY)) {
        problems.add("a short run, which this service does not know");
      }
      RunCompleted run = event.getRunCompleted();
      String id = run.getCreated().getRunId();
      State running =
          State.newBuilder()
              .setType(StateType.STATE_TYPE_RUNNING)
              .setName("Running")
              .setTime(run.getStartTime())
              .build();
      parts.add(Event.newBuilder().setRunCreated(run.getCreated()).build());
      for (State state : List.of(running, run.getEnded())) {
        StateEntered entered =
            StateEntered.newBuilder().setRunId(id).setAttempt(1).setState(state).build();
        parts.add(Event.newBuilder().setStateEntered(entered).build());
      }
    }

    @Override
    public void onError(Throwable error) {
      ended = true;
    }

    @Override
    public void onCompleted() {
      out.onCompleted();
    }
  }

  private final class Reports extends ReportServiceGrpc.ReportServiceImplBase {
    @Override
    public StreamObserver<ReportRequest> report(StreamObserver<ReportResponse> responses) {
      return new Connected(responses);
    }
  }

  private static final class Info extends SystemServiceGrpc.SystemServiceImplBase {
    @Override
    public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> response) {
      response.onNext(GetInfoResponse.newBuilder().setVersion("scripted").build());
      response.onCompleted();
    }
  }
}
