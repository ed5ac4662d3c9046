package idiom.token_revoked;

import dev.flowspan.FlowspanClient;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** A program of the idiom tier. */
public final class Program {
  private Program() {}

  public static void main(String[] arguments) throws Exception {
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            for (String name : List.of("first", "second")) {
              run.task(name, task -> null);
              System.out.println("> " + name);
              input.readLine();
            }
            return run.task("third", task -> null);
          });
    }
  }
}
