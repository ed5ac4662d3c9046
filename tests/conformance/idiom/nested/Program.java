package idiom.nested;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;

/** A program of the idiom tier. */
public final class Program {
  private static Void innermost(Run run) {
    run.log().info("> at the bottom");
    return null;
  }

  private static Void step(Run run) {
    run.log().info("> in the step");
    return run.flow("innermost", Program::innermost);
  }

  private static Void inner(Run run) {
    return run.task("step", Program::step);
  }

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "outer",
          run -> {
            run.flow("inner", Program::inner);
            return run.task("after", task -> null);
          });
    }
  }
}
