package dev.flowspan.internal;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** All open runs of this process, for log appenders: these know only the id in the MDC. */
public final class OpenRuns {
  private static final Map<String, RunScope> OPEN = new ConcurrentHashMap<>();

  private OpenRuns() {}

  static void add(RunScope scope) {
    OPEN.put(scope.id(), scope);
  }

  static void remove(RunScope scope) {
    OPEN.remove(scope.id());
  }

  /** Returns the open run with an id, or null. */
  public static RunScope find(String runId) {
    return runId == null ? null : OPEN.get(runId);
  }
}
