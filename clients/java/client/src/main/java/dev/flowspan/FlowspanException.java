package dev.flowspan;

import io.grpc.Status;
import java.util.Map;

/**
 * An error of the service, of the connection to it, or of the client's configuration.
 *
 * <p>A {@linkplain #reason() reason} comes from the service and never changes its meaning; messages
 * are for people.
 */
public final class FlowspanException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final Status.Code code;
  private final String reason;
  private final String advice;
  private final transient Map<String, String> metadata;
  private final boolean retryable;

  /**
   * Creates an error.
   *
   * @param code the gRPC code
   * @param reason the reason, such as {@code NOT_FOUND} or {@code OVERLOADED}; empty if there is
   *     none
   * @param message the message for people
   * @param metadata the field, run or limit concerned, and {@code advice}
   * @param retryable true if the same call can succeed later
   * @param cause the cause, or null
   */
  public FlowspanException(
      Status.Code code,
      String reason,
      String message,
      Map<String, String> metadata,
      boolean retryable,
      Throwable cause) {
    super(message, cause);
    this.code = code;
    this.reason = reason;
    this.metadata = Map.copyOf(metadata);
    this.advice = this.metadata.getOrDefault("advice", "");
    this.retryable = retryable;
  }

  /** Returns the gRPC code. */
  public Status.Code code() {
    return code;
  }

  /** Returns the reason as {@code flowspan.v1.ErrorReason} names it; empty if there is none. */
  public String reason() {
    return reason;
  }

  /** Returns a sentence that says what to do; empty if there is none. */
  public String advice() {
    return advice;
  }

  /** Returns the field, run or limit concerned; empty after deserialization. */
  public Map<String, String> metadata() {
    return metadata == null ? Map.of() : metadata;
  }

  /** Returns true if the same call can succeed later. */
  public boolean retryable() {
    return retryable;
  }
}
