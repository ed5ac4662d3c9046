package dev.flowspan.internal;

import dev.flowspan.FlowspanException;
import dev.flowspan.v1.Ack;
import dev.flowspan.v1.Batch;
import dev.flowspan.v1.Command;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.Goodbye;
import dev.flowspan.v1.Heartbeat;
import dev.flowspan.v1.ReportRequest;
import dev.flowspan.v1.ReportResponse;
import dev.flowspan.v1.ReportServiceGrpc;
import dev.flowspan.v1.Verdict;
import dev.flowspan.v1.VerdictKind;
import dev.flowspan.v1.Welcome;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reports the events of this process over one stream, and resumes it after broken connections.
 *
 * <p>One daemon thread sends; gRPC's threads receive. Both share the {@link Outbox} and its lock.
 */
public final class Reporter {
  static final int URGENT_EVENTS = 2000;
  static final long URGENT_BYTES = 512 << 10;

  private static final Logger LOG = LoggerFactory.getLogger("dev.flowspan.reporter");
  private static final int MAX_BATCH_EVENTS = 2000;
  private static final long LINGER_NANOS = 4_000_000;
  private static final long WELCOME_NANOS = 20_000_000_000L;
  private static final long GOODBYE_NANOS = 2_000_000_000L;
  private static final long WARN_AFTER_NANOS = 5_000_000_000L;
  private static final long LOOK_NANOS = 500_000_000L;
  private static final Duration REFUSED_DELAY = Duration.ofSeconds(10);
  private static final int DEFAULT_FRAME_BYTES = 4 << 20;
  private static final Set<String> FINAL_REASONS =
      Set.of("SESSION_TAKEN_OVER", "WRONG_SECRET", "INVALID_FIELD", "TOO_LARGE", "BAD_SEQUENCE");

  private final Connection connection;
  private final Outbox outbox;
  private final Listener listener;
  private final Session session;
  private final long outboxTimeoutNanos;
  private final Backoff backoff = new Backoff();
  private final Set<String> saidRules = ConcurrentHashMap.newKeySet();
  private final SeenCommands seenCommands = new SeenCommands();

  // Guarded by the lock of the outbox.
  private volatile Thread thread;
  private boolean closing;
  private boolean abandoned;
  private int flushing;
  private FlowspanException failure;
  private long window = Integer.MAX_VALUE;
  private long leaseNanos = 30_000_000_000L;
  private int maxBatchEvents = MAX_BATCH_EVENTS;
  private int maxFrameBytes = DEFAULT_FRAME_BYTES;
  private boolean joinsShortRuns;
  private long lostSinceNanos;
  private boolean lostWasSaid;

  /** Receives what the service says about runs. Called on gRPC's threads; must not block. */
  public interface Listener {
    /** Cancels a run on request. */
    void cancel(String runId, String reason);

    /** Stops a run of which no further event will be accepted. */
    void abort(String runId, String reason);
  }

  /** Creates a reporter, which connects at the first event. */
  public Reporter(
      Connection connection,
      Listener listener,
      int maxEvents,
      long maxBytes,
      Duration outboxTimeout,
      boolean spansByService,
      Map<String, String> environ) {
    this.connection = connection;
    this.listener = listener;
    outbox = new Outbox(maxEvents, maxBytes);
    outboxTimeoutNanos = outboxTimeout.toNanos();
    session = new Session(spansByService, environ);
  }

  /**
   * Reports the creation of a run or an artifact.
   *
   * @throws FlowspanException if the outbox stayed full
   */
  public void create(Event event) {
    start();
    if (!outbox.add(event, outboxTimeoutNanos, false)) {
      throw new FlowspanException(
          Status.Code.RESOURCE_EXHAUSTED,
          "",
          "The outbox is full: the service at "
              + connection.address()
              + " has acknowledged nothing"
              + " for "
              + Duration.ofNanos(outboxTimeoutNanos).toSeconds()
              + " s. Check the service,"
              + " or raise ClientOptions.outbox.",
          Map.of(),
          true,
          null);
    }
  }

  /** Reports a state. It is never dropped: after the timeout, it is kept beyond the limits. */
  public void state(Event event) {
    start();
    outbox.add(event, outboxTimeoutNanos, true);
  }

  /** Reports a log record; drops it if the outbox is full. */
  public void log(Event event) {
    start();
    outbox.addLog(event);
  }

  private void start() {
    if (thread != null) {
      return;
    }
    outbox.lock.lock();
    try {
      if (thread == null && !closing) {
        thread = new Thread(this::run, "flowspan-reporter");
        thread.setDaemon(true);
        thread.start();
      }
    } finally {
      outbox.lock.unlock();
    }
  }

  /**
   * Waits until all events so far are stored.
   *
   * @return false if the time was not enough
   * @throws FlowspanException if the session has failed, so that nothing more is stored
   */
  public boolean flush(Duration timeout) throws InterruptedException {
    boolean done = settle(timeout);
    outbox.lock.lock();
    try {
      if (failure != null) {
        throw failure;
      }
    } finally {
      outbox.lock.unlock();
    }
    return done;
  }

  /**
   * Waits until all events so far are stored, or never will be.
   *
   * @return false if they are not stored
   */
  boolean settle(Duration timeout) throws InterruptedException {
    changeFlushing(1);
    try {
      return outbox.awaitAcked(timeout.toNanos());
    } finally {
      changeFlushing(-1);
    }
  }

  /**
   * Waits until all events so far are stored, but not for a service that is away for seconds.
   *
   * @return false if they are not stored
   */
  boolean settleIfConnected(Duration timeout) throws InterruptedException {
    outbox.lock.lock();
    try {
      if (outbox.isEmpty() || lostWasSaid) {
        return outbox.isEmpty();
      }
    } finally {
      outbox.lock.unlock();
    }
    return settle(timeout);
  }

  private void changeFlushing(int by) {
    outbox.lock.lock();
    try {
      flushing += by;
      outbox.changed.signal();
    } finally {
      outbox.lock.unlock();
    }
  }

  /** Sends what waits, says goodbye and ends the thread. Idempotent. */
  public void close(Duration timeout) {
    Thread ending;
    outbox.lock.lock();
    try {
      closing = true;
      ending = thread;
      outbox.changed.signal();
    } finally {
      outbox.lock.unlock();
    }
    boolean interrupted = false;
    if (ending != null && ending != Thread.currentThread()) {
      interrupted = join(ending, timeout);
    }
    int left;
    outbox.lock.lock();
    try {
      abandoned = true;
      left = outbox.size();
      outbox.changed.signal();
    } finally {
      outbox.lock.unlock();
    }
    if (left > 0) {
      LOG.warn(
          "{} events were not delivered: the service at {} did not confirm them in time.",
          left,
          connection.address());
    }
    outbox.close();
    if (ending != null) {
      interrupted |= join(ending, Duration.ofSeconds(1));
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static boolean join(Thread thread, Duration timeout) {
    try {
      thread.join(Math.max(1, timeout.toMillis()));
      return false;
    } catch (InterruptedException interrupt) {
      return true;
    }
  }

  private void run() {
    outbox.lock.lock();
    try {
      while (!abandoned && failure == null && !(closing && outbox.isEmpty())) {
        Errors.Failed end = connect();
        if (end == null) {
          return; // said goodbye
        }
        if (isFinal(end.error()) && !leavesOut(end.error())) {
          fail(end.error());
          return;
        }
        pause(end);
      }
    } catch (InterruptedException interrupt) {
      LOG.warn("The reporter was interrupted; nothing more is reported.");
    } finally {
      outbox.lock.unlock();
    }
  }

  /** Waits before the next connection. Unlike a broken connection, a full message is no outage. */
  private void pause(Errors.Failed end) throws InterruptedException {
    if (isTooLarge(end.error())) {
      sendLess();
    }
    if (lostSinceNanos == 0) {
      lostSinceNanos = System.nanoTime();
    }
    sayLost(end.error());
    boolean isRefused = isAboutAccess(end.error());
    long until =
        System.nanoTime() + backoff.nextNanos(isRefused ? REFUSED_DELAY : end.retryDelay());
    long left = until - System.nanoTime();
    boolean isReplaced = false;
    while (left > 0 && !abandoned && !isReplaced) {
      outbox.await(isRefused ? Math.min(left, LOOK_NANOS) : left);
      isReplaced = isRefused && hasAnotherToken();
      left = until - System.nanoTime();
    }
    connection.reconnectNow();
  }

  /** Returns true if the access token was refused, or lacks a scope: it may be replaced. */
  private static boolean isAboutAccess(FlowspanException error) {
    return error.code() == Status.Code.UNAUTHENTICATED || error.reason().equals("MISSING_SCOPE");
  }

  private boolean hasAnotherToken() {
    String token;
    outbox.lock.unlock();
    try {
      token = connection.token(); // may ask the program, or read a file
    } finally {
      outbox.lock.lock();
    }
    return !token.isEmpty() && !token.equals(connection.reportToken());
  }

  private void sendLess() {
    if (maxBatchEvents == 1) {
      outbox.reduceFirst();
    }
    maxBatchEvents = Math.max(1, maxBatchEvents / 8);
  }

  private void sayLost(FlowspanException error) {
    if (!lostWasSaid && System.nanoTime() - lostSinceNanos > WARN_AFTER_NANOS) {
      lostWasSaid = true;
      LOG.warn(
          "Events wait in memory, because the service does not take them: {}", error.getMessage());
    }
  }

  /** Puts a placeholder in the place of an event that the service refuses to read. */
  private boolean leavesOut(FlowspanException error) {
    String sequence = error.metadata().get("sequence");
    boolean found =
        error.code() == Status.Code.INVALID_ARGUMENT
            && sequence != null
            && outbox.leaveOut(Text.number(sequence));
    if (found) {
      LOG.error("The service refused an event, which is left out: {}", error.getMessage());
    }
    return found;
  }

  private static boolean isFinal(FlowspanException error) {
    return FINAL_REASONS.contains(error.reason())
        || error.code() == Status.Code.UNIMPLEMENTED
        || (error.reason().isEmpty() && error.code() == Status.Code.PERMISSION_DENIED);
  }

  private static boolean isTooLarge(FlowspanException error) {
    String message = String.valueOf(error.getMessage());
    return error.code() == Status.Code.RESOURCE_EXHAUSTED
        && error.reason().isEmpty()
        && (message.contains("larger than")
            || message.contains("too large")
            || message.contains("exceeds"));
  }

  private void fail(FlowspanException error) {
    failure = error;
    LOG.error(
        "The service refuses the reports of this process, so nothing more is reported: {} {}",
        error.reason(),
        error.getMessage());
    outbox.close();
  }

  /** Runs one connection. Returns null after the goodbye, and otherwise the error that ended it. */
  private Errors.Failed connect() throws InterruptedException {
    Link link = new Link(outbox, this::receive);
    try {
      outbox.lock.unlock();
      try {
        ReportServiceGrpc.newStub(connection.channel()).report(link);
        link.stream.onNext(ReportRequest.newBuilder().setHello(session.hello(acked())).build());
      } catch (FlowspanException | IllegalStateException error) {
        return Errors.of(Status.UNAVAILABLE.withDescription(error.getMessage()), null, address());
      } finally {
        outbox.lock.lock();
      }
      awaitWelcome(link);
      if (link.status == null && link.welcome == null) {
        return Errors.of(
            Status.DEADLINE_EXCEEDED.withDescription("no Welcome"), null, connection.address());
      }
      if (link.status == null) {
        begin(link.welcome);
        boolean goodbye = exchange(link);
        if (goodbye) {
          return null;
        }
      }
      return Errors.of(endOf(link), link.trailers, address());
    } catch (FlowspanException impossible) {
      return new Errors.Failed(impossible, Duration.ZERO);
    } finally {
      cancel(link);
    }
  }

  private static Status endOf(Link link) {
    return link.status.isOk()
        ? Status.UNAVAILABLE.withDescription("the service ended the stream")
        : link.status;
  }

  private void cancel(Link link) {
    if (link.stream != null && link.status == null) {
      outbox.lock.unlock();
      try {
        link.stream.cancel("the connection is not needed any more", null);
      } finally {
        outbox.lock.lock();
      }
    }
  }

  private String address() {
    return connection.address();
  }

  private long acked() {
    outbox.lock.lock();
    try {
      return outbox.ackedSequence();
    } finally {
      outbox.lock.unlock();
    }
  }

  private void awaitWelcome(Link link) throws InterruptedException {
    long end = System.nanoTime() + WELCOME_NANOS;
    long left = WELCOME_NANOS;
    while (link.welcome == null && link.status == null && left > 0 && !abandoned) {
      outbox.await(left);
      left = end - System.nanoTime();
    }
  }

  /**
   * Takes the limits of the service, and resumes after the events that it has.
   *
   * @throws FlowspanException if the session cannot continue
   */
  private void begin(Welcome welcome) {
    long ackedBefore = outbox.ackedSequence();
    if (welcome.getResumeAfter() > outbox.last()) {
      throw new FlowspanException(
          Status.Code.INVALID_ARGUMENT,
          "BAD_SEQUENCE",
          "The service has "
              + welcome.getResumeAfter()
              + " events of this session, which has only "
              + outbox.last()
              + ": another process reports in it.",
          Map.of(),
          false,
          null);
    }
    long lost = outbox.resume(welcome.getResumeAfter());
    if (lost > 0) {
      LOG.warn(
          "The service has lost {} events of this process that it had stored: was its database"
              + " replaced or restored? The following events are reported anyway.",
          lost);
    }
    joinsShortRuns = welcome.getCapabilitiesList().contains(ShortRuns.CAPABILITY);
    if (welcome.getMaxUnackedEvents() > 0) {
      window = welcome.getMaxUnackedEvents();
    }
    long bytes =
        welcome.getMaxFrameBytes() > 0 ? welcome.getMaxFrameBytes() : welcome.getMaxBatchBytes();
    if (bytes > 0) {
      maxFrameBytes = (int) Math.min(bytes, DEFAULT_FRAME_BYTES);
    }
    com.google.protobuf.Duration lease = welcome.getLease();
    long nanos = TimeUnit.SECONDS.toNanos(lease.getSeconds()) + lease.getNanos();
    if (nanos > 0) {
      leaseNanos = nanos;
    }
    if (lostWasSaid) {
      LOG.info("The service at {} takes events again.", connection.address());
    }
    lostSinceNanos = 0;
    lostWasSaid = false;
    unlocked(
        () -> {
          for (Verdict verdict : welcome.getVerdictsList()) {
            if (verdict.getSequence() > ackedBefore) {
              handle(verdict);
            }
          }
        });
  }

  private void unlocked(Runnable action) {
    outbox.lock.unlock();
    try {
      action.run();
    } finally {
      outbox.lock.lock();
    }
  }

  /** Sends until the connection ends or everything is said. Returns true after the goodbye. */
  private boolean exchange(Link link) throws InterruptedException {
    long lastFrame = System.nanoTime();
    while (link.status == null && !abandoned) {
      long now = System.nanoTime();
      if (closing && outbox.isEmpty()) {
        return sayGoodbye(link);
      }
      long wait = waitToSend(link, now);
      if (wait <= 0) {
        int count = (int) Math.min(maxBatchEvents, window - outbox.inFlight());
        send(link, outbox.take(count, maxFrameBytes, joinsShortRuns));
        lastFrame = now;
        continue;
      }
      long heartbeat = lastFrame + leaseNanos / 3 - now;
      if (heartbeat <= 0) {
        send(link, ReportRequest.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build());
        lastFrame = now;
        continue;
      }
      outbox.await(Math.min(wait, heartbeat));
    }
    return false;
  }

  /** Returns the time until a batch is due, in nanoseconds; zero or less if it is due now. */
  private long waitToSend(Link link, long now) {
    boolean blocked =
        outbox.waiting() <= 0 || outbox.inFlight() >= window || !link.stream.isReady();
    if (blocked) {
      return Long.MAX_VALUE;
    }
    boolean urgent =
        closing
            || flushing > 0
            || outbox.waiting() >= URGENT_EVENTS
            || outbox.waitingBytes() >= URGENT_BYTES;
    return urgent ? 0 : outbox.oldestWaitingNanos() + LINGER_NANOS - now;
  }

  private void send(Link link, Outbox.Frame frame) {
    boolean joins = joinsShortRuns;
    unlocked(
        () -> {
          Batch batch = frame.batch(joins);
          link.send(ReportRequest.newBuilder().setBatch(batch).build());
        });
  }

  /** Sends a frame without the lock, so that runs go on while it is encoded. */
  private void send(Link link, ReportRequest frame) {
    unlocked(() -> link.send(frame));
  }

  private boolean sayGoodbye(Link link) throws InterruptedException {
    send(link, ReportRequest.newBuilder().setGoodbye(Goodbye.getDefaultInstance()).build());
    unlocked(link.stream::onCompleted);
    long end = System.nanoTime() + GOODBYE_NANOS;
    long left = GOODBYE_NANOS;
    while (link.status == null && left > 0 && !abandoned) {
      outbox.await(left);
      left = end - System.nanoTime();
    }
    return true;
  }

  private void receive(ReportResponse frame) {
    switch (frame.getFrameCase()) {
      case ACK -> acknowledge(frame.getAck());
      case COMMAND -> obey(frame.getCommand());
      default -> LOG.debug("Ignored a frame of a newer service");
    }
  }

  private void acknowledge(Ack ack) {
    outbox.lock.lock();
    try {
      outbox.ack(ack.getUpToSequence());
      backoff.reset();
    } finally {
      outbox.lock.unlock();
    }
    ack.getVerdictsList().forEach(this::handle);
  }

  private void handle(Verdict verdict) {
    if (verdict.getKind() == VerdictKind.VERDICT_KIND_ABORT) {
      listener.abort(verdict.getRunId(), verdict.getReason());
    } else if (verdict.getKind() == VerdictKind.VERDICT_KIND_REJECTED
        && saidRules.add(verdict.getRule())) {
      LOG.warn(
          "The service rejected an event of the run {}: {} ({}). Further ones with this reason are"
              + " not shown.",
          verdict.getRunId(),
          verdict.getReason(),
          verdict.getRule());
    }
  }

  private void obey(Command command) {
    if (seenCommands.add(command.getId()) && command.hasCancelRun()) {
      listener.cancel(command.getCancelRun().getRunId(), command.getCancelRun().getReason());
    }
  }

  /** Returns the number of log records that were dropped since the last call. */
  public long takeDroppedLogs() {
    outbox.lock.lock();
    try {
      return outbox.takeDroppedLogs();
    } finally {
      outbox.lock.unlock();
    }
  }
}
