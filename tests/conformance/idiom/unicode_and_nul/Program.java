package idiom.unicode_and_nul;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import dev.flowspan.RunOptions;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  private static Void size(Run run) {
    run.log().info("> a\0b Ελλάδα עברית 😀");
    throw new IllegalStateException("no\0thing 😀");
  }

  public static void main(String[] arguments) {
    RunOptions options =
        RunOptions.create()
            .tags("мир", "👩‍👩‍👧‍👦")
            .parameters(Map.of("straße", "naïve \u202e 東京"));
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow("größe 東京", options, Program::size);
    } catch (IllegalStateException expected) {
      System.err.println(expected.getMessage());
    }
  }
}
