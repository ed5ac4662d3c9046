package dev.flowspan.examples;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Retries;
import dev.flowspan.Run;
import dev.flowspan.RunOptions;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/**
 * Counts the lines of the Java files below a folder, as a flow: one task finds the files, one task
 * for each file counts, and a table shows the largest ones.
 */
public final class Census {
  private static final int THREADS = 8;
  private static final int ROWS = 10;

  private Census() {}

  /** The number of lines of a file. */
  record Count(String file, long lines) {}

  /**
   * Runs the flow.
   *
   * @param arguments the folder; the current one by default
   */
  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments.length > 0 ? arguments[0] : ".").toAbsolutePath().normalize();
    try (FlowspanClient client = FlowspanClient.connect()) {
      long lines =
          client.flow("census", Map.of("folder", folder.toString()), run -> count(run, folder));
      System.out.println(lines + " lines of Java below " + folder);
    }
  }

  private static long count(Run run, Path folder) throws Exception {
    List<Path> files = run.task("find", Retries.of(2), task -> find(folder));
    run.log().info("Found {} files", files.size());
    List<Count> counts = countAll(run, folder, files);
    run.artifacts().table("largest-java-files", largest(counts));
    return counts.stream().mapToLong(Count::lines).sum();
  }

  private static List<Path> find(Path folder) throws IOException {
    try (Stream<Path> paths = Files.walk(folder)) {
      return paths.filter(path -> path.toString().endsWith(".java")).sorted().toList();
    }
  }

  private static List<Count> countAll(Run run, Path folder, List<Path> files) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      ExecutorService wrapped = run.wrap(pool);
      List<Callable<Count>> works = new ArrayList<>();
      for (Path file : files) {
        String name = folder.relativize(file).toString();
        RunOptions options = RunOptions.create().parameters(Map.of("file", name));
        works.add(() -> run.task("count", options, task -> new Count(name, lines(file))));
      }
      List<Count> counts = new ArrayList<>();
      for (Future<Count> future : wrapped.invokeAll(works)) {
        counts.add(future.get());
      }
      return counts;
    } finally {
      pool.shutdownNow();
    }
  }

  private static long lines(Path file) {
    try (Stream<String> lines = Files.lines(file)) {
      return lines.count();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static List<Map<String, Object>> largest(List<Count> counts) {
    return counts.stream()
        .sorted((one, other) -> Long.compare(other.lines(), one.lines()))
        .limit(ROWS)
        .map(count -> Map.<String, Object>of("file", count.file(), "lines", count.lines()))
        .toList();
  }
}
