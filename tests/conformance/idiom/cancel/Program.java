package idiom.cancel;

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

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.task("slow", Program::slow);
            return run.task("after", task -> null);
          });
    } catch (InterruptedException cancelled) {
      print("cancelled");
    }
  }
}
