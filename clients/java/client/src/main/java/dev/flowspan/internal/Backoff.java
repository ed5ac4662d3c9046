package dev.flowspan.internal;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Delays between connections: eager at first, patient later, and always with jitter. */
final class Backoff {
  private static final double FIRST_SECONDS = 0.05;
  private static final double LONGEST_SECONDS = 3;
  private static final double LONGEST_ASKED_SECONDS = 10;

  private int failures;

  /** Returns the delay before the next connection; at least what the service asked for. */
  long nextNanos(Duration asked) {
    double own = Math.min(FIRST_SECONDS * Math.pow(2, Math.min(failures, 10)), LONGEST_SECONDS);
    failures++;
    double wanted = Math.min(asked.toNanos() / 1e9, LONGEST_ASKED_SECONDS);
    double random = ThreadLocalRandom.current().nextDouble();
    return (long) (Math.max(own * (0.5 + random / 2), wanted * (1 + random / 4)) * 1e9);
  }

  /** Begins again, after a connection that worked. */
  void reset() {
    failures = 0;
  }
}
