package idiom.tls_untrusted;

import dev.flowspan.ClientOptions;
import dev.flowspan.FlowspanClient;
import dev.flowspan.FlowspanException;
import dev.flowspan.TlsOptions;
import java.nio.file.Path;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  private Program() {}

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect(options(System.getenv()))) {
      System.out.println("> connected to " + client.address());
    } catch (FlowspanException error) {
      String advice = error.advice().isEmpty() ? "no advice" : "advice";
      System.out.println("> " + error.code() + " " + advice);
      System.out.println(error.getMessage() + " " + error.advice());
    }
  }

  private static ClientOptions options(Map<String, String> environ) {
    ClientOptions options = ClientOptions.create();
    if (environ.containsKey("FLOWSPAN_TLS_CA")) {
      return options.tls(TlsOptions.trusting(Path.of(environ.get("FLOWSPAN_TLS_CA"))));
    }
    return environ.containsKey("FLOWSPAN_TLS") ? options.tls(TlsOptions.system()) : options;
  }
}
