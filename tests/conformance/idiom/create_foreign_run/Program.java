package idiom.create_foreign_run;

import dev.flowspan.FlowspanClient;
import dev.flowspan.FlowspanException;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateType;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

/** A program of the idiom tier. */
public final class Program {
  private Program() {}

  public static void main(String[] arguments) throws IOException {
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    String id = input.readLine();
    State scheduled = State.newBuilder().setType(StateType.STATE_TYPE_SCHEDULED).build();
    try (FlowspanClient client = FlowspanClient.connect()) {
      try {
        client
            .flowRuns()
            .create(
                FlowRun.newBuilder().setId(id).setFlowName("planned").setState(scheduled).build());
      } catch (FlowspanException error) {
        System.out.println("> " + error.reason());
      }
      FlowRun run = client.flowRuns().get(id);
      String state = run.getState().getType().name().replace("STATE_TYPE_", "");
      System.out.println("> " + run.getFlowName() + " " + state);
    }
  }
}
