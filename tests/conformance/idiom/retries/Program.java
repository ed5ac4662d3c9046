package idiom.retries;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Retries;
import dev.flowspan.Run;
import java.io.IOException;
import java.time.Duration;

/** A program of the idiom tier. */
public final class Program {
  private static int fetch(Run run) throws IOException {
    run.log().info("> attempt {}", run.attempt());
    if (run.attempt() < 3) {
      throw new IOException("not yet");
    }
    return run.attempt();
  }

  public static void main(String[] arguments) throws IOException {
    Retries twice = Retries.of(2).delay(Duration.ofMillis(50));
    try (FlowspanClient client = FlowspanClient.connect()) {
      int attempt = client.flow("etl", run -> run.task("fetch", twice, Program::fetch));
      print("done after " + attempt);
    }
  }
}
