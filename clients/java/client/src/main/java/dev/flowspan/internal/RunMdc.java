package dev.flowspan.internal;

import org.slf4j.MDC;

/** The entries of a run in the MDC of SLF4J, and what they replaced. */
final class RunMdc {
  /** The name of earlier versions for {@code flowspan.run.id}. */
  static final String RUN_ID = "flowspan.run_id";

  private static final String[] KEYS = {
    RUN_ID,
    "flowspan.run_name",
    "flowspan.run.id",
    "flowspan.run.name",
    "flowspan.flow.name",
    "flowspan.flow_run.id",
    "flowspan.root_run.id",
    "flowspan.attempt",
    "trace_id",
    "span_id"
  };

  private final String[] before = new String[KEYS.length];

  private RunMdc(String... values) {
    for (int index = 0; index < KEYS.length; index++) {
      before[index] = MDC.get(KEYS[index]);
      put(KEYS[index], values[index].isEmpty() ? null : values[index]);
    }
  }

  static RunMdc enter(RunScope scope) {
    int attempt = scope.attempt();
    return new RunMdc(
        scope.id(),
        scope.name(),
        scope.id(),
        scope.name(),
        scope.flowName,
        scope.flowRunId,
        scope.rootRunId,
        Integer.toString(attempt),
        scope.trace.traceId(),
        scope.trace.spanId(attempt));
  }

  void close() {
    for (int index = 0; index < KEYS.length; index++) {
      put(KEYS[index], before[index]);
    }
  }

  private static void put(String key, String value) {
    if (value == null) {
      MDC.remove(key);
    } else {
      MDC.put(key, value);
    }
  }
}
