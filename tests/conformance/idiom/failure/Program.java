package idiom.failure;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import java.io.FileNotFoundException;

/** A program of the idiom tier. */
public final class Program {
  private static Void fetch(Run run) {
    throw new IllegalStateException("cannot load", new FileNotFoundException("no such file"));
  }

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow("etl", run -> run.task("fetch", Program::fetch));
    } catch (IllegalStateException error) {
      print(error.getMessage());
    }
  }
}
