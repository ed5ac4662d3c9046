package idiom.long_log;

import dev.flowspan.FlowspanClient;

/** A program of the idiom tier. */
public final class Program {
  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "etl",
          run -> {
            run.log().info("> before");
            run.log().info("> {}", "0123456789abcdef".repeat(65536));
            run.log().info("> after");
            return null;
          });
    }
  }
}
