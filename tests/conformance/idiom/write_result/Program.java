package idiom.write_result;

import dev.flowspan.FlowspanClient;
import java.util.Arrays;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  private Program() {}

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow("other", run -> Map.of("größe", Arrays.asList(1, 2.5, null, true)));
    }
  }
}
