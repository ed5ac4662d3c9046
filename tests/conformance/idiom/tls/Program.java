package idiom.tls;

import dev.flowspan.ClientOptions;
import dev.flowspan.FlowspanClient;
import dev.flowspan.TlsOptions;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.RunFilter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** A program of the idiom tier. */
public final class Program {
  private Program() {}

  public static void main(String[] arguments) throws InterruptedException {
    try (FlowspanClient client = FlowspanClient.connect(options(System.getenv()))) {
      client.flow(
          "etl",
          run -> {
            run.log().info("> begin");
            return run.task("fetch", task -> null);
          });
      client.flush(Duration.ofSeconds(30));
      for (FlowRun run : client.flowRuns().list(RunFilter.getDefaultInstance())) {
        String state = run.getState().getType().name().replace("STATE_TYPE_", "");
        System.out.println("> " + run.getFlowName() + " " + state);
      }
    }
  }

  /** Returns options with the certificates that the environment names, as for Python. */
  private static ClientOptions options(Map<String, String> environ) {
    if (!environ.containsKey("FLOWSPAN_TLS")) {
      return ClientOptions.create();
    }
    TlsOptions tls = TlsOptions.trusting(Path.of(environ.get("FLOWSPAN_TLS_CA")));
    if (environ.containsKey("FLOWSPAN_TLS_CLIENT_CERT")) {
      tls =
          tls.identity(
              Path.of(environ.get("FLOWSPAN_TLS_CLIENT_CERT")),
              Path.of(environ.get("FLOWSPAN_TLS_CLIENT_KEY")));
    }
    return ClientOptions.create().tls(tls);
  }
}
