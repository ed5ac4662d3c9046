package dev.flowspan.internal;

import dev.flowspan.v1.Failure;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/** Conversion of exceptions to the form in which they are reported. Nothing here throws. */
public final class Failures {
  private static final int MAX_CHAIN = 16;
  private static final int MAX_ERRORS = 64;
  private static final int MAX_BYTES = 1400 << 10;

  private final Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
  private int bytes;

  private Failures() {}

  /** Returns an exception with its causes and suppressed exceptions, within all limits. */
  public static Failure of(Throwable error) {
    return new Failures().convert(error, 1).build();
  }

  /** Returns the message of an exception; a note if its own method throws. */
  public static String message(Throwable error) {
    try {
      String message = error.getMessage();
      return message == null ? "" : Text.shortened(message, Text.MAX_MESSAGE_BYTES);
    } catch (Throwable broken) {
      return "<its getMessage threw " + broken.getClass().getName() + ">";
    }
  }

  /** Returns the type and message of an exception in one line. */
  public static String summary(Throwable error) {
    String message = message(error);
    String type = error.getClass().getSimpleName();
    String name = type.isEmpty() ? error.getClass().getName() : type;
    return Text.shortened(message.isEmpty() ? name : name + ": " + message, 4096);
  }

  private Failure.Builder convert(Throwable error, int depth) {
    seen.add(error);
    Failure.Builder failure =
        Failure.newBuilder().setType(error.getClass().getName()).setMessage(message(error));
    bytes += failure.getMessage().length() * 3 + 200;
    if (bytes < MAX_BYTES) {
      failure.setStackTrace(trace(error));
      bytes += failure.getStackTrace().length() * 3;
    }
    if (depth == MAX_CHAIN) {
      return failure;
    }
    Throwable cause = causeOf(error);
    if (accepts(cause)) {
      failure.setCause(convert(cause, depth + 1));
    }
    for (Throwable suppressed : suppressedBy(error)) {
      if (accepts(suppressed)) {
        failure.addOtherCauses(convert(suppressed, depth + 1));
      }
    }
    return failure;
  }

  private boolean accepts(Throwable error) {
    return error != null && seen.size() < MAX_ERRORS && !seen.contains(error) && bytes < MAX_BYTES;
  }

  private static Throwable causeOf(Throwable error) {
    try {
      return error.getCause();
    } catch (Throwable broken) {
      return null; // an exception whose own method throws has no cause that can be shown
    }
  }

  private static List<Throwable> suppressedBy(Throwable error) {
    List<Throwable> all = new ArrayList<>();
    for (Throwable suppressed : error.getSuppressed()) {
      all.add(suppressed);
    }
    return all;
  }

  private static String trace(Throwable error) {
    StringBuilder text = new StringBuilder(error.getClass().getName());
    String message = message(error);
    if (!message.isEmpty()) {
      text.append(": ").append(message);
    }
    try {
      for (StackTraceElement frame : error.getStackTrace()) {
        if (!frame.getClassName().startsWith("dev.flowspan.internal.")) {
          text.append("\n\tat ").append(frame);
        }
      }
    } catch (Throwable broken) {
      text.append("\n\t(no stack trace: ").append(broken.getClass().getName()).append(')');
    }
    return Text.shortened(text.toString(), Text.MAX_TRACE_BYTES);
  }
}
