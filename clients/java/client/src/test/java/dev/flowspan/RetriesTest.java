package dev.flowspan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class RetriesTest {
  @Test
  void delaysGrowUpToTheBound() {
    Retries retries =
        Retries.of(9).delay(Duration.ofSeconds(1)).backoff(2).maxDelay(Duration.ofSeconds(5));
    assertEquals(Duration.ofSeconds(1), retries.delayAfter(1));
    assertEquals(Duration.ofSeconds(4), retries.delayAfter(3));
    assertEquals(Duration.ofSeconds(5), retries.delayAfter(9));
    assertEquals(Duration.ofSeconds(5), retries.delayAfter(5000));
    assertEquals(10, retries.maxAttempts());
  }

  @Test
  void jitterMakesDelaysLongerByAtMostItsFraction() {
    Retries retries = Retries.of(1).delay(Duration.ofSeconds(1)).jitter(0.5);
    for (int index = 0; index < 200; index++) {
      Duration delay = retries.delayAfter(1);
      assertTrue(delay.compareTo(Duration.ofSeconds(1)) >= 0);
      assertTrue(delay.compareTo(Duration.ofMillis(1500)) <= 0);
    }
  }

  @Test
  void onlyExceptionsThatMatchAreRetried() {
    Retries retries = Retries.of(1).when(error -> error instanceof IOException);
    assertTrue(retries.allows(1, new IOException()));
    assertFalse(retries.allows(2, new IOException()));
    assertFalse(retries.allows(1, new IllegalStateException()));
    assertFalse(Retries.of(1).allows(1, new AssertionError()));
    assertFalse(Retries.none().allows(1, new IOException()));
  }

  @Test
  void impossiblePoliciesAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> Retries.of(-1));
    assertThrows(IllegalArgumentException.class, () -> Retries.of(1).backoff(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> Retries.of(1).jitter(-1));
    assertThrows(IllegalArgumentException.class, () -> Retries.of(1).delay(Duration.ofSeconds(-1)));
  }
}
