package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.Failure;
import org.junit.jupiter.api.Test;

class FailuresTest {
  private static int count(Failure failure) {
    int count = 1 + (failure.hasCause() ? count(failure.getCause()) : 0);
    for (Failure other : failure.getOtherCausesList()) {
      count += count(other);
    }
    return count;
  }

  private static int depth(Failure failure) {
    int depth = failure.hasCause() ? depth(failure.getCause()) : 0;
    for (Failure other : failure.getOtherCausesList()) {
      depth = Math.max(depth, depth(other));
    }
    return depth + 1;
  }

  @Test
  void circlesOfCausesEnd() {
    Exception one = new Exception("one");
    Exception two = new Exception("two", one);
    one.initCause(two);
    Failure failure = Failures.of(one);
    assertEquals("two", failure.getCause().getMessage());
    assertEquals(2, count(failure));
  }

  @Test
  void largeTreesStayWithinTheLimits() {
    Exception error = new Exception("x".repeat(100_000));
    for (int depth = 0; depth < 40; depth++) {
      error = new Exception("ü".repeat(100_000), error);
      for (int index = 0; index < 10; index++) {
        error.addSuppressed(new Exception("y".repeat(50_000)));
      }
    }
    Failure failure = Failures.of(error);
    assertTrue(count(failure) <= 64);
    assertTrue(depth(failure) <= 16);
    assertTrue(failure.getSerializedSize() <= 1600 << 10);
    assertTrue(Text.size(failure.getMessage()) <= Text.MAX_MESSAGE_BYTES);
  }

  @Test
  void anExceptionWhoseMethodsThrowIsStillReported() {
    Exception broken =
        new Exception() {
          private static final long serialVersionUID = 1L;

          @Override
          public String getMessage() {
            throw new IllegalStateException("no message");
          }

          @Override
          public synchronized Throwable getCause() {
            throw new IllegalStateException("no cause");
          }
        };
    Failure failure = Failures.of(broken);
    assertEquals("<its getMessage threw java.lang.IllegalStateException>", failure.getMessage());
    assertTrue(failure.getStackTrace().contains("FailuresTest"));
  }
}
