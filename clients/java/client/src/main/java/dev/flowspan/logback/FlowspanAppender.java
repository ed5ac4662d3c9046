package dev.flowspan.logback;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.ThrowableProxyUtil;
import ch.qos.logback.core.UnsynchronizedAppenderBase;
import dev.flowspan.internal.OpenRuns;
import dev.flowspan.internal.RunScope;

/**
 * Stores the log records of runs, whichever logger they come from.
 *
 * <pre>{@code
 * <appender name="FLOWSPAN" class="dev.flowspan.logback.FlowspanAppender"/>
 * <root level="INFO">
 *   <appender-ref ref="FLOWSPAN"/>
 * </root>
 * }</pre>
 *
 * <p>Records outside runs are ignored. The run is found by the entry {@code flowspan.run_id} of the
 * MDC, so this also works behind an asynchronous appender.
 */
public final class FlowspanAppender extends UnsynchronizedAppenderBase<ILoggingEvent> {
  private static final String RUN_ID = "flowspan.run_id";
  private static final String RUN_LOGGER = "flowspan.run";
  private static final String OWN = "dev.flowspan";

  /** Creates the appender; Logback does this. */
  public FlowspanAppender() {}

  @Override
  protected void append(ILoggingEvent event) {
    String logger = event.getLoggerName();
    // The run's own logger has stored the record already, and the client must not log about itself.
    if (logger.equals(RUN_LOGGER) || logger.equals(OWN) || logger.equals(OWN + ".reporter")) {
      return;
    }
    RunScope run = OpenRuns.find(event.getMDCPropertyMap().get(RUN_ID));
    if (run == null) {
      return;
    }
    String message = String.valueOf(event.getFormattedMessage());
    if (event.getThrowableProxy() != null) {
      message += "\n" + ThrowableProxyUtil.asString(event.getThrowableProxy()).stripTrailing();
    }
    run.log(number(event.getLevel()), logger, message);
  }

  private static int number(Level level) {
    return switch (level.toInt()) {
      case Level.TRACE_INT -> 5;
      case Level.DEBUG_INT -> 10;
      case Level.WARN_INT -> 30;
      case Level.ERROR_INT -> 40;
      default -> 20;
    };
  }
}
