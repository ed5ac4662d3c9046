package dev.flowspan.internal;

import dev.flowspan.ClientOptions;
import dev.flowspan.FlowspanException;
import dev.flowspan.Json;
import dev.flowspan.RunContext;
import dev.flowspan.RunFunction;
import dev.flowspan.RunOptions;
import dev.flowspan.v1.GetInfoRequest;
import dev.flowspan.v1.GetInfoResponse;
import dev.flowspan.v1.RunKind;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.SystemServiceGrpc;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The parts of a client that its runs share. */
public final class Core implements Reporter.Listener {
  private static final Logger LOG = LoggerFactory.getLogger("dev.flowspan");
  private static final Duration OWN_EVENTS_TIMEOUT = Duration.ofSeconds(10);

  final ClientOptions options;
  final Connection connection;
  final Reporter reporter;
  final Tracing tracing;
  final Set<String> capabilities;
  final boolean reportsTraces;
  final boolean hasDetails;

  /** The address of a trace with a place for its id; empty if none is configured. */
  final String tracePage;

  private final Map<String, RunScope> open = new ConcurrentHashMap<>();
  private final RunContext inherited;
  private final AtomicBoolean closed = new AtomicBoolean();
  private final Thread hook;

  /**
   * Connects.
   *
   * @throws FlowspanException if no service answers, or an option is invalid
   */
  public Core(ClientOptions options, Map<String, String> environ) {
    this.options = options;
    connection = new Connection(options, environ);
    try {
      GetInfoResponse info = hello(options);
      capabilities = Set.copyOf(info.getCapabilitiesList());
      hasDetails = capabilities.contains("run_details.v1");
      String ownPage = environ.getOrDefault("FLOWSPAN_TRACE_URL", "").strip();
      tracePage = ownPage.isEmpty() ? info.getTraceUrl() : ownPage;
      tracing = Tracings.find(options.openTelemetry());
      reportsTraces = tracing == null && !info.getOtlpEndpoint().isEmpty();
      reporter =
          new Reporter(
              connection,
              this,
              options.outboxEvents(),
              options.outboxBytes(),
              options.outboxTimeout(),
              tracing == null,
              environ);
    } catch (RuntimeException error) {
      connection.close();
      throw error;
    }
    inherited = inheritedFrom(environ);
    hook = options.shutdownHook() ? new Thread(this::onShutdown, "flowspan-shutdown") : null;
    if (hook != null) {
      Runtime.getRuntime().addShutdownHook(hook);
    }
  }

  private GetInfoResponse hello(ClientOptions options) {
    return connection.call(
        SystemServiceGrpc.getGetInfoMethod(),
        GetInfoRequest.getDefaultInstance(),
        options.connectTimeout(),
        true);
  }

  private static RunContext inheritedFrom(Map<String, String> environ) {
    String text = environ.getOrDefault(RunContext.VARIABLE, "");
    RunContext context = RunContext.fromEnviron(environ).orElse(null);
    if (!text.isBlank() && (context == null || context.runId().isEmpty())) {
      LOG.warn("FLOWSPAN_RUN=\"{}\" is malformed and ignored.", Text.shortened(text, 200));
    }
    return context;
  }

  /** Returns the connection. */
  public Connection connection() {
    return connection;
  }

  /**
   * Calls a method after the events of this process are stored, so that the answer includes them;
   * see {@link Connection#call(MethodDescriptor, Object)}.
   */
  public <Q, A> A call(MethodDescriptor<Q, A> method, Q request) {
    awaitOwnEvents();
    return connection.call(method, request);
  }

  /** Waits until the events of this process are stored, or for a limited time. */
  public void awaitOwnEvents() {
    try {
      if (!reporter.settleIfConnected(OWN_EVENTS_TIMEOUT)) {
        LOG.debug("A call does not wait any longer for the events of this process");
      }
    } catch (InterruptedException interrupt) {
      Thread.currentThread().interrupt(); // the call ends with it
    }
  }

  /** Returns the JSON library. */
  public Json json() {
    return options.json();
  }

  /** Returns true if the service has an optional feature. */
  public boolean has(String capability) {
    return capabilities.contains(capability);
  }

  /** Runs a flow or task at the top level, or below a run in another process. */
  public <T, X extends Exception> T run(
      RunKind kind, String function, RunOptions options, RunFunction<T, X> body) throws X {
    RunContext parent = options.parent() != null ? options.parent() : inherited;
    return new RunScope(this, null, parent, kind, function, options).call(body);
  }

  void opened(RunScope scope) {
    if (closed.get()) {
      throw Errors.local(
          Status.Code.FAILED_PRECONDITION, "The client is closed, so no run can begin.");
    }
    open.put(scope.id(), scope);
    OpenRuns.add(scope);
  }

  void ended(RunScope scope) {
    open.remove(scope.id());
    OpenRuns.remove(scope);
  }

  @Override
  public void cancel(String runId, String reason) {
    RunScope scope = open.get(runId);
    if (scope != null) {
      scope.cancel(reason.isEmpty() ? "Cancelled on request." : reason);
    }
  }

  @Override
  public void abort(String runId, String reason) {
    RunScope scope = open.get(runId);
    if (scope != null) {
      LOG.warn("The service stops the run {}: {}", scope, reason);
      scope.cancel(reason);
    }
  }

  private void onShutdown() {
    close("The process ended (exit, Ctrl-C or SIGTERM) while the run was open.", false);
  }

  /** Ends open runs as CRASHED, sends everything, and disconnects. Idempotent. */
  public void close() {
    close("The client was closed while the run was open.", true);
  }

  private void close(String reason, boolean removeHook) {
    if (!closed.compareAndSet(false, true)) {
      return;
    }
    if (removeHook && hook != null) {
      try {
        Runtime.getRuntime().removeShutdownHook(hook);
      } catch (IllegalStateException alreadyShuttingDown) {
        LOG.debug("The process is ending already", alreadyShuttingDown);
      }
    }
    crashOpenRuns(reason, removeHook);
    long dropped = reporter.takeDroppedLogs();
    if (dropped > 0) {
      LOG.warn("{} log records were dropped, because the service did not take them.", dropped);
    }
    reporter.close(options.closeTimeout());
    connection.close();
  }

  /** Ends all open runs, those below first. A process that ends does not interrupt its threads. */
  private void crashOpenRuns(String reason, boolean interrupt) {
    List<RunScope> scopes = new ArrayList<>(open.values());
    scopes.sort(Comparator.comparingInt(RunScope::depth).reversed());
    for (RunScope scope : scopes) {
      scope.end(StateType.STATE_TYPE_CRASHED, "Crashed", reason, null, null);
    }
    if (interrupt) { // only now: a run that is interrupted ends by itself, and as CANCELLED
      scopes.forEach(scope -> scope.cancel(reason));
    }
  }

  /**
   * Waits until everything reported so far is stored.
   *
   * @return false if the time was not enough
   */
  public boolean flush(Duration timeout) throws InterruptedException {
    return reporter.flush(timeout);
  }
}
