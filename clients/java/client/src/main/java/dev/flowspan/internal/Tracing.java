package dev.flowspan.internal;

import dev.flowspan.RunContext;

/** A source of spans for runs: an OpenTelemetry SDK. */
interface Tracing {
  /**
   * Starts the span of a run.
   *
   * @param scope the run, which has its id and names
   * @param parent the span of the calling run, or null
   * @param remote the calling run in another process, or null
   */
  RunSpan start(RunScope scope, RunSpan parent, RunContext remote);
}
