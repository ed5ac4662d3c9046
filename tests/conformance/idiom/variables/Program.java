package idiom.variables;

import static program.Console.line;
import static program.Console.print;

import dev.flowspan.FlowspanClient;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  private record City(String name) {}

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      line();
      print(client.variables().get("city", City.class).orElseThrow().name());
      client.variables().set("city", Map.of("name", "Paris"));
      print(client.variables().get("city", City.class).orElseThrow().name());
      client.variables().delete("city");
      print(client.variables().get("city", City.class).isPresent() ? "still there" : "none");
    }
  }
}
