package idiom.lease_lost;

import static program.Console.line;
import static program.Console.print;

import dev.flowspan.FlowspanClient;

/** A program of the idiom tier. */
public final class Program {
  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            print("waiting");
            line();
            run.log().info("> alive");
            return null;
          });
    }
  }
}
