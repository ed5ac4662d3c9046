package idiom.token_without_scope;

import dev.flowspan.FlowspanClient;
import dev.flowspan.FlowspanException;

/** A program of the idiom tier. */
public final class Program {
  private Program() {}

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      try {
        client.variables().set("city", "Paris");
      } catch (FlowspanException error) {
        String advice = error.advice().isEmpty() ? "no advice" : "advice";
        System.out.println("> " + error.code() + " " + error.reason() + " " + advice);
      }
      boolean some = client.variables().list("").iterator().hasNext();
      System.out.println("> " + (some ? "some" : "none"));
    }
  }
}
