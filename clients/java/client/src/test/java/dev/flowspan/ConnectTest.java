package dev.flowspan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class ConnectTest {
  @Test
  void withoutAServiceTheErrorSaysHowToStartOne() throws Exception {
    int port;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = socket.getLocalPort();
    }
    ClientOptions options =
        ClientOptions.create()
            .address("127.0.0.1:" + port)
            .connectTimeout(Duration.ofSeconds(2))
            .callAttempts(2);
    FlowspanException error =
        assertThrows(FlowspanException.class, () -> FlowspanClient.connect(options));
    assertTrue(error.retryable());
    assertTrue(error.getMessage().contains("No service answers at 127.0.0.1:" + port));
    assertTrue(error.getMessage().contains("flowspan server start"));
  }

  @Test
  void anInvalidAddressIsNamed() {
    FlowspanException error =
        assertThrows(
            FlowspanException.class,
            () -> FlowspanClient.connect(ClientOptions.create().address("http://x:1")));
    assertEquals(
        "address=\"http://x:1\": it is a gRPC address and not a URL; expected host:port, as in"
            + " 127.0.0.1:4600, or unix:/path/to/socket.",
        error.getMessage());
  }
}
