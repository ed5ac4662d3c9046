package idiom.oversize;

import dev.flowspan.FlowspanClient;
import dev.flowspan.RunOptions;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  private static final String LONG = "0123456789abcdef".repeat(65536);

  public static void main(String[] arguments) {
    RunOptions options = RunOptions.create().description(LONG).parameters(Map.of("text", LONG));
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          options,
          run -> {
            run.task("step", options, task -> LONG.length());
            throw new IllegalStateException(LONG);
          });
    } catch (IllegalStateException expected) {
      System.err.println(expected.getMessage().length());
    }
  }
}
