package dev.flowspan.internal;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/** Ids of runs and artifacts (UUIDv7), and the span ids that follow from them. */
public final class Uuids {
  private static final int COUNTER_BITS = 12;
  private static final HexFormat HEX = HexFormat.of();

  /** The millisecond and the counter of the last id, so that the ids of a process ascend. */
  private static final AtomicLong LAST = new AtomicLong();

  private Uuids() {}

  /** Returns a new UUIDv7, greater than all earlier ones of this process. */
  public static String next() {
    long now = System.currentTimeMillis() << COUNTER_BITS;
    long stamp = LAST.updateAndGet(last -> Math.max(last + 1, now));
    long high = (stamp >>> COUNTER_BITS) << 16 | 0x7000L | (stamp & ((1L << COUNTER_BITS) - 1));
    long low = ThreadLocalRandom.current().nextLong() >>> 2 | 0x8000000000000000L;
    return dashed(HEX.toHexDigits(high) + HEX.toHexDigits(low));
  }

  /** Returns the canonical form of 32 hex digits. */
  public static String dashed(String hex) {
    return hex.substring(0, 8)
        + '-'
        + hex.substring(8, 12)
        + '-'
        + hex.substring(12, 16)
        + '-'
        + hex.substring(16, 20)
        + '-'
        + hex.substring(20);
  }

  /** Returns the trace id of a tree without a trace context: the digits of its root's id. */
  public static String traceId(String rootRunId) {
    return rootRunId.replace("-", "");
  }

  /** Returns the span id of an attempt of a run without a trace context (see trace.proto). */
  public static String spanId(String runId, int attempt) {
    if (attempt <= 1) {
      return runId.substring(19, 23) + runId.substring(24); // the last 16 digits
    }
    String hex = runId.replace("-", "");
    byte[] bytes = new byte[20];
    System.arraycopy(HEX.parseHex(hex), 0, bytes, 0, 16);
    for (int index = 0; index < 4; index++) {
      bytes[16 + index] = (byte) (attempt >>> (24 - 8 * index));
    }
    try {
      return HEX.formatHex(MessageDigest.getInstance("SHA-256").digest(bytes), 0, 8);
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible); // every Java platform has it
    }
  }
}
