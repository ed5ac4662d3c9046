package idiom.oversize_calls;

import com.google.protobuf.ByteString;
import dev.flowspan.FlowspanClient;
import dev.flowspan.FlowspanException;
import dev.flowspan.v1.Artifact;
import dev.flowspan.v1.Payload;

/** A program of the idiom tier. */
public final class Program {
  private static final int MIB = 1 << 20;

  private Program() {}

  public static void main(String[] arguments) {
    try (FlowspanClient client = FlowspanClient.connect()) {
      for (int size : new int[] {MIB, 9 * MIB}) {
        try {
          client.artifacts().create(sales("x".repeat(size)));
        } catch (FlowspanException error) {
          if (error.retryable()) {
            throw error;
          }
          System.out.println(("> " + error.code() + " " + error.reason()).strip());
        }
      }
      System.out.println("> " + client.artifacts().create(sales("fits")).getDescription());
    }
  }

  private static Artifact sales(String description) {
    Payload data =
        Payload.newBuilder()
            .setEncoding("json")
            .setData(ByteString.copyFromUtf8("\"# Sales\""))
            .build();
    return Artifact.newBuilder()
        .setType("markdown")
        .setDescription(description)
        .setData(data)
        .build();
  }
}
