package idiom.service_killed;

import static program.Console.line;
import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;

/** A program of the idiom tier. */
public final class Program {
  private static Void first(Run run) {
    print("first");
    return null;
  }

  private static String second(Run run) {
    return line();
  }

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.log().info("> before");
            run.task("first", Program::first);
            run.task("second", Program::second);
            run.log().info("> meanwhile");
            run.task("third", task -> null);
            print("later");
            line();
            run.log().info("> after");
            return null;
          });
    }
  }
}
