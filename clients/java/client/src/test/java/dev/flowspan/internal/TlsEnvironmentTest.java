package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.FlowspanException;
import dev.flowspan.TlsOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TlsEnvironmentTest {
  @TempDir Path folder;

  private String file(String name) throws Exception {
    return Files.writeString(folder.resolve(name), "").toString();
  }

  @Test
  void tlsIsOffUnlessItIsAskedFor() throws Exception {
    assertNull(TlsEnvironment.read(Map.of()));
    assertNull(TlsEnvironment.read(Map.of("FLOWSPAN_TLS", "auto")));
    assertNull(TlsEnvironment.read(Map.of("FLOWSPAN_TLS", "Off", "FLOWSPAN_TLS_CA", file("ca"))));
  }

  @Test
  void anySettingTurnsItOn() throws Exception {
    assertEquals(TlsOptions.system(), TlsEnvironment.read(Map.of("FLOWSPAN_TLS", " True ")));
    assertEquals(
        TlsOptions.system().serverName("flows"),
        TlsEnvironment.read(Map.of("FLOWSPAN_TLS_SERVER_NAME", "flows")));
    String ca = file("ca");
    String both = file("both");
    assertEquals(
        TlsOptions.trusting(Path.of(ca)).identity(Path.of(both), Path.of(both)),
        TlsEnvironment.read(Map.of("FLOWSPAN_TLS_CA", ca, "FLOWSPAN_TLS_CLIENT_CERT", both)));
    String key = file("key");
    assertEquals(
        TlsOptions.system().identity(Path.of(both), Path.of(key)),
        TlsEnvironment.read(
            Map.of("FLOWSPAN_TLS_CLIENT_CERT", both, "FLOWSPAN_TLS_CLIENT_KEY", key)));
  }

  @Test
  void mistakesAreNamed() {
    for (String name : List.of("FLOWSPAN_TLS", "FLOWSPAN_TLS_CA", "FLOWSPAN_TLS_CLIENT_CERT")) {
      Map<String, String> environ = Map.of(name, "/no/such/file");
      FlowspanException error =
          assertThrows(FlowspanException.class, () -> TlsEnvironment.read(environ));
      assertTrue(error.getMessage().contains(name), error.getMessage());
      assertTrue(error.getMessage().contains("/no/such/file"), error.getMessage());
    }
  }
}
