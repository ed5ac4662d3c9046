package idiom.spans;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Retries;
import dev.flowspan.Run;
import java.io.IOException;
import java.time.Duration;

/** A program of the idiom tier. */
public final class Program {
  private static Void fetch(Run run) throws IOException {
    if (run.attempt() == 1) {
      throw new IOException("not yet");
    }
    return null;
  }

  private static Void hopeless(Run run) {
    throw new IllegalStateException("no");
  }

  public static void main(String[] arguments) throws IOException {
    Retries once = Retries.of(1).delay(Duration.ofMillis(50));
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.task("fetch", once, Program::fetch);
            return run.task("hopeless", Program::hopeless);
          });
    } catch (IllegalStateException expected) {
      System.err.println(expected.getMessage());
    }
  }
}
