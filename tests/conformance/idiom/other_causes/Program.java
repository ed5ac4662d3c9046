package idiom.other_causes;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import java.io.IOException;

/** A program of the idiom tier. */
public final class Program {
  private static Void etl(Run run) {
    IllegalStateException together = new IllegalStateException("two things failed");
    together.addSuppressed(new IllegalArgumentException("first"));
    together.addSuppressed(new IOException("second"));
    throw together;
  }

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow("etl", Program::etl);
    } catch (IllegalStateException expected) {
      System.err.println(expected.getMessage());
    }
  }
}
