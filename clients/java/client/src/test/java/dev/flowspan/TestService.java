package dev.flowspan;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The real service as a process, with a database of its own. */
public final class TestService implements AutoCloseable {
  private static final long START_MILLIS = 60_000;

  private final Path home;
  private final List<String> arguments;
  private Process process;
  private int port;

  /** Starts a service with further arguments, such as {@code --grace}. */
  public TestService(Path home, String... arguments) throws IOException, InterruptedException {
    this.home = Files.createDirectories(home);
    this.arguments = List.of(arguments);
    start();
  }

  private static List<String> command() {
    String command = System.getenv("FLOWSPAN_TEST_SERVICE");
    if (command != null && !command.isBlank()) {
      return Arrays.asList(command.strip().split("\\s+"));
    }
    return List.of(root().resolve(".venv/bin/flowspan").toString(), "server", "start");
  }

  /** Returns the folder of the repository. */
  static Path root() {
    Path folder = Path.of("").toAbsolutePath();
    while (folder != null && !Files.exists(folder.resolve("proto/flowspan/v1"))) {
      folder = folder.getParent();
    }
    if (folder == null) {
      throw new IllegalStateException("The tests need the repository around them.");
    }
    return folder;
  }

  /** Starts the service again, on the same port. */
  public void start() throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(command());
    all.addAll(List.of("--home", home.toString(), "--port", Integer.toString(port)));
    all.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(all);
    builder.environment().keySet().removeIf(name -> name.startsWith("OTEL_"));
    builder.environment().put("FLOWSPAN_HTTP_PORT", "off");
    builder.redirectErrorStream(true);
    builder.redirectOutput(ProcessBuilder.Redirect.appendTo(home.resolve("log").toFile()));
    Files.deleteIfExists(home.resolve("service.json"));
    process = builder.start();
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(START_MILLIS);
    while (!isPublished()) {
      if (!process.isAlive() || System.nanoTime() > end) {
        throw new IllegalStateException(
            "The service did not start:\n" + Files.readString(home.resolve("log")));
      }
      Thread.sleep(20);
    }
  }

  private boolean isPublished() throws IOException {
    Path file = home.resolve("service.json");
    if (!Files.exists(file)) {
      return false;
    }
    for (JsonElement address :
        JsonParser.parseString(Files.readString(file))
            .getAsJsonObject()
            .getAsJsonArray("addresses")) {
      String text = address.getAsString();
      if (!text.startsWith("unix:") && !text.contains("://")) {
        port = Integer.parseInt(text.substring(text.lastIndexOf(':') + 1));
      }
    }
    return port != 0;
  }

  /** Kills the service as a crash would. */
  public void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** Returns the address. */
  public String address() {
    return "127.0.0.1:" + port;
  }

  /** Returns the folder of the service. */
  public Path home() {
    return home;
  }

  /** Returns a client. */
  public FlowspanClient connect() {
    return FlowspanClient.connect(options());
  }

  /** Returns the options of a client. */
  public ClientOptions options() {
    return ClientOptions.create().address(address());
  }

  @Override
  public void close() {
    process.destroy();
    try {
      if (!process.waitFor(20, TimeUnit.SECONDS)) {
        process.destroyForcibly().waitFor();
      }
    } catch (InterruptedException interrupt) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
