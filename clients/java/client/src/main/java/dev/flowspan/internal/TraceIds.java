package dev.flowspan.internal;

import dev.flowspan.RunContext;
import dev.flowspan.v1.TraceContext;

/** The ids of a run's trace and spans: those of its span, or derived from its id (trace.proto). */
final class TraceIds {
  private final RunSpan span;
  private final String runId;
  private final String traceId;
  private final String flags;
  private final String parentSpanId;
  private final String tracestate;
  private final boolean foreign;
  private final boolean reported;

  private TraceIds(RunScope scope) {
    span = scope.span;
    runId = scope.id();
    RunContext remote = scope.remote;
    boolean continued = remote != null && !remote.traceparent().isEmpty();
    if (scope.parent != null) {
      TraceIds parent = scope.parent.trace;
      traceId = parent.traceId;
      flags = parent.flags;
      tracestate = parent.tracestate;
      foreign = parent.foreign;
      parentSpanId = parent.ownSpanId(scope.parent.attempt());
    } else {
      String[] parts = continued ? remote.traceparent().split("-", -1) : null;
      foreign = continued;
      traceId = continued ? parts[1] : Uuids.traceId(scope.rootRunId);
      parentSpanId = continued ? parts[2] : "";
      flags = continued ? parts[3] : "03";
      tracestate = continued ? remote.tracestate() : "";
    }
    // A service that exports spans for sessions derives the ids itself, if the trace is the run's.
    reported =
        span != null
            || foreign
            || (scope.core.reportsTraces && !scope.core.has("service_spans.v1"));
  }

  static TraceIds of(RunScope scope) {
    return new TraceIds(scope);
  }

  boolean isReported() {
    return reported;
  }

  TraceContext context() {
    if (span != null) {
      return span.context();
    }
    return TraceContext.newBuilder()
        .setTraceparent("00-" + traceId + "-" + ownSpanId(1) + "-" + flags)
        .setTracestate(tracestate)
        .setParentSpanId(parentSpanId)
        .setExportedByService(true)
        .build();
  }

  private String ownSpanId(int attempt) {
    return Uuids.spanId(runId, attempt);
  }

  String traceId() {
    return span != null ? span.traceId() : traceId;
  }

  String spanId(int attempt) {
    return span != null ? span.spanId() : ownSpanId(attempt);
  }

  String traceparent(int attempt) {
    if (span == null) {
      return "00-" + traceId + "-" + ownSpanId(attempt) + "-" + flags;
    }
    return "00-" + span.traceId() + "-" + span.spanId() + "-" + flags();
  }

  /** Returns the flags of the trace: two hex digits. */
  String flags() {
    String own = span == null ? flags : span.context().getTraceparent();
    return own.length() < 2 ? "00" : own.substring(own.length() - 2);
  }

  String tracestate() {
    return span != null ? span.context().getTracestate() : tracestate;
  }
}
