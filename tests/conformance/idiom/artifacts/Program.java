package idiom.artifacts;

import dev.flowspan.FlowspanClient;
import dev.flowspan.RunArtifacts;
import java.util.List;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.artifacts().markdown("report", "# Sales");
            run.artifacts().table("", List.of(Map.of("city", "東京", "sales", 3)));
            run.artifacts().link("", "https://example.org/", "");
            RunArtifacts.Progress progress = run.artifacts().progress("");
            progress.set(100);
            return null;
          });
    }
  }
}
