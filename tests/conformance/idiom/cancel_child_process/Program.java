package idiom.cancel_child_process;

import static program.Console.command;
import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import java.io.IOException;

/** A program of the idiom tier. */
public final class Program {
  private static Void child(Run run) throws InterruptedException {
    print("waiting");
    Thread.sleep(3_600_000);
    return null;
  }

  private static Void parent(Run run) throws IOException, InterruptedException {
    ProcessBuilder builder = command(Program.class, "child");
    builder.environment().putAll(run.environ());
    Process process = builder.start();
    try {
      process.waitFor();
    } finally {
      process.waitFor();
    }
    return null;
  }

  public static void main(String[] arguments) throws Exception {
    String which = arguments.length > 0 ? "child" : "parent";
    try (FlowspanClient client = FlowspanClient.connect()) {
      if (which.equals("child")) {
        client.flow("child", Program::child);
      } else {
        client.flow("parent", Program::parent);
      }
    } catch (InterruptedException cancelled) {
      print(which + " cancelled");
    }
  }
}
