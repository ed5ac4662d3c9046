package idiom.cancel_twice;

import static program.Console.line;
import static program.Console.print;

import dev.flowspan.FlowspanClient;

/** A program of the idiom tier. */
public final class Program {
  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      try {
        client.flow(
            "etl",
            run -> {
              print("waiting");
              Thread.sleep(3_600_000);
              return null;
            });
      } catch (InterruptedException cancelled) {
        print("cancelled");
      }
      line();
      client.flow("other", run -> null);
    }
  }
}
