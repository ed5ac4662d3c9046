package dev.flowspan.internal;

import org.slf4j.MDC;

/** The entries of a run in the MDC of SLF4J, and what they replaced. */
final class RunMdc {
  static final String RUN_ID = "flowspan.run_id";
  private static final String[] KEYS = {
    RUN_ID, "flowspan.run_name", "flowspan.attempt", "trace_id", "span_id"
  };

  private final String[] before = new String[KEYS.length];

  private RunMdc(String... values) {
    for (int index = 0; index < KEYS.length; index++) {
      before[index] = MDC.get(KEYS[index]);
      MDC.put(KEYS[index], values[index]);
    }
  }

  static RunMdc enter(RunScope scope) {
    int attempt = scope.attempt();
    return new RunMdc(
        scope.id(),
        scope.name(),
        Integer.toString(attempt),
        scope.trace.traceId(),
        scope.trace.spanId(attempt));
  }

  void close() {
    for (int index = 0; index < KEYS.length; index++) {
      if (before[index] == null) {
        MDC.remove(KEYS[index]);
      } else {
        MDC.put(KEYS[index], before[index]);
      }
    }
  }
}
