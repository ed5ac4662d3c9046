package dev.flowspan.internal;

import dev.flowspan.v1.ReportRequest;
import dev.flowspan.v1.ReportResponse;
import dev.flowspan.v1.Welcome;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One connection of a session. Its fields are guarded by the lock of the outbox. */
final class Link implements ClientResponseObserver<ReportRequest, ReportResponse> {
  private static final Logger LOG = LoggerFactory.getLogger("dev.flowspan.reporter");

  private final Outbox outbox;
  private final Consumer<ReportResponse> receiver;

  ClientCallStreamObserver<ReportRequest> stream;
  Welcome welcome;
  Status status;
  Metadata trailers;

  /**
   * Creates a connection that is not open yet.
   *
   * @param receiver gets the frames after Welcome, without the lock
   */
  Link(Outbox outbox, Consumer<ReportResponse> receiver) {
    this.outbox = outbox;
    this.receiver = receiver;
  }

  /** Sends a frame. If the stream has ended meanwhile, {@link #status} says why. */
  void send(ReportRequest frame) {
    try {
      stream.onNext(frame);
    } catch (IllegalStateException ended) {
      LOG.debug("The stream ended while a frame was sent", ended);
    }
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<ReportRequest> requests) {
    stream = requests;
    requests.setOnReadyHandler(this::wake);
  }

  @Override
  public void onNext(ReportResponse frame) {
    if (frame.hasWelcome()) {
      locked(() -> welcome = frame.getWelcome());
    } else {
      receiver.accept(frame);
    }
  }

  @Override
  public void onError(Throwable error) {
    Status end = Status.fromThrowable(error);
    Metadata last = Status.trailersFromThrowable(error);
    locked(
        () -> {
          status = end;
          trailers = last;
        });
  }

  @Override
  public void onCompleted() {
    locked(() -> status = Status.OK);
  }

  private void wake() {
    locked(() -> {});
  }

  private void locked(Runnable change) {
    outbox.lock.lock();
    try {
      change.run();
      outbox.changed.signal();
    } finally {
      outbox.lock.unlock();
    }
  }
}
