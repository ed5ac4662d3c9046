package idiom.trace_context;

import static program.Console.print;

import dev.flowspan.FlowspanClient;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.RunFilter;

/** A program of the idiom tier. */
public final class Program {
  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow("etl", run -> null);
      for (FlowRun run : client.flowRuns().list(RunFilter.getDefaultInstance())) {
        String traceId = run.getTrace().getTraceparent().split("-")[1];
        print(traceId + " " + run.getTrace().getParentSpanId());
      }
    }
  }
}
