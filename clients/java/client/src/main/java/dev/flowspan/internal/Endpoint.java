package dev.flowspan.internal;

import com.google.gson.JsonElement;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import dev.flowspan.FlowspanException;
import io.grpc.Status;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The address of a service.
 *
 * @param host the host, or empty
 * @param port the port, or 0
 * @param path the path of its Unix socket, or empty
 */
public record Endpoint(String host, int port, String path) {
  private static final Pattern HOST_PORT =
      Pattern.compile("(?:\\[([0-9A-Fa-f:.%\\w]+)\\]|([^\\[\\]:/\\s]+)):(\\d{1,5})");
  private static final Endpoint DEFAULT = new Endpoint("127.0.0.1", 4600, "");
  private static final int PROBE_MILLIS = 1000;

  /**
   * Parses {@code host:port}, {@code [ip6]:port} or {@code unix:/path}.
   *
   * @throws FlowspanException if it is none of these; the message shows a valid form
   */
  public static Endpoint parse(String text, String source) {
    String address = text.strip();
    if (address.startsWith("unix:")) {
      String path = address.substring(address.startsWith("unix:///") ? 7 : 5);
      if (path.startsWith("/") && path.length() > 1) {
        return new Endpoint("", 0, path);
      }
      throw invalid(source, text, "the path of a Unix socket must be absolute");
    }
    if (address.contains("://")) {
      throw invalid(source, text, "it is a gRPC address and not a URL");
    }
    Matcher matcher = HOST_PORT.matcher(address);
    if (!matcher.matches()) {
      throw invalid(
          source,
          text,
          address.contains(":") ? "the host or the port is malformed" : "it has no port");
    }
    int port = Integer.parseInt(matcher.group(3));
    if (port < 1 || port > 65535) {
      throw invalid(source, text, "the port is not in 1 to 65535");
    }
    return new Endpoint(matcher.group(1) != null ? matcher.group(1) : matcher.group(2), port, "");
  }

  /**
   * Returns the address that the environment names, or the one that the local service published, or
   * {@code 127.0.0.1:4600}.
   *
   * @throws FlowspanException if FLOWSPAN_ADDRESS is invalid
   */
  public static Endpoint find(Map<String, String> environ) {
    String address = environ.getOrDefault("FLOWSPAN_ADDRESS", "").strip();
    if (!address.isEmpty()) {
      return parse(address, "FLOWSPAN_ADDRESS");
    }
    for (Endpoint endpoint : published(home(environ))) {
      if (endpoint.isReachable()) {
        return endpoint;
      }
    }
    return DEFAULT;
  }

  private static Path home(Map<String, String> environ) {
    String home = environ.getOrDefault("FLOWSPAN_HOME", "").strip();
    String user = environ.getOrDefault("HOME", System.getProperty("user.home", ""));
    if (home.startsWith("~/")) {
      return Path.of(user, home.substring(2));
    }
    if (!home.isEmpty()) {
      return Path.of(home);
    }
    String data = environ.getOrDefault("XDG_DATA_HOME", "").strip();
    return data.startsWith("/")
        ? Path.of(data, "flowspan")
        : Path.of(user, ".local", "share", "flowspan");
  }

  private static List<Endpoint> published(Path home) {
    List<Endpoint> endpoints = new ArrayList<>();
    try {
      Path path = home.resolve("service.json");
      JsonElement file = JsonParser.parseString(Files.readString(path));
      JsonElement addresses = file.isJsonObject() ? file.getAsJsonObject().get("addresses") : null;
      if (addresses != null && addresses.isJsonArray()) {
        for (JsonElement address : addresses.getAsJsonArray()) {
          addPublished(endpoints, address, path);
        }
      }
    } catch (IOException | JsonParseException unusable) {
      return List.of(); // no local service, or a file that it did not write whole
    }
    return endpoints;
  }

  private static void addPublished(List<Endpoint> endpoints, JsonElement address, Path path) {
    if (address.isJsonPrimitive()) {
      try {
        endpoints.add(parse(address.getAsString(), path.toString()));
      } catch (FlowspanException unknown) {
        return; // an address of a kind that a newer service publishes
      }
    }
  }

  private boolean isReachable() {
    try {
      if (isUnix()) {
        try (SocketChannel socket = SocketChannel.open(StandardProtocolFamily.UNIX)) {
          return socket.connect(UnixDomainSocketAddress.of(path));
        }
      }
      try (Socket socket = new Socket()) {
        socket.connect(new InetSocketAddress(host, port), PROBE_MILLIS);
        return true;
      }
    } catch (IOException | UnsupportedOperationException | IllegalArgumentException unreachable) {
      return false;
    }
  }

  /** Returns true for a Unix socket. */
  public boolean isUnix() {
    return !path.isEmpty();
  }

  /** Returns true if the address is on this machine, so that no proxy is asked. */
  public boolean isLocal() {
    if (isUnix() || "localhost".equalsIgnoreCase(host)) {
      return true;
    }
    boolean literal =
        host.indexOf(':') >= 0 || host.chars().allMatch(c -> c == '.' || (c < ':' && c > '/'));
    try {
      return literal && InetAddress.getByName(host).isLoopbackAddress();
    } catch (IOException unknown) {
      return false;
    }
  }

  @Override
  public String toString() {
    if (isUnix()) {
      return "unix:" + path;
    }
    return (host.indexOf(':') >= 0 ? "[" + host + "]" : host) + ":" + port;
  }

  private static FlowspanException invalid(String source, String text, String why) {
    return Errors.local(
        Status.Code.INVALID_ARGUMENT,
        source
            + "=\""
            + text
            + "\": "
            + why
            + "; expected host:port, as in 127.0.0.1:4600, or unix:/path/to/socket.");
  }
}
