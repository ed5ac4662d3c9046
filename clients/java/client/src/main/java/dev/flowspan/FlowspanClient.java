package dev.flowspan;

import dev.flowspan.internal.Core;
import dev.flowspan.v1.GetInfoRequest;
import dev.flowspan.v1.GetInfoResponse;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.RunKind;
import dev.flowspan.v1.SystemServiceGrpc;
import java.time.Duration;
import java.util.Map;

/**
 * A connection to a flowspan service: runs flows and tasks, and reads what is stored. Thread-safe;
 * one client for each process is enough.
 *
 * <p>Everything that a client reports is in memory until the service confirms it. {@link #close()}
 * waits for that, so use try-with-resources. Calls that read also wait for it, so that they see
 * what this process has reported before.
 */
public final class FlowspanClient implements AutoCloseable {
  private final Core core;

  private FlowspanClient(Core core) {
    this.core = core;
  }

  /**
   * Connects with the defaults; see {@link ClientOptions#address(String)}.
   *
   * @throws FlowspanException if no service answers
   */
  public static FlowspanClient connect() {
    return connect(ClientOptions.create());
  }

  /**
   * Connects.
   *
   * @throws FlowspanException if no service answers, or the address or token is invalid
   */
  public static FlowspanClient connect(ClientOptions options) {
    return new FlowspanClient(new Core(options, System.getenv()));
  }

  /**
   * Runs a flow on the current thread.
   *
   * @param name the name of the flow
   * @param body its code
   * @return the result of the body
   * @throws X if the body throws it
   */
  public <T, X extends Exception> T flow(String name, RunFunction<T, X> body) throws X {
    return flow(name, RunOptions.create(), body);
  }

  /** Runs a flow with parameters; see {@link #flow(String, RunFunction)}. */
  public <T, X extends Exception> T flow(
      String name, Map<String, ?> parameters, RunFunction<T, X> body) throws X {
    return flow(name, RunOptions.create().parameters(parameters), body);
  }

  /**
   * Runs a flow with options; see {@link #flow(String, RunFunction)}. Called in the code of a run,
   * the flow is below that run.
   */
  public <T, X extends Exception> T flow(String name, RunOptions options, RunFunction<T, X> body)
      throws X {
    Run caller = Run.current().orElse(null);
    return caller != null && options.parent() == null
        ? caller.flow(name, options, body)
        : core.run(RunKind.RUN_KIND_FLOW, name, options, body);
  }

  /** Runs a task outside flows; see {@link #flow(String, RunFunction)}. */
  public <T, X extends Exception> T task(String name, RunFunction<T, X> body) throws X {
    return task(name, RunOptions.create(), body);
  }

  /**
   * Runs a task outside flows, with options; see {@link #flow(String, RunOptions, RunFunction)}.
   */
  public <T, X extends Exception> T task(String name, RunOptions options, RunFunction<T, X> body)
      throws X {
    Run caller = Run.current().orElse(null);
    return caller != null && options.parent() == null
        ? caller.task(name, options, body)
        : core.run(RunKind.RUN_KIND_TASK, name, options, body);
  }

  /**
   * Waits until everything that was reported so far is stored.
   *
   * @return false if the time was not enough
   * @throws FlowspanException if the service refuses the reports of this process
   * @throws InterruptedException if the thread is interrupted
   */
  public boolean flush(Duration timeout) throws InterruptedException {
    return core.flush(timeout);
  }

  /** Returns the version, configuration and health of the service. */
  public GetInfoResponse info() {
    return core.connection()
        .call(SystemServiceGrpc.getGetInfoMethod(), GetInfoRequest.getDefaultInstance());
  }

  /** Returns the address of the service. */
  public String address() {
    return core.connection().address();
  }

  /** Returns the flow runs of the service. */
  public FlowRuns flowRuns() {
    return new FlowRuns(core);
  }

  /** Returns the task runs of the service. */
  public TaskRuns taskRuns() {
    return new TaskRuns(core);
  }

  /** Returns the logs of runs. */
  public Logs logs() {
    return new Logs(core);
  }

  /** Returns the artifacts of the service. */
  public Artifacts artifacts() {
    return new Artifacts(core);
  }

  /** Returns the variables of the service. */
  public Variables variables() {
    return new Variables(core);
  }

  /**
   * Decodes a result, parameters, or the value of an artifact or variable.
   *
   * @param payload a value with the encoding {@code json}; one without an encoding is no value
   * @param type the type of the result; {@code Object.class} gives maps, lists, strings and numbers
   * @return the value; null if there is none
   * @throws IllegalArgumentException if the value has another encoding
   * @throws RuntimeException if the JSON does not have this type
   */
  public <T> T decode(Payload payload, Class<T> type) {
    if (payload.getEncoding().isEmpty()) {
      return null;
    }
    if (!payload.getEncoding().equals("json")) {
      throw new IllegalArgumentException(
          "The encoding of the value is \""
              + payload.getEncoding()
              + "\"; only json can be decoded.");
    }
    return core.json().decode(payload.getData().toStringUtf8(), type);
  }

  /**
   * Watches runs: the current ones, then a marker, then every change. The watch resumes after
   * broken connections without gaps or duplicates.
   *
   * @param request the runs to watch; see {@code flowspan.v1.WatchRequest}
   */
  public Stream<dev.flowspan.v1.WatchResponse> watch(dev.flowspan.v1.WatchRequest request) {
    core.awaitOwnEvents();
    return dev.flowspan.internal.Streams.watch(core.connection(), request);
  }

  /**
   * Sends what is reported, and disconnects. Runs that are still open on other threads end as
   * CRASHED. Idempotent.
   */
  @Override
  public void close() {
    core.close();
  }
}
