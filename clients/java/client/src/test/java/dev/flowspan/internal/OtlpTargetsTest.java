package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.OtlpTarget;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The receivers that the service is told, the addresses of traces, and the names of programs. */
class OtlpTargetsTest {
  private static final String ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT=";

  private static Map<String, String> environ(String text) {
    Map<String, String> found = new HashMap<>();
    for (String pair : text.replace("ENDPOINT@", ENDPOINT).split(" ", -1)) {
      int equals = pair.indexOf('=');
      if (equals > 0) {
        found.put(pair.substring(0, equals), pair.substring(equals + 1));
      }
    }
    return found;
  }

  @ParameterizedTest
  @CsvSource({
    "ENDPOINT@http://c:4318, http/protobuf, http://c:4318/v1/traces, ''",
    "ENDPOINT@http://c:4317/, grpc, http://c:4317, ''",
    "ENDPOINT@https://user:secret@c/base/?key=x#y, http/protobuf, https://c/base/v1/traces, ''",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:1/own OTEL_EXPORTER_OTLP_PROTOCOL=http/json,"
        + " http/protobuf, http://c:1/own, ''",
    "ENDPOINT@c:4317, grpc, https://c:4317, ''",
    "ENDPOINT@c:4317 OTEL_EXPORTER_OTLP_INSECURE=true, grpc, http://c:4317, ''",
    "ENDPOINT@http://c:4318 FLOWSPAN_OTLP_ENDPOINT=own:1, grpc, http://own:1, ''",
    "ENDPOINT@http://c:4318 OTEL_LOGS_EXPORTER=otlp, http/protobuf, http://c:4318/v1/traces,"
        + " http://c:4318/v1/logs",
    "ENDPOINT@http://c:4318 OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=otlp, http/protobuf, '',"
        + " http://c:4318/v1/logs",
    "OTEL_TRACES_EXPORTER=otlp, http/protobuf, http://localhost:4318/v1/traces, ''",
  })
  void theReceiverFollowsFromTheEnvironment(
      String text, String protocol, String traces, String logs) {
    OtlpTarget expected =
        OtlpTarget.newBuilder().setProtocol(protocol).setTracesUrl(traces).setLogsUrl(logs).build();
    assertEquals(Optional.of(expected), OtlpTargets.of(environ(text)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "ENDPOINT@http://c:4318 OTEL_TRACES_EXPORTER=console",
        "ENDPOINT@http://c:4318 OTEL_SDK_DISABLED=TRUE",
        "ENDPOINT@http://c:4318 FLOWSPAN_TRACING=false",
        "ENDPOINT@http://c:4318 OTEL_EXPORTER_OTLP_PROTOCOL=carrier-pigeon",
        "ENDPOINT@ftp://c:4318",
        "ENDPOINT@http://",
        "ENDPOINT@http://[c:4318",
        "ENDPOINT@http://c:0",
        "ENDPOINT@http://c:65536",
        "ENDPOINT@http://c:x",
        "ENDPOINT@http://c/\u200b",
      })
  void withoutAReceiverNoneIsTold(String text) {
    assertEquals(Optional.empty(), OtlpTargets.of(environ(text)));
  }

  @Test
  void theServiceExportsLogsUnlessTheEnvironmentSaysNo() {
    assertTrue(OtlpTargets.wantsLogs(Map.of()));
    assertTrue(OtlpTargets.wantsLogs(Map.of("OTEL_LOGS_EXPORTER", "otlp")));
    assertFalse(OtlpTargets.wantsLogs(Map.of("OTEL_LOGS_EXPORTER", "None")));
    assertFalse(OtlpTargets.wantsLogs(Map.of("OTEL_SDK_DISABLED", "true")));
  }

  @Test
  void longAddressesAreLeftOut() {
    String text = ENDPOINT + "http://c/" + "a".repeat(1024);
    assertEquals(Optional.empty(), OtlpTargets.of(environ(text)));
  }

  @ParameterizedTest
  @CsvSource({
    "https://own/#{trace_id}, https://own/#1",
    "'', ",
    "https://own/, ",
    "javascript:{trace_id}, ",
    "http://own/ {trace_id}, ",
  })
  void theAddressOfATraceHasAPlaceForItsId(String page, String expected) {
    assertEquals(Optional.ofNullable(expected), TraceUrls.of(page, "1"));
  }

  @ParameterizedTest
  @CsvSource({
    "com.example.Etl --day monday, com.example.Etl",
    "/jobs/etl.jar monday, etl",
    "etl.jar, etl",
    "'', java",
  })
  void theServiceIsNamedAfterTheProgram(String command, String expected) {
    assertEquals(expected, Session.program(command));
  }
}
