package idiom.newer_peers;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.RunFilter;

/** A program of the idiom tier. */
public final class Program {
  public static void main(String[] arguments) throws InterruptedException {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.log().info("> begin");
            return run.task("fetch", task -> null);
          });
      for (FlowRun run : client.flowRuns().list(RunFilter.getDefaultInstance())) {
        print(
            run.getFlowName() + " " + run.getState().getType().name().replace("STATE_TYPE_", ""));
      }
    }
  }
}
