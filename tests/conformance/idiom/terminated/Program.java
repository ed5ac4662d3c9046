package idiom.terminated;

import static program.Console.line;
import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;

/** A program of the idiom tier. */
public final class Program {
  private static String slow(Run run) {
    print("waiting");
    return line();
  }

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.log().info("> begin");
            return run.task("slow", Program::slow);
          });
    }
  }
}
