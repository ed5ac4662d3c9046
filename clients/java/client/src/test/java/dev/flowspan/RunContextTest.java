package dev.flowspan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RunContextTest {
  private static final String RUN = "0199c0de-0000-7000-8000-000000000001";
  private static final String ROOT = "0199c0de-0000-7000-8000-0000000000ff";
  private static final String TEXT =
      "r:0199c0de000070008000000000000001;t:0199c0de0000700080000000000000ff";
  private static final String TRACEPARENT =
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

  @Test
  void theTextIsThatOfTheProtocol() {
    RunContext context = RunContext.parse(TEXT);
    assertEquals(RUN, context.runId());
    assertEquals(ROOT, context.rootRunId());
    assertEquals(TEXT, context.text());
    RunContext root = RunContext.parse("r:0199c0de000070008000000000000001;z:new");
    assertEquals(RUN, root.rootRunId());
    assertEquals("r:0199c0de000070008000000000000001", root.text());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "r:",
        "t:0199c0de000070008000000000000001",
        "r:xyz",
        "r:0199C0DE000070008000000000000001",
        "r:0199c0de000040008000000000000001",
        "r:0199c0de000070008000000000000001;t:0199c0de000070000000000000000001"
      })
  void malformedTextIsRefused(String text) {
    assertThrows(IllegalArgumentException.class, () -> RunContext.parse(text));
  }

  @Test
  void tracestateCarriesTheRunBesideOtherMembers() {
    Map<String, String> headers = new HashMap<>();
    headers.put("traceparent", TRACEPARENT);
    headers.put("tracestate", "a=1, flowspan=" + TEXT + " ,b=2");
    RunContext context = RunContext.fromHeaders(headers::get).orElseThrow();
    assertEquals(new RunContext(RUN, ROOT, TRACEPARENT, "a=1,b=2"), context);
    assertEquals("flowspan=" + TEXT + ",a=1,b=2", context.headers().get("tracestate"));
    assertEquals(TEXT, context.environ().get("FLOWSPAN_RUN"));
    headers.put("flowspan-run", "malformed");
    assertEquals(context, RunContext.fromHeaders(headers::get).orElseThrow());
  }

  @Test
  void anInvalidTraceIsDroppedAndTheRunKept() {
    Map<String, String> environ = Map.of("FLOWSPAN_RUN", TEXT, "TRACEPARENT", "00-0-0-0");
    RunContext context = RunContext.fromEnviron(environ).orElseThrow();
    assertEquals("", context.traceparent());
    assertEquals(Map.of("FLOWSPAN_RUN", TEXT), context.environ());
    assertTrue(RunContext.fromEnviron(Map.of("FLOWSPAN_RUN", "bad")).isEmpty());
    assertTrue(RunContext.fromEnviron(Map.of()).isEmpty());
  }

  @Test
  void aTraceWithoutARunIsContinued() {
    RunContext context = RunContext.fromEnviron(Map.of("TRACEPARENT", TRACEPARENT)).orElseThrow();
    assertEquals(new RunContext("", "", TRACEPARENT, ""), context);
    assertEquals(Map.of("traceparent", TRACEPARENT), context.headers());
  }
}
