package dev.flowspan;

import java.time.Duration;

/** A program of a test: runs a flow with a task until it is ended by a signal. */
public final class CrashProgram {
  private CrashProgram() {}

  /** Runs the flow at the address of FLOWSPAN_ADDRESS. */
  public static void main(String[] arguments) throws Exception {
    try (FlowspanClient client = FlowspanClient.connect()) {
      client.flow(
          "signalled",
          run ->
              run.task(
                  "waiting",
                  task -> {
                    client.flush(Duration.ofSeconds(20));
                    System.out.println(run.id());
                    Thread.sleep(120_000);
                    return null;
                  }));
    }
  }
}
