package dev.flowspan;

import dev.flowspan.internal.RunScope;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import org.slf4j.Logger;

/**
 * A run of a flow or task, as its own code sees it. Thread-safe: a run can call tasks from several
 * threads at once.
 *
 * <p>If the run is cancelled, the threads that execute it and the runs below it are interrupted,
 * and the next call of a task throws {@link CancelledRunException}. Let these exceptions pass, and
 * the run ends as CANCELLED. Afterwards, clean-up code may still call tasks.
 */
public interface Run {
  /** Returns the run whose code the current thread executes; empty outside runs. */
  static Optional<Run> current() {
    return Optional.ofNullable(RunScope.current());
  }

  /** Returns the id of the run, a UUIDv7. */
  String id();

  /** Returns the name of this run. */
  String name();

  /** Returns the name of the flow or task. */
  String functionName();

  /** Returns the number of the current attempt, from 1. */
  int attempt();

  /**
   * Returns the address of the run's trace in the page of a trace viewer, by {@code
   * FLOWSPAN_TRACE_URL}, or as the service told it; empty if neither names one, or if the trace is
   * not sampled.
   */
  Optional<String> traceUrl();

  /** Returns a logger whose records are stored with the run, and passed on to SLF4J. */
  Logger log();

  /** Returns true if the run is being cancelled. */
  boolean isCancelled();

  /**
   * Ends the run if it is being cancelled. Call it in long computations that never block.
   *
   * @throws CancelledRunException if the run is being cancelled
   */
  void checkCancelled();

  /**
   * Runs a task below this run, on the current thread.
   *
   * @param name the name of the task
   * @param body its code
   * @return the result of the body
   * @throws X if the body throws it
   * @throws CancelledRunException if this run is being cancelled
   */
  default <T, X extends Exception> T task(String name, RunFunction<T, X> body) throws X {
    return task(name, RunOptions.create(), body);
  }

  /** Runs a task with retries; see {@link #task(String, RunFunction)}. */
  default <T, X extends Exception> T task(String name, Retries retries, RunFunction<T, X> body)
      throws X {
    return task(name, RunOptions.create().retries(retries), body);
  }

  /** Runs a task with options; see {@link #task(String, RunFunction)}. */
  <T, X extends Exception> T task(String name, RunOptions options, RunFunction<T, X> body) throws X;

  /** Runs a flow below this run, on the current thread; see {@link #task(String, RunFunction)}. */
  default <T, X extends Exception> T flow(String name, RunFunction<T, X> body) throws X {
    return flow(name, RunOptions.create(), body);
  }

  /** Runs a flow with parameters below this run; see {@link #task(String, RunFunction)}. */
  default <T, X extends Exception> T flow(
      String name, Map<String, ?> parameters, RunFunction<T, X> body) throws X {
    return flow(name, RunOptions.create().parameters(parameters), body);
  }

  /** Runs a flow with options below this run; see {@link #task(String, RunFunction)}. */
  <T, X extends Exception> T flow(String name, RunOptions options, RunFunction<T, X> body) throws X;

  /** Returns the artifacts of this run, to create them. */
  RunArtifacts artifacts();

  /** Returns this run as the parent of runs in other processes. */
  RunContext context();

  /** Returns the headers for a call whose receiver reports runs below this one. */
  default Map<String, String> headers() {
    return context().headers();
  }

  /** Returns the environment variables for a child process that reports runs below this one. */
  default Map<String, String> environ() {
    return context().environ();
  }

  /**
   * Returns an executor whose work belongs to this run: {@link #current()}, the MDC and the
   * interrupt on cancellation follow it to the threads of the executor. Close or shut down the
   * executor as usual; the run does not.
   */
  Executor wrap(Executor executor);

  /** Returns an executor service whose work belongs to this run; see {@link #wrap(Executor)}. */
  ExecutorService wrap(ExecutorService executor);

  /** Returns work that belongs to this run, on whichever thread it is called. */
  Runnable wrap(Runnable work);

  /** Returns work that belongs to this run, on whichever thread it is called. */
  <T> Callable<T> wrap(Callable<T> work);
}
