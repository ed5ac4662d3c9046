package dev.flowspan.internal;

import dev.flowspan.v1.StateType;
import dev.flowspan.v1.TraceContext;
import java.time.Duration;

/** The span of a run, made by an OpenTelemetry SDK. None of its methods throws. */
interface RunSpan {
  /** Returns the trace context of the run, as it is reported. */
  TraceContext context();

  /** Begins an attempt; ends what the one before left open. */
  void attempt(int number);

  /** Records a failed attempt that is followed by another one. */
  void attemptFailed(Throwable error, Duration delay);

  /** Makes the span current on this thread. Close the result on the same thread. */
  AutoCloseable enter();

  /** Returns the trace id of the innermost span on this thread, or of the run; in hex. */
  String traceId();

  /** Returns the span id of the innermost span on this thread, or of the run; in hex. */
  String spanId();

  /** Ends the span with the run. */
  void end(StateType type, String stateName, String message, Throwable error);
}
