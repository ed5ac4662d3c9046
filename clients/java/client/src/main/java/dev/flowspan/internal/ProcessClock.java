package dev.flowspan.internal;

import com.google.protobuf.Timestamp;
import java.time.Instant;
import java.time.temporal.ChronoUnit;

/** The wall clock as of the start of the process, advanced by the monotonic clock. */
public final class ProcessClock {
  // A clock that is set back must not let a run end before it began.
  @SuppressWarnings("TimeInStaticInitializer") // the time of the start is what it is for
  private static final Instant START = Instant.now();

  private static final long START_NANOS = System.nanoTime();

  private ProcessClock() {}

  /** Returns the current time, in microseconds. It never goes back. */
  public static Instant now() {
    long nanos = System.nanoTime() - START_NANOS;
    return START.plusNanos(nanos).truncatedTo(ChronoUnit.MICROS);
  }

  /** Returns a time in nanoseconds since 1970. */
  static long nanosOf(Instant time) {
    return time.getEpochSecond() * 1_000_000_000L + time.getNano();
  }

  /** Returns a time as a message. */
  public static Timestamp timestamp(Instant time) {
    return Timestamp.newBuilder()
        .setSeconds(time.getEpochSecond())
        .setNanos(time.getNano())
        .build();
  }
}
