package idiom.create_run;

import static program.Console.print;

import com.google.protobuf.ByteString;
import dev.flowspan.FlowspanClient;
import dev.flowspan.FlowspanException;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateType;

/** A program of the idiom tier. */
public final class Program {
  private static final FlowRun PLANNED =
      FlowRun.newBuilder()
          .setFlowName("planned")
          .setName("monday's")
          .addTags("later")
          .setState(State.newBuilder().setType(StateType.STATE_TYPE_SCHEDULED))
          .setParameters(
              Payload.newBuilder()
                  .setEncoding("json")
                  .setData(ByteString.copyFromUtf8("{\"day\": \"monday\"}")))
          .build();

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      FlowRun run = client.flowRuns().create(PLANNED);
      print("created");
      FlowRun again = client.flowRuns().create(PLANNED.toBuilder().setId(run.getId()).build());
      print(again.getId().equals(run.getId()) ? "the same" : again);
      try {
        client
            .flowRuns()
            .create(PLANNED.toBuilder().setId(run.getId()).setFlowName("other").build());
      } catch (FlowspanException refused) {
        print(refused.reason());
      }
      client.flowRuns().cancel(run.getId(), "");
      StateType type = client.flowRuns().get(run.getId()).getState().getType();
      print(type.name().replace("STATE_TYPE_", ""));
    }
  }
}
