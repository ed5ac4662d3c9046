package dev.flowspan.examples;

import dev.flowspan.ClientOptions;
import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Measures the client against the service of FLOWSPAN_ADDRESS. Prints one line of JSON a figure.
 */
public final class Bench {
  private static final int WARM_UP_TASKS = 20_000;
  private static final int TASKS = 100_000;
  private static final int THREADS = 4;
  private static final int TRANSITIONS = 3;
  private static final Duration TIMEOUT = Duration.ofMinutes(5);

  private Bench() {}

  /** Runs the benchmark. */
  public static void main(String[] arguments) throws Exception {
    ClientOptions options = ClientOptions.create().outbox(400_000, 1L << 30);
    try (FlowspanClient client = FlowspanClient.connect(options)) {
      tasks(client, WARM_UP_TASKS);
      client.flush(TIMEOUT);

      long cpu = cpuNanos();
      long start = System.nanoTime();
      long returned = tasks(client, TASKS);
      if (!client.flush(TIMEOUT)) {
        throw new IllegalStateException("The service did not confirm the events in time.");
      }
      double seconds = (System.nanoTime() - start) / 1e9;
      print("acked_transitions_per_second", TASKS * TRANSITIONS / seconds, "1/s");
      print("task_call", returned / 1e3 / TASKS, "us");
      print("task_cpu", (cpuNanos() - cpu) / 1e3 / TASKS, "us");

      parallel(client);
    }
  }

  /** Returns the CPU time of this process, which other load changes least. */
  private static long cpuNanos() {
    return ProcessHandle.current()
        .info()
        .totalCpuDuration()
        .map(Duration::toNanos)
        .orElseThrow(() -> new IllegalStateException("This system tells no CPU times."));
  }

  private static long tasks(FlowspanClient client, int count) {
    return client.flow(
        "bench",
        run -> {
          long start = System.nanoTime();
          callTasks(run, count);
          return System.nanoTime() - start;
        });
  }

  private static void callTasks(Run run, int count) {
    for (int index = 0; index < count; index++) {
      run.task("noop", task -> null);
    }
  }

  private static void parallel(FlowspanClient client) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      long start = System.nanoTime();
      client.flow(
          "bench-parallel",
          run -> {
            List<Future<?>> futures = new ArrayList<>();
            for (int thread = 0; thread < THREADS; thread++) {
              futures.add(run.wrap(pool).submit(() -> callTasks(run, TASKS / THREADS)));
            }
            for (Future<?> future : futures) {
              future.get();
            }
            return null;
          });
      client.flush(TIMEOUT);
      double seconds = (System.nanoTime() - start) / 1e9;
      print("parallel_acked_transitions_per_second", TASKS * TRANSITIONS / seconds, "1/s");
    } finally {
      pool.shutdownNow();
    }
  }

  private static void print(String figure, double value, String unit) {
    System.out.printf(
        Locale.ROOT,
        "{\"client\": \"java\", \"figure\": \"%s\", \"value\": %.2f, \"unit\": \"%s\"}%n",
        figure,
        value,
        unit);
  }
}
