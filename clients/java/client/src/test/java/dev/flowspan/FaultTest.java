package dev.flowspan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.RunFilter;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.TaskRun;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.testing.exporter.InMemorySpanExporter;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.LinkData;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Kills, restarts and signals with the real service, and its spans. */
@Timeout(180)
class FaultTest {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);
  @TempDir Path folder;

  @Test
  void aKilledServiceLosesNothing() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    try (TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = service.connect()) {
      client.flow(
          "survivor",
          run -> {
            id.set(run.id());
            for (int index = 0; index < 300; index++) {
              run.task("step", task -> null);
              if (index == 100) {
                service.kill();
              } else if (index == 200) {
                service.start();
              }
            }
            return null;
          });
      assertTrue(client.flush(TIMEOUT));
      RunFilter filter = RunFilter.newBuilder().setFlowRunId(id.get()).build();
      assertEquals(Map.of(StateType.STATE_TYPE_COMPLETED, 300L), client.taskRuns().count(filter));
      FlowRun flow = client.flowRuns().get(id.get());
      assertEquals(StateType.STATE_TYPE_COMPLETED, flow.getState().getType());
      assertEquals(3, flow.getTransitionCount());
    }
  }

  @Test
  void aRunContinuesOverARestoredBackup() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    Path backup = Files.createDirectory(folder.resolve("backup"));
    try (TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = service.connect()) {
      client.flow(
          "restored",
          run -> {
            id.set(run.id());
            run.task("kept", task -> null);
            assertTrue(client.flush(TIMEOUT));
            service.kill();
            copyDatabase(service.home(), backup);
            service.start();
            run.task("lost", task -> null);
            assertTrue(client.flush(TIMEOUT));
            service.kill();
            copyDatabase(backup, service.home());
            service.start();
            run.task("later", task -> null);
            return null;
          });
      assertTrue(client.flush(TIMEOUT));
      assertEquals(
          StateType.STATE_TYPE_COMPLETED, client.flowRuns().get(id.get()).getState().getType());
      assertEquals(Set.of("kept", "later"), completedTasks(client));
    }
  }

  @Test
  void anEmptyDatabaseTakesTheRunsThatFollow() throws Exception {
    try (TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = service.connect()) {
      client.flow(
          "forgotten",
          run -> {
            run.task("lost", task -> null);
            assertTrue(client.flush(TIMEOUT));
            service.kill();
            deleteDatabase(service.home());
            service.start();
            return null;
          });
      client.flow("next", run -> run.task("later", task -> null));
      assertTrue(client.flush(TIMEOUT));
      assertEquals(Set.of("later"), completedTasks(client));
    }
  }

  private static Set<String> completedTasks(FlowspanClient client) {
    Set<String> names = new HashSet<>();
    for (TaskRun task : client.taskRuns().list(RunFilter.getDefaultInstance())) {
      assertEquals(StateType.STATE_TYPE_COMPLETED, task.getState().getType());
      names.add(task.getTaskName());
    }
    return names;
  }

  private static List<Path> database(Path home) throws IOException {
    try (Stream<Path> files = Files.list(home)) {
      return files.filter(file -> file.getFileName().toString().startsWith("flowspan.db")).toList();
    }
  }

  private static void deleteDatabase(Path home) throws IOException {
    for (Path file : database(home)) {
      Files.delete(file);
    }
  }

  private static void copyDatabase(Path from, Path to) throws IOException {
    deleteDatabase(to);
    for (Path file : database(from)) {
      Files.copy(file, to.resolve(file.getFileName()));
    }
  }

  @Test
  void aSignalledProcessReportsItsRunsAsCrashed() throws Exception {
    try (TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = service.connect()) {
      ProcessBuilder builder =
          new ProcessBuilder(
              Path.of(System.getProperty("java.home"), "bin", "java").toString(),
              "-cp",
              System.getProperty("java.class.path"),
              CrashProgram.class.getName());
      builder.environment().put("FLOWSPAN_ADDRESS", service.address());
      builder.environment().remove("FLOWSPAN_RUN");
      builder.redirectError(ProcessBuilder.Redirect.INHERIT);
      Process program = builder.start();
      try (BufferedReader output =
          new BufferedReader(
              new InputStreamReader(program.getInputStream(), StandardCharsets.UTF_8))) {
        String id = output.readLine();
        program.destroy(); // SIGTERM
        assertTrue(program.waitFor(60, TimeUnit.SECONDS));
        assertEquals(143, program.exitValue());
        FlowRun flow = client.flowRuns().get(id);
        assertEquals(StateType.STATE_TYPE_CRASHED, flow.getState().getType());
        assertTrue(flow.getState().getMessage().contains("SIGTERM"));
        RunFilter filter = RunFilter.newBuilder().setFlowRunId(id).build();
        for (TaskRun task : client.taskRuns().list(filter)) {
          assertEquals(StateType.STATE_TYPE_CRASHED, task.getState().getType());
        }
      } finally {
        program.destroyForcibly().waitFor();
      }
    }
  }

  @Test
  void anSdkMakesTheSpansOfRuns() throws Exception {
    InMemorySpanExporter exporter = InMemorySpanExporter.create();
    try (SdkTracerProvider provider =
            SdkTracerProvider.builder()
                .addSpanProcessor(SimpleSpanProcessor.create(exporter))
                .build();
        TestService service = new TestService(folder.resolve("home"))) {
      OpenTelemetrySdk sdk = OpenTelemetrySdk.builder().setTracerProvider(provider).build();
      AtomicReference<String> id = new AtomicReference<>();
      try (FlowspanClient client = FlowspanClient.connect(service.options().openTelemetry(sdk))) {
        client.flow(
            "traced",
            run -> {
              id.set(run.id());
              return run.task(
                  "flaky",
                  Retries.of(1),
                  task -> {
                    if (task.attempt() == 1) {
                      throw new IOException("no");
                    }
                    return null;
                  });
            });
        assertTrue(client.flush(TIMEOUT));
        Map<String, SpanData> spans = new HashMap<>();
        // A machine under load may wait visibly.
        List<SpanData> finished =
            exporter.getFinishedSpanItems().stream()
                .filter(span -> !span.getName().equals("waiting"))
                .toList();
        finished.forEach(span -> spans.putIfAbsent(span.getName(), span));
        assertEquals(4, finished.size());
        SpanData flow = spans.get("traced");
        SpanData task = spans.get("flaky");
        SpanData attempt = spans.get("flaky attempt");
        assertEquals(flow.getSpanId(), task.getParentSpanId());
        assertEquals(task.getSpanId(), attempt.getParentSpanId());
        assertEquals(StatusCode.ERROR, attempt.getStatus().getStatusCode());
        assertEquals(StatusCode.UNSET, task.getStatus().getStatusCode());
        assertEquals(id.get(), flow.getAttributes().get(AttributeKey.stringKey("flowspan.run.id")));
        assertEquals(2L, task.getAttributes().get(AttributeKey.longKey("flowspan.attempts")));
        assertTrue(
            client
                .flowRuns()
                .get(id.get())
                .getTrace()
                .getTraceparent()
                .startsWith("00-" + flow.getTraceId() + "-" + flow.getSpanId() + "-0"));
      }
    }
  }

  @Test
  void spansSayWhatTheyBelongToAndHowLongTheyWaited() throws Exception {
    InMemorySpanExporter exporter = InMemorySpanExporter.create();
    AtomicReference<String> inner = new AtomicReference<>();
    AtomicReference<String> outer = new AtomicReference<>();
    Retries once = Retries.of(1).delay(Duration.ofMillis(30));
    List<SpanData> finished;
    try (SdkTracerProvider provider =
            SdkTracerProvider.builder()
                .addSpanProcessor(SimpleSpanProcessor.create(exporter))
                .build();
        TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = connect(service, provider)) {
      client.flow(
          "outer",
          run -> {
            outer.set(run.id());
            return run.flow("inner", below -> patient(below, once, inner));
          });
      finished = exporter.getFinishedSpanItems(); // a provider that is closed forgets them
    }
    Map<String, SpanData> spans = new HashMap<>();
    for (SpanData span : finished) {
      // A machine under load may wait elsewhere as well.
      boolean isOther =
          span.getName().equals("waiting")
              && !"retry"
                  .equals(span.getAttributes().get(AttributeKey.stringKey("flowspan.wait.reason")));
      if (!isOther) {
        spans.put(span.getName(), span);
      }
    }
    for (String name : List.of("outer", "inner", "patient", "innermost")) {
      SpanData span = spans.get(name);
      boolean isOuter = name.equals("outer");
      assertEquals(isOuter ? "outer" : "inner", text(span, "flowspan.flow.name"));
      assertEquals((isOuter ? outer : inner).get(), text(span, "flowspan.flow_run.id"));
      assertEquals(outer.get(), text(span, "flowspan.root_run.id"));
      assertEquals(Thread.currentThread().getName(), text(span, "thread.name"));
      assertEquals(
          Thread.currentThread().getId(),
          span.getAttributes().get(AttributeKey.longKey("thread.id")));
      double length = (span.getEndEpochNanos() - span.getStartEpochNanos()) / 1e9;
      assertEquals(length, seconds(span, "run_s") + seconds(span, "queued_s"), 1e-6);
    }
    SpanData waiting = spans.get("waiting");
    assertEquals(spans.get("patient").getSpanId(), waiting.getParentSpanId());
    assertTrue(waiting.getEndEpochNanos() - waiting.getStartEpochNanos() >= 30_000_000);
    assertTrue(seconds(spans.get("patient"), "queued_s") >= 0.03);
  }

  private static Void patient(Run run, Retries once, AtomicReference<String> id)
      throws IOException {
    id.set(run.id());
    return run.task(
        "patient",
        once,
        task -> {
          if (task.attempt() == 1) {
            throw new IOException("not yet");
          }
          return task.task("innermost", innermost -> null);
        });
  }

  private static FlowspanClient connect(TestService service, SdkTracerProvider provider) {
    OpenTelemetrySdk sdk = OpenTelemetrySdk.builder().setTracerProvider(provider).build();
    return FlowspanClient.connect(service.options().openTelemetry(sdk));
  }

  private static String text(SpanData span, String name) {
    return span.getAttributes().get(AttributeKey.stringKey(name));
  }

  private static double seconds(SpanData span, String name) {
    return span.getAttributes().get(AttributeKey.doubleKey("flowspan." + name));
  }

  @Test
  void manyInputsOfOneParameterAreOneLink() throws Exception {
    InMemorySpanExporter exporter = InMemorySpanExporter.create();
    List<SpanData> finished;
    try (SdkTracerProvider provider =
            SdkTracerProvider.builder()
                .addSpanProcessor(SimpleSpanProcessor.create(exporter))
                .build();
        TestService service = new TestService(folder.resolve("home"));
        FlowspanClient client = connect(service, provider)) {
      client.flow("linked", run -> nested(run, 11, RunOptions.create().input("one", run.id())));
      finished = exporter.getFinishedSpanItems();
    }
    SpanData reduce =
        finished.stream().filter(span -> span.getName().equals("reduce")).findFirst().orElseThrow();
    Map<String, Long> counts = new HashMap<>();
    for (LinkData link : reduce.getLinks()) {
      counts.put(
          link.getAttributes().get(AttributeKey.stringKey("flowspan.input.name")),
          link.getAttributes().get(AttributeKey.longKey("flowspan.input.count")));
    }
    Map<String, Long> expected = new HashMap<>();
    expected.put("one", null);
    expected.put("many", 11L);
    assertEquals(expected, counts);
    assertEquals(2, reduce.getLinks().size());
  }

  /** Calls tasks inside of each other: the spans of open runs are known. */
  private static Void nested(Run run, int left, RunOptions options) {
    if (left == 0) {
      return run.task("reduce", options, task -> null);
    }
    return run.task("load", task -> nested(task, left - 1, options.input("many", task.id())));
  }
}
