package dev.flowspan.internal;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.flowspan.FlowspanException;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import javax.net.ssl.SSLException;

/** Conversion of the errors of gRPC, with the details that the service attached. */
public final class Errors {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final Set<String> PASSING =
      Set.of("OVERLOADED", "RATE_LIMITED", "STOPPING", "STORE_UNAVAILABLE");

  private static final String AWAY_ADVICE =
      "Start one with `flowspan server start`, or set FLOWSPAN_ADDRESS to a running one. If it uses"
          + " TLS, check the certificates in ClientOptions.tls.";
  private static final String TLS_ADVICE =
      "Is the authority that issued its certificate one of TlsOptions, is the host of the address"
          + " in it, and does the service require a certificate of its clients?";

  private Errors() {}

  /**
   * A failed call.
   *
   * @param error the error
   * @param retryDelay the delay that the service asks for; zero if none
   */
  public record Failed(FlowspanException error, Duration retryDelay) {}

  /** Converts the end of a call. */
  public static Failed of(Status status, Metadata trailers, String address) {
    ErrorInfo info = ErrorInfo.getDefaultInstance();
    Duration delay = Duration.ZERO;
    byte[] details = trailers == null ? null : trailers.get(DETAILS);
    if (details != null) {
      try {
        for (com.google.protobuf.Any any :
            com.google.rpc.Status.parseFrom(details).getDetailsList()) {
          if (any.is(ErrorInfo.class)) {
            info = any.unpack(ErrorInfo.class);
          } else if (any.is(RetryInfo.class)) {
            com.google.protobuf.Duration wait = any.unpack(RetryInfo.class).getRetryDelay();
            delay = Duration.ofSeconds(wait.getSeconds(), wait.getNanos());
          }
        }
      } catch (InvalidProtocolBufferException damaged) {
        info = ErrorInfo.getDefaultInstance(); // the status itself still says what happened
      }
    }
    boolean retryable =
        info.getReason().isEmpty()
            ? status.getCode() == Status.Code.UNAVAILABLE
            : PASSING.contains(info.getReason());
    String message = messageOf(status, info, address);
    return new Failed(
        new FlowspanException(
            status.getCode(),
            info.getReason(),
            message,
            info.getReason().isEmpty() ? adviceOn(status) : info.getMetadataMap(),
            retryable,
            status.getCause()),
        delay.isNegative() ? Duration.ZERO : delay);
  }

  /** Returns the advice for a connection that failed, as metadata. */
  private static Map<String, String> adviceOn(Status status) {
    if (status.getCode() != Status.Code.UNAVAILABLE) {
      return Map.of();
    }
    return Map.of("advice", isAboutTls(status) ? TLS_ADVICE : AWAY_ADVICE);
  }

  private static boolean isAboutTls(Status status) {
    for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
      if (cause instanceof SSLException) {
        return true;
      }
    }
    return false;
  }

  /** Returns an error of the client itself. */
  public static FlowspanException local(Status.Code code, String message) {
    return new FlowspanException(code, "", message, Map.of(), false, null);
  }

  private static String messageOf(Status status, ErrorInfo info, String address) {
    String text = status.getDescription() == null ? "" : status.getDescription();
    if (info.getReason().isEmpty() && status.getCode() == Status.Code.UNAVAILABLE) {
      String why = isAboutTls(status) ? "the TLS handshake failed: " + status.getCause() : text;
      String advice = isAboutTls(status) ? TLS_ADVICE : AWAY_ADVICE;
      return "No service answers at " + address + " (" + why + "). " + advice;
    }
    if (info.getReason().isEmpty() && status.getCode() == Status.Code.DEADLINE_EXCEEDED) {
      return "The service at " + address + " did not answer in time (" + text + ").";
    }
    String advice = info.getMetadataOrDefault("advice", "");
    String head = text.isEmpty() ? status.getCode().toString() : text;
    return advice.isEmpty() || head.contains(advice) ? head : head + " " + advice;
  }
}
