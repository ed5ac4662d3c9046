package dev.flowspan;

/**
 * The body of a flow or task.
 *
 * @param <T> the type of its result
 * @param <X> the exceptions that it throws; inferred, {@code RuntimeException} if there is none
 */
@FunctionalInterface
public interface RunFunction<T, X extends Exception> {
  /**
   * Runs the body. It is called once for each attempt.
   *
   * @param run the run: calls tasks, logs, and knows whether it is cancelled
   * @return the result, or null; it is stored as JSON if it can be encoded
   * @throws X if the attempt fails
   */
  T call(Run run) throws X;
}
