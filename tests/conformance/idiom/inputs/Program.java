package idiom.inputs;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import dev.flowspan.RunOptions;
import java.util.List;

/** A program of the idiom tier. */
public final class Program {
  /** Rows, with the run that loaded them. */
  private record Rows(String runId, List<Integer> values) {}

  private static int etl(Run run) {
    Rows rows = run.task("load", task -> new Rows(task.id(), List.of(1, 2, 3)));
    return run.task(
        "clean",
        RunOptions.create().input("rows", rows.runId()),
        task -> rows.values().size());
  }

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      int count = client.flow("etl", Program::etl);
      print(count);
    }
  }
}
