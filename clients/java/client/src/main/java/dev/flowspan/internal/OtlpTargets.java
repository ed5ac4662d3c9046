package dev.flowspan.internal;

import dev.flowspan.v1.OtlpTarget;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;

/** The receivers of this process's spans and logs, by the variables of OpenTelemetry. */
final class OtlpTargets {
  private static final String GRPC = "grpc";
  private static final String HTTP = "http/protobuf";
  private static final int MAX_URL_LENGTH = 1024;
  private static final int MAX_PORT = 65_535;

  private final Map<String, String> environ;

  private OtlpTargets(Map<String, String> environ) {
    this.environ = environ;
  }

  /** A protocol and an address. */
  private record Receiver(String protocol, String url) {}

  /**
   * Returns where this process sends its spans and logs, so that the service can send the spans of
   * its crashed runs there; empty without such a configuration. Credentials are left out.
   */
  static Optional<OtlpTarget> of(Map<String, String> environ) {
    return new OtlpTargets(environ).target();
  }

  /** Returns true if the environment lets the service export the logs of runs over OTLP. */
  static boolean wantsLogs(Map<String, String> environ) {
    OtlpTargets targets = new OtlpTargets(environ);
    return !targets.get("OTEL_SDK_DISABLED").equalsIgnoreCase("true")
        && !targets.get("OTEL_LOGS_EXPORTER").equalsIgnoreCase("none");
  }

  private Optional<OtlpTarget> target() {
    if (get("OTEL_SDK_DISABLED").equalsIgnoreCase("true")
        || get("FLOWSPAN_TRACING").equalsIgnoreCase("false")) {
      return Optional.empty();
    }
    Optional<Receiver> traces =
        hasSpans()
            ? receiver("TRACES", "/v1/traces", get("FLOWSPAN_OTLP_ENDPOINT"))
            : Optional.empty();
    Optional<Receiver> logs =
        hasOtlp(get("OTEL_LOGS_EXPORTER")) ? receiver("LOGS", "/v1/logs", "") : Optional.empty();
    Optional<String> protocol = traces.or(() -> logs).map(Receiver::protocol);
    return protocol.map(
        found ->
            OtlpTarget.newBuilder()
                .setProtocol(found)
                .setTracesUrl(traces.map(Receiver::url).orElse(""))
                // A target has one protocol.
                .setLogsUrl(
                    logs.filter(each -> each.protocol.equals(found)).map(Receiver::url).orElse(""))
                .build());
  }

  private boolean hasSpans() {
    if (!get("FLOWSPAN_OTLP_ENDPOINT").isEmpty()) {
      return true;
    }
    String exporters = get("OTEL_TRACES_EXPORTER");
    if (!exporters.isEmpty()) {
      return hasOtlp(exporters);
    }
    return !get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").isEmpty()
        || !get("OTEL_EXPORTER_OTLP_ENDPOINT").isEmpty();
  }

  private static boolean hasOtlp(String exporters) {
    return Arrays.stream(exporters.split(",", -1))
        .anyMatch(name -> name.strip().equalsIgnoreCase("otlp"));
  }

  private Optional<Receiver> receiver(String signal, String path, String own) {
    String endpoint = own.isEmpty() ? value(signal, "ENDPOINT") : own;
    String protocol = protocolOf(value(signal, "PROTOCOL"), endpoint, !own.isEmpty());
    String url = endpoint;
    if (url.isEmpty()) {
      url = protocol.equals(GRPC) ? "http://localhost:4317" : "http://localhost:4318";
    }
    if (!url.contains("://")) {
      boolean isInsecure = !own.isEmpty() || value(signal, "INSECURE").equalsIgnoreCase("true");
      url = (isInsecure ? "http://" : "https://") + url;
    }
    boolean isWhole = own.isEmpty() && !get("OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT").isEmpty();
    return plainUrl(url, protocol, isWhole ? "" : path).map(plain -> new Receiver(protocol, plain));
  }

  /** Returns the configured protocol, else the usual one of the port; empty for an unknown one. */
  private static String protocolOf(String configured, String endpoint, boolean isOwn) {
    return switch (configured) {
      case GRPC, HTTP -> configured;
      case "http/json" -> HTTP; // its receivers take the other encoding at the same address
      case "" -> isOwn || endpoint.matches(".*:4317/?") ? GRPC : HTTP;
      default -> "";
    };
  }

  /** Returns a URL without user, password, query and fragment; empty if it is invalid. */
  private static Optional<String> plainUrl(String text, String protocol, String path) {
    URI uri;
    try {
      uri = new URI(text);
    } catch (URISyntaxException malformed) {
      return Optional.empty();
    }
    String scheme =
        uri.getScheme() == null ? "" : uri.getScheme().toLowerCase(java.util.Locale.ROOT);
    boolean isHttp = scheme.equals("http") || scheme.equals("https");
    if (protocol.isEmpty() || !isHttp || uri.getHost() == null) {
      return Optional.empty();
    }
    String authority = uri.getRawAuthority();
    String plain = scheme + "://" + authority.substring(authority.lastIndexOf('@') + 1);
    if (protocol.equals(HTTP)) {
      String base = uri.getRawPath();
      plain += path.isEmpty() ? base : base.replaceAll("/$", "") + path;
    }
    // The service refuses a Hello with another address, and with it the session.
    boolean isUsable =
        uri.getPort() != 0
            && uri.getPort() <= MAX_PORT
            && plain.length() <= MAX_URL_LENGTH
            && plain.matches("[!-~]+");
    return isUsable ? Optional.of(plain) : Optional.empty();
  }

  private String value(String signal, String name) {
    String own = get("OTEL_EXPORTER_OTLP_" + signal + "_" + name);
    return own.isEmpty() ? get("OTEL_EXPORTER_OTLP_" + name) : own;
  }

  private String get(String name) {
    return environ.getOrDefault(name, "").strip();
  }
}
