package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.FlowspanException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EndpointTest {
  @TempDir Path home;

  @Test
  void addressesAreParsed() {
    assertEquals(new Endpoint("h.example", 4600, ""), Endpoint.parse("h.example:4600", "x"));
    assertEquals(new Endpoint("::1", 1, ""), Endpoint.parse("[::1]:1", "x"));
    assertEquals(new Endpoint("", 0, "/a/b"), Endpoint.parse("unix:/a/b", "x"));
    assertEquals(new Endpoint("", 0, "/a/b"), Endpoint.parse("unix:///a/b", "x"));
    assertEquals("[::1]:1", Endpoint.parse("[::1]:1", "x").toString());
    assertTrue(Endpoint.parse("[::1]:1", "x").isLocal());
    assertTrue(Endpoint.parse("127.0.0.5:1", "x").isLocal());
    assertFalse(Endpoint.parse("10.0.0.1:1", "x").isLocal());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"", "host", "host:", "host:0", "host:65536", "http://h:1", "unix:a", "::1:5"})
  void invalidAddressesAreRefused(String text) {
    FlowspanException error =
        assertThrows(FlowspanException.class, () -> Endpoint.parse(text, "FLOWSPAN_ADDRESS"));
    assertTrue(error.getMessage().startsWith("FLOWSPAN_ADDRESS=\"" + text + "\": "));
    assertTrue(error.getMessage().contains("expected host:port"));
  }

  @Test
  void thePublishedAddressIsUsedIfItAnswers() throws Exception {
    try (ServerSocket socket = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      String address = "127.0.0.1:" + socket.getLocalPort();
      Files.writeString(
          home.resolve("service.json"),
          "{\"addresses\": [\"unix:" + home + "/gone.sock\", \"" + address + "\"]}");
      Map<String, String> environ = Map.of("FLOWSPAN_HOME", home.toString());
      assertEquals(address, Endpoint.find(environ).toString());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "{", "[]", "{\"addresses\": 1}", "{\"addresses\": [null, {}]}", "{}"})
  void aDamagedFileIsIgnored(String text) throws Exception {
    Files.writeString(home.resolve("service.json"), text);
    assertEquals(
        "127.0.0.1:4600", Endpoint.find(Map.of("FLOWSPAN_HOME", home.toString())).toString());
  }

  @Test
  void theEnvironmentComesFirst() {
    assertEquals(
        "a.example:1", Endpoint.find(Map.of("FLOWSPAN_ADDRESS", " a.example:1 ")).toString());
  }
}
