package dev.flowspan.internal;

import dev.flowspan.CancelledRunException;
import dev.flowspan.Retries;
import dev.flowspan.Run;
import dev.flowspan.RunArtifacts;
import dev.flowspan.RunContext;
import dev.flowspan.RunFunction;
import dev.flowspan.RunOptions;
import dev.flowspan.v1.CodeLocation;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.LogLevel;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.RunKind;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateEntered;
import dev.flowspan.v1.StateType;
import java.nio.channels.ClosedByInterruptException;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;

/** A run in this process: its life from creation to terminal state. */
public final class RunScope implements Run {
  private static final ThreadLocal<RunScope> CURRENT = new ThreadLocal<>();
  private static final int MAX_CAUSES = 16;

  final Core core;
  final RunScope parent;
  final RunContext remote;
  final RunKind kind;
  final String function;
  final RunOptions options;
  final String rootRunId;
  final String flowRunId;

  /** The name of the flow that the run belongs to; empty if it is not known. */
  final String flowName;

  final Instant created = ProcessClock.now();

  /** The place that called the run; null if it is not known, or not wanted. */
  final CodeLocation caller;

  private final String id = Uuids.next();
  private final String name;
  private final int depth;
  private final Threads threads = new Threads();
  private final Set<RunScope> children = ConcurrentHashMap.newKeySet();
  private final Map<String, AtomicInteger> taskCounts = new ConcurrentHashMap<>();
  private final AtomicBoolean hasEnded = new AtomicBoolean();
  private final Logger log = new RunLogger(this);
  final RunSpan span;
  final TraceIds trace;

  private volatile int attempt = 1;
  private volatile String cancelReason;
  private volatile int reportedAttempt = 1;
  private volatile StateType reported = StateType.STATE_TYPE_PENDING;

  RunScope(
      Core core,
      RunScope parent,
      RunContext remote,
      RunKind kind,
      String function,
      RunOptions options) {
    caller = core.hasDetails ? Callers.find() : null;
    this.core = core;
    this.parent = parent;
    this.remote = parent == null ? remote : null;
    this.kind = kind;
    this.options = options;
    this.function = Text.limited("name", function, Text.MAX_NAME_BYTES);
    if (function.isBlank()) {
      throw new IllegalArgumentException("The name of a flow or task is empty; give it one.");
    }
    depth = parent == null ? 0 : parent.depth + 1;
    boolean isBelow = this.remote != null && !this.remote.runId().isEmpty();
    rootRunId = parent != null ? parent.rootRunId : isBelow ? this.remote.rootRunId() : id;
    flowRunId = isFlow() ? id : parent == null ? "" : parent.flowRunId;
    flowName = isFlow() ? this.function : parent == null ? "" : parent.flowName;
    name = options.name().isEmpty() ? defaultName() : options.name();
    span =
        core.tracing == null
            ? null
            : core.tracing.start(this, parent == null ? null : parent.span, this.remote);
    trace = TraceIds.of(this);
  }

  private String defaultName() {
    if (parent == null || isFlow()) {
      return RunNames.random();
    }
    AtomicInteger count = parent.taskCounts.computeIfAbsent(function, key -> new AtomicInteger());
    String suffix = "-" + count.getAndIncrement();
    return Text.shortened(function, Text.MAX_NAME_BYTES - suffix.length()) + suffix;
  }

  /** Returns the run whose code the current thread executes, or null. */
  public static RunScope current() {
    return CURRENT.get();
  }

  // What runs the body.

  <T, X extends Exception> T call(RunFunction<T, X> body) throws X {
    begin();
    try {
      return attempts(body);
    } finally {
      if (parent != null) {
        parent.children.remove(this);
      }
      core.ended(this);
    }
  }

  private void begin() {
    if (parent != null) {
      parent.atSafePoint();
    }
    core.opened(this);
    try {
      if (parent != null) {
        parent.children.add(this);
      }
      core.reporter.create(Events.created(this));
    } catch (Throwable error) {
      if (parent != null) {
        parent.children.remove(this);
      }
      core.ended(this);
      endSpan(StateType.STATE_TYPE_CRASHED, "Crashed", "The run could not be reported.", error);
      throw error;
    }
  }

  private <T, X extends Exception> T attempts(RunFunction<T, X> body) throws X {
    while (true) {
      Throwable error;
      try {
        T result = attempt(body);
        complete(result);
        return result;
      } catch (Throwable thrown) { // also Errors: the run must not stay open
        error = thrown;
      }
      if (!isRetried(error)) {
        Throwable cause = finish(error);
        throw RunScope.<X>unchecked(cause);
      }
    }
  }

  private <T, X extends Exception> T attempt(RunFunction<T, X> body) throws X {
    Entry entry = new Entry(this);
    try {
      checkCancelled();
      report(StateType.STATE_TYPE_RUNNING, attempt == 1 ? "Running" : "Retrying");
      return body.call(this);
    } finally {
      entry.close();
    }
  }

  private boolean isRetried(Throwable error) {
    Retries retries = options.retries();
    if (isCancellation(error) || isCancelled() || hasEnded.get()) {
      return false;
    }
    int failed = attempt;
    try {
      if (!retries.allows(failed, error)) {
        return false;
      }
    } catch (RuntimeException broken) { // the condition is users' code
      error.addSuppressed(broken);
      return false;
    }
    awaitRetry(error, retries.delayAfter(failed), failed, retries);
    if (isCancelled()) {
      return false;
    }
    attempt = failed + 1;
    return true;
  }

  private void awaitRetry(Throwable error, Duration delay, int failed, Retries retries) {
    Instant now = ProcessClock.now();
    String message =
        Failures.summary(error)
            + " (retry "
            + failed
            + " of "
            + (retries.maxAttempts() - 1)
            + " follows)";
    if (span != null) {
      span.attemptFailed(error, delay);
    }
    State.Builder state =
        state(StateType.STATE_TYPE_SCHEDULED, "AwaitingRetry", now)
            .setMessage(message)
            .setScheduledTime(ProcessClock.timestamp(now.plus(delay)));
    reported = StateType.STATE_TYPE_SCHEDULED;
    core.reporter.state(event(state));
    if (delay.isZero()) {
      return;
    }
    Entry entry = new Entry(this);
    try {
      if (!isCancelled()) {
        Thread.sleep(delay.toMillis(), delay.toNanosPart() % 1_000_000);
      }
    } catch (InterruptedException interrupt) {
      if (cancelReason == null) { // an interrupt from outside cancels the run as well
        cancelReason = "The thread of the run was interrupted.";
      }
    } finally {
      entry.close();
    }
  }

  private void complete(Object result) {
    Payload payload =
        result == null
            ? null
            : Payloads.ofOrNull(
                core.options.json(), result, Payloads.MAX_RESULT_BYTES, "The result of " + this);
    end(StateType.STATE_TYPE_COMPLETED, "Completed", "", null, payload);
  }

  /** Reports the end after an error, and returns the error to throw. */
  private Throwable finish(Throwable error) {
    boolean waited = isCancelled() && reported == StateType.STATE_TYPE_SCHEDULED;
    if (!waited && !isCancellation(error)) {
      end(StateType.STATE_TYPE_FAILED, "Failed", Failures.summary(error), error, null);
      return error;
    }
    String reason = cancelReason != null ? cancelReason : Failures.summary(error);
    end(StateType.STATE_TYPE_CANCELLED, "Cancelled", reason, null, null);
    if (parent != null) {
      parent.threads.takeInterrupt(); // the exception tells it
    }
    if (!waited || error instanceof CancelledRunException) {
      return error;
    }
    CancelledRunException cancelled = new CancelledRunException(id, reason);
    cancelled.addSuppressed(error);
    return cancelled;
  }

  /** Returns true if the error means that the run was stopped, and not that it failed. */
  private boolean isCancellation(Throwable error) {
    if (error instanceof InterruptedException || error instanceof CancelledRunException) {
      return true;
    }
    if (cancelReason == null) {
      return false;
    }
    Throwable cause = error;
    for (int depth = 0; cause != null && depth < MAX_CAUSES; depth++) {
      if (cause instanceof InterruptedException
          || cause instanceof CancelledRunException
          || cause instanceof CancellationException
          || cause instanceof ClosedByInterruptException) {
        return true;
      }
      cause = cause.getCause();
    }
    return false;
  }

  @SuppressWarnings({
    "unchecked",
    "TypeParameterUnusedInFormals"
  }) // the body can throw only X and unchecked exceptions
  private static <X extends Exception> X unchecked(Throwable error) throws X {
    throw (X) error;
  }

  // What is reported.

  private void report(StateType type, String stateName) {
    if (hasEnded.get()) {
      return; // the client was closed meanwhile
    }
    if (span != null) {
      span.attempt(attempt);
    }
    reported = type;
    reportedAttempt = attempt;
    core.reporter.state(event(state(type, stateName, ProcessClock.now())));
  }

  /** Reports the terminal state, unless it was reported before. */
  void end(StateType type, String stateName, String message, Throwable error, Payload result) {
    if (!hasEnded.compareAndSet(false, true)) {
      return;
    }
    if (depth == 0) {
      sayDroppedLogs();
    }
    State.Builder state =
        state(type, stateName, ProcessClock.now())
            .setMessage(Text.shortened(message, Text.MAX_MESSAGE_BYTES));
    if (error != null) {
      state.setFailure(Failures.of(error));
    }
    if (result != null) {
      state.setResult(result);
    }
    core.reporter.state(event(state));
    endSpan(type, stateName, message, error);
  }

  private void sayDroppedLogs() {
    long dropped = core.reporter.takeDroppedLogs();
    if (dropped > 0) {
      log(
          LogLevel.LOG_LEVEL_WARNING_VALUE,
          "flowspan",
          dropped + " log records were dropped, because the service did not take them in time.");
    }
  }

  private void endSpan(StateType type, String stateName, String message, Throwable error) {
    if (span != null) {
      span.end(type, stateName, message, error);
    }
  }

  private static State.Builder state(StateType type, String stateName, Instant time) {
    return State.newBuilder()
        .setType(type)
        .setName(stateName)
        .setTime(ProcessClock.timestamp(time));
  }

  private Event event(State.Builder state) {
    return Event.newBuilder()
        .setStateEntered(
            StateEntered.newBuilder().setRunId(id).setAttempt(reportedAttempt).setState(state))
        .build();
  }

  // Cancellation.

  /** Interrupts the threads of this run and of all runs below it. */
  void cancel(String reason) {
    if (cancelReason == null) {
      cancelReason = reason;
    }
    threads.interrupt();
    children.forEach(child -> child.cancel(reason));
  }

  @Override
  public boolean isCancelled() {
    return cancelReason != null;
  }

  @Override
  public void checkCancelled() {
    String reason = cancelReason;
    if (reason != null) {
      threads.takeInterrupt();
      throw new CancelledRunException(id, reason);
    }
  }

  /**
   * Throws if the run is being cancelled and its code on this thread does not know. Once it does,
   * it may call tasks to clean up.
   */
  private void atSafePoint() {
    String reason = cancelReason;
    if (reason != null && (!threads.hasCurrent() || threads.takeInterrupt())) {
      throw new CancelledRunException(id, reason);
    }
  }

  // What the code of the run sees.

  @Override
  public String id() {
    return id;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String functionName() {
    return function;
  }

  @Override
  public int attempt() {
    return attempt;
  }

  @Override
  public Optional<String> traceUrl() {
    boolean isSampled = (Integer.parseInt(trace.flags(), 16) & 1) == 1;
    return isSampled ? TraceUrls.of(core.tracePage, trace.traceId()) : Optional.empty();
  }

  @Override
  public Logger log() {
    return log;
  }

  boolean isFlow() {
    return kind == RunKind.RUN_KIND_FLOW;
  }

  int depth() {
    return depth;
  }

  @Override
  public <T, X extends Exception> T task(String task, RunOptions with, RunFunction<T, X> body)
      throws X {
    return new RunScope(core, this, null, RunKind.RUN_KIND_TASK, task, with).call(body);
  }

  @Override
  public <T, X extends Exception> T flow(String flow, RunOptions with, RunFunction<T, X> body)
      throws X {
    return new RunScope(core, this, null, RunKind.RUN_KIND_FLOW, flow, with).call(body);
  }

  @Override
  public RunArtifacts artifacts() {
    return new ReportedArtifacts(core, id);
  }

  @Override
  public RunContext context() {
    return new RunContext(id, rootRunId, trace.traceparent(attempt), trace.tracestate());
  }

  @Override
  public Executor wrap(Executor executor) {
    return work -> executor.execute(wrap(work));
  }

  @Override
  public ExecutorService wrap(ExecutorService executor) {
    return new RunExecutor(this, executor);
  }

  @Override
  public Runnable wrap(Runnable work) {
    return () -> {
      Entry entry = new Entry(this);
      try {
        checkCancelled(); // what waited in a queue does not begin
        work.run();
      } finally {
        entry.close();
      }
    };
  }

  @Override
  public <T> Callable<T> wrap(Callable<T> work) {
    return () -> {
      Entry entry = new Entry(this);
      try {
        checkCancelled();
        return work.call();
      } finally {
        entry.close();
      }
    };
  }

  /**
   * Stores a log record. The outbox divides a long text when it is sent.
   *
   * @param level the number of the level; see {@code LogLevel}
   */
  public void log(int level, String logger, String message) {
    core.reporter.log(Events.log(this, level, logger, message));
  }

  @Override
  public String toString() {
    return (isFlow() ? "flow run '" : "task run '") + name + "'";
  }

  /** The presence of a run on the current thread. Closed on the same thread. */
  private static final class Entry {
    private final RunScope scope;
    private final RunScope before;
    private final RunMdc mdc;
    private final AutoCloseable spanScope;

    Entry(RunScope scope) {
      this.scope = scope;
      before = CURRENT.get();
      CURRENT.set(scope);
      mdc = RunMdc.enter(scope);
      spanScope = scope.span == null ? null : scope.span.enter();
      scope.threads.enter();
    }

    void close() {
      scope.threads.leave();
      if (spanScope != null) {
        try {
          spanScope.close();
        } catch (Exception error) {
          throw new IllegalStateException(error); // OpenTelemetry's scopes throw nothing
        }
      }
      mdc.close();
      if (before == null) {
        CURRENT.remove();
      } else {
        CURRENT.set(before);
        before.threads.interruptAgain();
      }
    }
  }
}
