package dev.flowspan.internal;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Text within the limits of the protocol: UTF-8, without NUL, of bounded size. */
public final class Text {
  /** The limit of names, tags and versions. */
  public static final int MAX_NAME_BYTES = 256;

  /** The limit of descriptions of flows and tasks. */
  public static final int MAX_DESCRIPTION_BYTES = 4 << 10;

  /** The limit of the messages of states and failures. */
  public static final int MAX_MESSAGE_BYTES = 32 << 10;

  /** The limit of stack traces. */
  public static final int MAX_TRACE_BYTES = 64 << 10;

  private static final int GAP_BYTES = 64;

  private Text() {}

  /** Replaces NUL by its symbol, because the service refuses it. */
  public static String clean(String text) {
    return text.indexOf('\0') < 0 ? text : text.replace('\0', '\u2400');
  }

  /**
   * Returns the text without NUL.
   *
   * @throws IllegalArgumentException if it exceeds the limit
   */
  public static String limited(String what, String text, int maxBytes) {
    String cleaned = clean(text);
    int bytes = size(cleaned);
    if (bytes > maxBytes) {
      throw new IllegalArgumentException(
          "The "
              + what
              + " \""
              + shortened(cleaned, 100)
              + "\" has "
              + bytes
              + " bytes in UTF-8; the limit is "
              + maxBytes
              + ". Shorten it.");
    }
    return cleaned;
  }

  /** Returns the number that a text says; -1 if it says none. */
  static long number(String text) {
    try {
      return Long.parseLong(text);
    } catch (NumberFormatException error) {
      return -1;
    }
  }

  /** Returns the number of bytes in UTF-8. */
  public static int size(String text) {
    int bytes = 0;
    for (int index = 0; index < text.length(); index++) {
      char unit = text.charAt(index);
      if (unit < 0x80) {
        bytes += 1;
      } else if (unit < 0x800) {
        bytes += 2;
      } else if (isPair(text, index)) {
        bytes += 4;
        index++;
      } else {
        bytes += 3; // a lone surrogate becomes "?", which is shorter
      }
    }
    return bytes;
  }

  /** Returns the text without NUL, with its middle left out if it exceeds the limit. */
  public static String shortened(String text, int maxBytes) {
    String cleaned = clean(text);
    if (cleaned.length() <= maxBytes / 3 || size(cleaned) <= maxBytes) {
      return cleaned;
    }
    byte[] bytes = cleaned.getBytes(StandardCharsets.UTF_8);
    if (maxBytes < 2 * GAP_BYTES) {
      return decode(bytes, 0, Math.max(0, maxBytes - 3)) + "…";
    }
    int half = (maxBytes - GAP_BYTES) / 2;
    return decode(bytes, 0, half)
        + "\n… "
        + (bytes.length - 2 * half)
        + " bytes left out …\n"
        + decode(bytes, bytes.length - half, bytes.length);
  }

  /** Splits a text into pieces of at most {@code maxBytes} each, between characters. */
  public static List<String> pieces(String text, int maxBytes) {
    List<String> pieces = new ArrayList<>();
    int start = 0;
    int bytes = 0;
    for (int index = 0; index < text.length(); index++) {
      boolean pair = isPair(text, index);
      char unit = text.charAt(index);
      int size = pair ? 4 : unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
      if (bytes + size > maxBytes && index > start) {
        pieces.add(text.substring(start, index));
        start = index;
        bytes = 0;
      }
      bytes += size;
      index += pair ? 1 : 0;
    }
    pieces.add(text.substring(start));
    return pieces;
  }

  private static boolean isPair(String text, int index) {
    return Character.isHighSurrogate(text.charAt(index))
        && index + 1 < text.length()
        && Character.isLowSurrogate(text.charAt(index + 1));
  }

  /** Decodes whole characters only: the ends of the range may cut one. */
  private static String decode(byte[] bytes, int start, int end) {
    int from = start;
    while (from < end && from > 0 && (bytes[from] & 0xC0) == 0x80) {
      from++;
    }
    int to = end;
    while (to > from && to < bytes.length && (bytes[to] & 0xC0) == 0x80) {
      to--;
    }
    return new String(bytes, from, to - from, StandardCharsets.UTF_8);
  }
}
