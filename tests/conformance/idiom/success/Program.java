package idiom.success;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import dev.flowspan.RunOptions;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** A program of the idiom tier. */
public final class Program {
  private static List<Integer> fetch(Run run, int limit) {
    run.log().info("> fetched {}", limit);
    return List.of(1, 2, 3);
  }

  private static int etl(Run run, int limit) {
    run.log().info("> begin");
    run.log().warn("> careful");
    List<Integer> rows =
        run.task("fetch", RunOptions.create().tags("network", "shop"), task -> fetch(task, limit));
    return rows.stream().mapToInt(Integer::intValue).sum();
  }

  public static void main(String[] arguments) {
    // The parameters are stored in the order of their map, and Map.of has none.
    Map<String, Object> parameters = new TreeMap<>(Map.of("day", "monday", "limit", 3));
    RunOptions options =
        RunOptions.create()
            .parameters(parameters)
            .description("Loads the sales of a day.");
    try (FlowspanClient client = FlowspanClient.connect()) {
      int sum = client.flow("etl", options, run -> etl(run, 3));
      print(sum);
    }
  }
}
