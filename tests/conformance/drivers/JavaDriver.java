import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.flowspan.CancelledRunException;
import dev.flowspan.FlowspanClient;
import dev.flowspan.Retries;
import dev.flowspan.Run;
import dev.flowspan.RunOptions;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * The driver of the Java client: performs commands with the public names of flowspan.
 *
 * <p>tests/conformance/README.md describes the commands and the operations of bodies.
 */
public final class JavaDriver {
  private static final PrintStream OUTPUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private static final Map<String, CountDownLatch> GATES = new ConcurrentHashMap<>();
  private static FlowspanClient client;

  private JavaDriver() {}

  public static void main(String[] arguments) throws Exception {
    client = FlowspanClient.connect();
    List<Thread> flows = new ArrayList<>();
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      JsonObject command = JsonParser.parseString(line).getAsJsonObject();
      int id = command.get("id").getAsInt();
      if (command.has("start")) {
        JsonObject operation = command.getAsJsonObject("start");
        Thread flow = new Thread(() -> start(id, operation));
        flows.add(flow);
        flow.start();
        answer(Map.of("id", id, "started", true));
      } else if (command.has("open")) {
        gate(command.get("open").getAsString()).countDown();
        answer(Map.of("id", id, "ok", Map.of()));
      } else if (command.has("close")) {
        break;
      } else {
        answer(Map.of("id", id, "error", "unknown command " + line));
      }
    }
    for (Thread flow : flows) {
      flow.join();
    }
    client.close();
    System.exit(0);
  }

  private static void answer(Map<String, ?> fields) {
    String line = new com.google.gson.Gson().toJson(fields);
    synchronized (OUTPUT) {
      OUTPUT.println(line);
    }
  }

  private static CountDownLatch gate(String name) {
    return GATES.computeIfAbsent(name, key -> new CountDownLatch(1));
  }

  private static void start(int id, JsonObject operation) {
    String state = "COMPLETED";
    try {
      client.flow(text(operation, "flow"), options(operation), run -> body(run, operation));
    } catch (CancelledRunException | InterruptedException error) {
      // A cancellation interrupts the thread of the run, and the body lets the exception pass.
      state = "CANCELLED";
    } catch (Exception error) {
      state = "FAILED";
    }
    String name = state.charAt(0) + state.substring(1).toLowerCase(java.util.Locale.ROOT);
    answer(Map.of("id", id, "ok", Map.of("state", state, "name", name)));
  }

  private static String text(JsonObject operation, String name) {
    return operation.get(name).getAsString();
  }

  private static RunOptions options(JsonObject operation) {
    RunOptions options = RunOptions.create();
    if (operation.has("tags")) {
      for (JsonElement tag : operation.getAsJsonArray("tags")) {
        options = options.tags(tag.getAsString());
      }
    }
    if (operation.has("retries")) {
      Retries retries = Retries.of(operation.get("retries").getAsInt());
      if (operation.has("retry_delay_s")) {
        double seconds = operation.get("retry_delay_s").getAsDouble();
        retries = retries.delay(Duration.ofMillis(Math.round(seconds * 1000)));
      }
      options = options.retries(retries);
    }
    return options;
  }

  private static Object body(Run run, JsonObject operation) throws Exception {
    Object result = null;
    if (operation.has("body")) {
      for (JsonElement each : operation.getAsJsonArray("body")) {
        Object found = perform(run, each.getAsJsonObject());
        result = each.getAsJsonObject().has("return") ? found : result;
      }
    }
    return result;
  }

  private static Object perform(Run run, JsonObject operation) throws Exception {
    if (operation.has("log")) {
      log(run, operation);
    } else if (operation.has("task")) {
      return run.task(text(operation, "task"), options(operation), task -> body(task, operation));
    } else if (operation.has("flow")) {
      return run.flow(text(operation, "flow"), options(operation), flow -> body(flow, operation));
    } else if (operation.has("parallel")) {
      parallel(run, operation.getAsJsonArray("parallel"));
    } else if (operation.has("fail")) {
      fail(run, operation);
    } else if (operation.has("sleep_s")) {
      Thread.sleep(Math.round(operation.get("sleep_s").getAsDouble() * 1000));
    } else if (operation.has("wait")) {
      gate(text(operation, "wait")).await();
    } else if (operation.has("mark")) {
      answer(Map.of("mark", text(operation, "mark")));
    } else if (operation.has("markdown")) {
      run.artifacts().markdown("", text(operation, "markdown"));
    } else if (operation.has("return")) {
      return new com.google.gson.Gson().fromJson(operation.get("return"), Object.class);
    } else {
      throw new IllegalArgumentException("the driver does not know " + operation);
    }
    return null;
  }

  private static String repeated(JsonObject operation, String name) {
    int copies = operation.has("repeat") ? operation.get("repeat").getAsInt() : 1;
    return text(operation, name).repeat(copies);
  }

  private static void log(Run run, JsonObject operation) {
    String text = repeated(operation, "log");
    if (!operation.has("times")) {
      run.log().info(text);
      return;
    }
    for (int number = 0; number < operation.get("times").getAsInt(); number++) {
      run.log().info(text + " " + number);
    }
  }

  private static void parallel(Run run, JsonArray operations) throws Exception {
    ExecutorService pool = run.wrap(Executors.newFixedThreadPool(operations.size()));
    try {
      List<Future<Object>> futures = new ArrayList<>();
      for (JsonElement each : operations) {
        JsonObject task = each.getAsJsonObject();
        futures.add(
            pool.submit(
                () -> run.task(text(task, "task"), options(task), inner -> body(inner, task))));
      }
      for (Future<Object> future : futures) {
        future.get();
      }
    } finally {
      pool.shutdown();
    }
  }

  private static void fail(Run run, JsonObject operation) {
    int last = operation.has("up_to_attempt") ? operation.get("up_to_attempt").getAsInt() : run.attempt();
    if (run.attempt() <= last) {
      Throwable cause =
          operation.has("cause") ? new IllegalArgumentException(text(operation, "cause")) : null;
      throw new IllegalStateException(repeated(operation, "fail"), cause);
    }
  }
}
