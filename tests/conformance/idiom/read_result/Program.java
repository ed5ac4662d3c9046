package idiom.read_result;

import static program.Console.line;
import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.v1.FlowRun;
import java.util.List;

/** A program of the idiom tier. */
public final class Program {
  private record Result(List<Object> größe) {}

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      FlowRun run = client.flowRuns().get(line());
      Result result = client.decode(run.getState().getResult(), Result.class);
      print("{\"größe\": " + result.größe() + "}");
    }
  }
}
