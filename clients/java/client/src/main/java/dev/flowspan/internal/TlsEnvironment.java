package dev.flowspan.internal;

import dev.flowspan.TlsOptions;
import io.grpc.Status;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Reads the settings of TLS from the environment: the variables of the Python client. */
final class TlsEnvironment {
  private static final Set<String> ON = Set.of("1", "true", "yes", "on");
  private static final Set<String> OFF = Set.of("0", "false", "no", "off");

  private TlsEnvironment() {}

  /** Returns the settings, or null for a connection without TLS. */
  static TlsOptions read(Map<String, String> environ) {
    String text = environ.getOrDefault("FLOWSPAN_TLS", "").strip();
    String choice = text.toLowerCase(Locale.ROOT);
    if (OFF.contains(choice)) {
      return null;
    }
    boolean isOn = ON.contains(choice);
    if (!isOn && !choice.isEmpty() && !choice.equals("auto")) {
      throw invalid("FLOWSPAN_TLS is \"" + text + "\". Set it to true, false or auto.");
    }
    Path ca = file(environ, "FLOWSPAN_TLS_CA");
    Path certificate = file(environ, "FLOWSPAN_TLS_CLIENT_CERT");
    Path key = file(environ, "FLOWSPAN_TLS_CLIENT_KEY");
    String name = environ.getOrDefault("FLOWSPAN_TLS_SERVER_NAME", "").strip();
    if (!isOn && ca == null && certificate == null && name.isEmpty()) {
      return null;
    }
    if (certificate == null) {
      key = null;
    } else if (key == null) {
      key = certificate; // both in one file
    }
    return new TlsOptions(ca, certificate, key, name.isEmpty() ? null : name);
  }

  private static Path file(Map<String, String> environ, String variable) {
    String text = environ.getOrDefault(variable, "").strip();
    if (text.isEmpty()) {
      return null;
    }
    String home = System.getProperty("user.home", "");
    Path path = text.startsWith("~/") ? Path.of(home, text.substring(2)) : Path.of(text);
    if (!Files.isReadable(path)) {
      throw invalid(variable + ": the file " + path + " cannot be read.");
    }
    return path;
  }

  private static RuntimeException invalid(String message) {
    return Errors.local(Status.Code.INVALID_ARGUMENT, message);
  }
}
