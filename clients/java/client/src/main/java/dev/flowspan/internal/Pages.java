package dev.flowspan.internal;

import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Function;

/** A list that is read page by page while it is iterated. Each iteration begins anew. */
public final class Pages<T> implements Iterable<T> {
  private final Function<String, Page<T>> reader;

  /**
   * Creates a list.
   *
   * @param reader reads the page of a token; empty for the first
   */
  public Pages(Function<String, Page<T>> reader) {
    this.reader = reader;
  }

  /** A page: its items, and the token of the next one; empty on the last. */
  public record Page<T>(List<T> items, String nextToken) {}

  @Override
  public Iterator<T> iterator() {
    return new Iterator<>() {
      private Iterator<T> items = List.<T>of().iterator();
      private String token = "";
      private boolean isLast;

      @Override
      public boolean hasNext() {
        while (!items.hasNext() && !isLast) { // a page can be empty without being the last
          Page<T> page = reader.apply(token);
          items = page.items().iterator();
          token = page.nextToken();
          isLast = token.isEmpty();
        }
        return items.hasNext();
      }

      @Override
      public T next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        return items.next();
      }
    };
  }
}
