package idiom.cancel_task;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;

/** A program of the idiom tier. */
public final class Program {
  private static Void slow(Run run) throws InterruptedException {
    print("waiting");
    Thread.sleep(3_600_000);
    return null;
  }

  private static Void after(Run run) {
    print("after");
    return null;
  }

  public static void main(String[] arguments) throws InterruptedException {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            try {
              run.task("slow", Program::slow);
            } catch (InterruptedException cancelled) {
              print("cancelled");
            }
            return run.task("after", Program::after);
          });
    }
  }
}
