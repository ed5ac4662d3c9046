package dev.flowspan;

import java.util.Iterator;

/**
 * Items that arrive from the service. Iterate over them once, and close the stream: another thread
 * may close it, which ends the iteration.
 *
 * @param <T> the type of the items
 */
public interface Stream<T> extends Iterable<T>, AutoCloseable {
  /**
   * Returns the items as they arrive; {@code hasNext} blocks until there is one. It throws {@link
   * FlowspanException} if the stream fails.
   *
   * @throws IllegalStateException if it was called before
   */
  @Override
  Iterator<T> iterator();

  /** Ends the stream. Idempotent. */
  @Override
  void close();
}
