package idiom.retries_exhausted;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Retries;
import dev.flowspan.Run;
import java.io.IOException;
import java.time.Duration;

/** A program of the idiom tier. */
public final class Program {
  private static Void fetch(Run run) throws IOException {
    throw new IOException("attempt " + run.attempt());
  }

  public static void main(String[] arguments) {
    Retries once = Retries.of(1).delay(Duration.ofMillis(50));
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow("etl", run -> run.task("fetch", once, Program::fetch));
    } catch (IOException expected) {
      System.err.println(expected.getMessage());
    }
  }
}
