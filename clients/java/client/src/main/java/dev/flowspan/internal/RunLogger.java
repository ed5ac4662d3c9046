package dev.flowspan.internal;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.Marker;
import org.slf4j.event.Level;
import org.slf4j.helpers.AbstractLogger;
import org.slf4j.helpers.MessageFormatter;

/** The logger of a run: stores its records with the run, and passes them on to SLF4J. */
final class RunLogger extends AbstractLogger {
  /** The name of the logger that shows the records. The appender leaves it out. */
  static final String NAME = "flowspan.run";

  private static final long serialVersionUID = 1L;
  private static final Logger SHOWN = LoggerFactory.getLogger(NAME);

  private final transient RunScope scope;

  RunLogger(RunScope scope) {
    this.scope = scope;
    name = NAME;
  }

  @Override
  protected String getFullyQualifiedCallerName() {
    return RunLogger.class.getName();
  }

  @Override
  protected void handleNormalizedLoggingCall(
      Level level, Marker marker, String pattern, Object[] arguments, Throwable error) {
    String message = MessageFormatter.basicArrayFormat(pattern, arguments);
    String text = message == null ? "" : message;
    scope.log(number(level), NAME, error == null ? text : text + "\n" + trace(error));
    SHOWN.atLevel(level).setCause(error).log(text);
  }

  /** Returns the number that the service uses for a level of SLF4J. */
  static int number(Level level) {
    return switch (level) {
      case TRACE -> 5;
      case DEBUG -> 10;
      case INFO -> 20;
      case WARN -> 30;
      case ERROR -> 40;
    };
  }

  static String trace(Throwable error) {
    StringWriter text = new StringWriter();
    try (PrintWriter writer = new PrintWriter(text)) {
      error.printStackTrace(writer);
    } catch (RuntimeException broken) { // exceptions are users' code
      text.append(error.getClass().getName()).append(": its stack trace cannot be printed");
    }
    return text.toString().stripTrailing();
  }

  @Override
  public boolean isTraceEnabled() {
    return SHOWN.isTraceEnabled();
  }

  @Override
  public boolean isTraceEnabled(Marker marker) {
    return SHOWN.isTraceEnabled(marker);
  }

  @Override
  public boolean isDebugEnabled() {
    return SHOWN.isDebugEnabled();
  }

  @Override
  public boolean isDebugEnabled(Marker marker) {
    return SHOWN.isDebugEnabled(marker);
  }

  // From INFO on, records are stored even if SLF4J shows none, for example without a provider.

  @Override
  public boolean isInfoEnabled() {
    return true;
  }

  @Override
  public boolean isInfoEnabled(Marker marker) {
    return true;
  }

  @Override
  public boolean isWarnEnabled() {
    return true;
  }

  @Override
  public boolean isWarnEnabled(Marker marker) {
    return true;
  }

  @Override
  public boolean isErrorEnabled() {
    return true;
  }

  @Override
  public boolean isErrorEnabled(Marker marker) {
    return true;
  }
}
