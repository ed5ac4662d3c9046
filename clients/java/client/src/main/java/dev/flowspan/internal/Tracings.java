package dev.flowspan.internal;

import org.slf4j.LoggerFactory;

/** Finds the OpenTelemetry SDK of the program, without needing one on the class path. */
final class Tracings {
  private Tracings() {}

  /** Returns the tracing of an instance, or of the global one if it is set; otherwise null. */
  static Tracing find(Object openTelemetry) {
    try {
      return OtelTracing.find(openTelemetry);
    } catch (LinkageError missing) {
      if (openTelemetry != null) {
        throw new IllegalArgumentException(
            "OpenTelemetry is not complete on the class path: " + missing.getMessage(), missing);
      }
      LoggerFactory.getLogger("dev.flowspan").debug("Without OpenTelemetry", missing);
      return null;
    }
  }
}
