package dev.flowspan.internal;

import java.util.Optional;
import java.util.regex.Pattern;

/** Addresses of traces in the page of a trace viewer. */
final class TraceUrls {
  private static final String PLACE = "{trace_id}";
  private static final int MAX_LENGTH = 2048;

  /** Terminals may obey control characters. */
  private static final Pattern PAGE = Pattern.compile("https?://[!-~]+");

  private TraceUrls() {}

  /** Returns the address of a trace; empty if the page is no address with a place for the id. */
  static Optional<String> of(String page, String traceId) {
    boolean isUsable =
        page.length() <= MAX_LENGTH && PAGE.matcher(page).matches() && page.contains(PLACE);
    return isUsable ? Optional.of(page.replace(PLACE, traceId)) : Optional.empty();
  }
}
