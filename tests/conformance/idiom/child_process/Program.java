package idiom.child_process;

import static program.Console.command;
import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.RunFilter;
import java.util.HashSet;
import java.util.Set;

/** A program of the idiom tier. */
public final class Program {
  private static int parent(Run run) throws Exception {
    ProcessBuilder child = command(Program.class, "child");
    child.environment().putAll(run.environ());
    return child.start().waitFor();
  }

  public static void main(String[] arguments) throws Exception {
    try (FlowspanClient client = FlowspanClient.connect()) {
      if (arguments.length > 0) {
        client.flow("child", run -> run.task("step", task -> null));
        return;
      }
      client.flow("parent", run -> parent(run));
      Set<String> traces = new HashSet<>();
      for (FlowRun run : client.flowRuns().list(RunFilter.getDefaultInstance())) {
        traces.add(run.getTrace().getTraceparent().split("-")[1]);
      }
      print(traces.size() == 1 ? "one trace" : traces);
    }
  }
}
