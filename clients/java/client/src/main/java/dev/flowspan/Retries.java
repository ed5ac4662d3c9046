package dev.flowspan;

import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Predicate;

/**
 * A retry policy: the number of retries, the delay before each, and the errors that are retried.
 *
 * <pre>{@code
 * Retries.of(3).delay(Duration.ofSeconds(1)).backoff(2).jitter(0.5)
 * }</pre>
 */
public final class Retries {
  private static final Retries NONE =
      new Retries(0, Duration.ZERO, 1, Duration.ofHours(1), 0, error -> true);

  private final int count;
  private final Duration delay;
  private final double factor;
  private final Duration maxDelay;
  private final double jitter;
  private final Predicate<? super Exception> condition;

  private Retries(
      int count,
      Duration delay,
      double factor,
      Duration maxDelay,
      double jitter,
      Predicate<? super Exception> condition) {
    this.count = count;
    this.delay = delay;
    this.factor = factor;
    this.maxDelay = maxDelay;
    this.jitter = jitter;
    this.condition = condition;
  }

  /** Returns the policy without retries. */
  public static Retries none() {
    return NONE;
  }

  /**
   * Returns a policy with up to {@code count} retries, without a delay.
   *
   * @param count the number of retries after the first attempt, at least 0
   * @throws IllegalArgumentException if it is negative
   */
  public static Retries of(int count) {
    if (count < 0) {
      throw new IllegalArgumentException("The number of retries is " + count + "; give 0 or more.");
    }
    return new Retries(count, NONE.delay, NONE.factor, NONE.maxDelay, NONE.jitter, NONE.condition);
  }

  /**
   * Returns this policy with a delay before the first retry.
   *
   * @throws IllegalArgumentException if it is negative
   */
  public Retries delay(Duration delay) {
    if (delay.isNegative()) {
      throw new IllegalArgumentException("The delay is " + delay + "; give zero or more.");
    }
    return new Retries(count, delay, factor, maxDelay, jitter, condition);
  }

  /**
   * Returns this policy with delays that grow by a factor from one retry to the next.
   *
   * @throws IllegalArgumentException if the factor is below 1
   */
  public Retries backoff(double factor) {
    if (!(factor >= 1)) {
      throw new IllegalArgumentException("The factor is " + factor + "; give 1 or more.");
    }
    return new Retries(count, delay, factor, maxDelay, jitter, condition);
  }

  /** Returns this policy with an upper bound of the delays; one hour by default. */
  public Retries maxDelay(Duration maxDelay) {
    return new Retries(
        count, delay, factor, Objects.requireNonNull(maxDelay, "maxDelay"), jitter, condition);
  }

  /**
   * Returns this policy with random delays: up to this fraction longer.
   *
   * @throws IllegalArgumentException if the fraction is negative
   */
  public Retries jitter(double fraction) {
    if (!(fraction >= 0)) {
      throw new IllegalArgumentException("The jitter is " + fraction + "; give 0 or more.");
    }
    return new Retries(count, delay, factor, maxDelay, fraction, condition);
  }

  /** Returns this policy, limited to errors that match the condition. */
  public Retries when(Predicate<? super Exception> condition) {
    return new Retries(
        count, delay, factor, maxDelay, jitter, Objects.requireNonNull(condition, "condition"));
  }

  /** Returns the largest number of attempts. */
  public int maxAttempts() {
    return count == Integer.MAX_VALUE ? count : count + 1;
  }

  /**
   * Returns true if another attempt follows the failed one.
   *
   * @param attempt the number of the failed attempt, from 1
   * @param error its error; {@link Error}s are never retried
   */
  public boolean allows(int attempt, Throwable error) {
    return attempt <= count && error instanceof Exception exception && condition.test(exception);
  }

  /**
   * Returns the delay after a failed attempt.
   *
   * @param attempt the number of the failed attempt, from 1
   */
  public Duration delayAfter(int attempt) {
    double seconds = delay.toNanos() / 1e9 * Math.pow(factor, attempt - 1.0);
    double longest = maxDelay.toNanos() / 1e9;
    seconds = Math.min(seconds, longest);
    if (jitter > 0) {
      seconds += seconds * jitter * ThreadLocalRandom.current().nextDouble();
    }
    return Duration.ofNanos((long) (Math.min(seconds, longest) * 1e9));
  }
}
