package dev.flowspan.internal;

import com.google.protobuf.ByteString;
import com.google.protobuf.Timestamp;
import dev.flowspan.v1.Hello;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;

/** The identity of this process towards the service: its session id, secret and description. */
final class Session {
  static final String CLIENT_NAME = "flowspan-java";
  static final String VERSION = readVersion();

  private static final int MAX_ATTRIBUTES = 64;
  private static final int SECRET_BYTES = 16;

  final String id = Uuids.next();
  private final ByteString secret;
  private final boolean spansByService;
  private final Map<String, String> environ;

  Session(boolean spansByService, Map<String, String> environ) {
    byte[] random = new byte[SECRET_BYTES];
    new SecureRandom().nextBytes(random);
    secret = ByteString.copyFrom(random);
    this.spansByService = spansByService;
    this.environ = environ;
  }

  /** Returns the first frame of a connection. */
  Hello hello(long ackedSequence) {
    Instant now = Instant.now();
    Hello.Builder hello = Hello.newBuilder();
    OtlpTargets.of(environ).ifPresent(hello::setOtlpTarget);
    return hello
        .setSessionId(id)
        .setSecret(secret)
        .setClientName(CLIENT_NAME)
        .setClientVersion(VERSION)
        .setClientLanguage("java")
        .setHostname(Text.shortened(hostname(environ), 256))
        .setProcessId(ProcessHandle.current().pid())
        .setClientTime(
            Timestamp.newBuilder().setSeconds(now.getEpochSecond()).setNanos(now.getNano()))
        .setAckedSequence(ackedSequence)
        .putAllResource(resource(environ))
        .setSpansByService(spansByService)
        .setLogsByService(spansByService && OtlpTargets.wantsLogs(environ))
        .build();
  }

  /** Returns the attributes of this process, as OpenTelemetry's environment variables set them. */
  static Map<String, String> resource(Map<String, String> environ) {
    Map<String, String> resource = new LinkedHashMap<>();
    resource.put("service.name", program(System.getProperty("sun.java.command", "")));
    for (String pair : environ.getOrDefault("OTEL_RESOURCE_ATTRIBUTES", "").split(",", -1)) {
      int equals = pair.indexOf('=');
      if (equals > 0 && resource.size() < MAX_ATTRIBUTES - 6) {
        resource.put(
            Text.shortened(pair.substring(0, equals).strip(), 256),
            Text.shortened(decoded(pair.substring(equals + 1).strip()), 1024));
      }
    }
    String name = environ.getOrDefault("OTEL_SERVICE_NAME", "").strip();
    if (!name.isEmpty()) {
      resource.put("service.name", Text.shortened(name, 1024));
    }
    resource.put("telemetry.sdk.language", "java");
    resource.putIfAbsent("host.name", Text.shortened(hostname(environ), 1024));
    resource.putIfAbsent("process.pid", Long.toString(ProcessHandle.current().pid()));
    resource.put("process.runtime.name", System.getProperty("java.runtime.name", "Java"));
    resource.put("process.runtime.version", System.getProperty("java.runtime.version", ""));
    return resource;
  }

  /**
   * Returns the name of the program: its main class, or its file without {@code .jar}.
   *
   * @param command the main class or the path of a file, and the arguments; empty if it is unknown
   */
  static String program(String command) {
    String main = command.strip().split(" ", 2)[0];
    if (!main.endsWith(".jar")) {
      return main.isEmpty() ? "java" : Text.shortened(main, 1024);
    }
    String file = main.substring(Math.max(main.lastIndexOf('/'), main.lastIndexOf('\\')) + 1);
    return Text.shortened(file.substring(0, file.length() - ".jar".length()), 1024);
  }

  private static String decoded(String text) {
    try {
      return java.net.URLDecoder.decode(
          text.replace("+", "%2B"), java.nio.charset.StandardCharsets.UTF_8);
    } catch (IllegalArgumentException malformed) {
      return text;
    }
  }

  private static String hostname(Map<String, String> environ) {
    String name = environ.getOrDefault("HOSTNAME", "");
    if (!name.isEmpty()) {
      return name;
    }
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException unknown) {
      return "";
    }
  }

  private static String readVersion() {
    try (InputStream file = Session.class.getResourceAsStream("/dev/flowspan/client.properties")) {
      Properties properties = new Properties();
      if (file != null) {
        properties.load(file);
      }
      return properties.getProperty("version", "unknown");
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
