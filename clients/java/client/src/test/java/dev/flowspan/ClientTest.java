package dev.flowspan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.ArtifactFilter;
import dev.flowspan.v1.FlowRun;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.RunFilter;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.TaskRun;
import dev.flowspan.v1.Transition;
import dev.flowspan.v1.WatchRequest;
import dev.flowspan.v1.WatchResponse;
import io.grpc.Status;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

/** The whole client against the real service. */
@Timeout(120)
class ClientTest {
  @TempDir static Path folder;
  private static TestService service;
  private FlowspanClient client;

  @BeforeAll
  static void startService() throws Exception {
    service = new TestService(folder.resolve("home"));
  }

  @AfterAll
  static void stopService() {
    service.close();
  }

  @BeforeEach
  void connect() {
    client = service.connect();
  }

  @AfterEach
  void disconnect() {
    client.close();
  }

  private void flush() throws InterruptedException {
    assertTrue(client.flush(Duration.ofSeconds(20)));
  }

  private List<String> history(Iterable<Transition> transitions) {
    List<String> lines = new ArrayList<>();
    for (Transition transition : transitions) {
      State state = transition.getState();
      lines.add(
          transition.getAttempt()
              + " "
              + state.getType().name().replace("STATE_TYPE_", "")
              + " "
              + state.getName());
    }
    return lines;
  }

  private List<TaskRun> tasksOf(String flowRunId) {
    RunFilter filter = RunFilter.newBuilder().setFlowRunId(flowRunId).build();
    return StreamSupport.stream(client.taskRuns().list(filter).spliterator(), false).toList();
  }

  private List<LogRecord> logsOf(String runId) {
    return StreamSupport.stream(client.logs().list(runId).spliterator(), false).toList();
  }

  @Test
  void aFlowWithATaskIsStoredWithItsResult() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    Map<String, Object> parameters = new HashMap<>();
    parameters.put("url", "größe");
    parameters.put("limit", null);
    int result =
        client.flow(
            "etl",
            RunOptions.create().parameters(parameters).tags("nightly", "java").name("first"),
            run -> {
              id.set(run.id());
              assertEquals(run, Run.current().orElseThrow());
              assertEquals(run.id(), MDC.get("flowspan.run_id"));
              assertEquals(run.id(), MDC.get("flowspan.run.id"));
              assertEquals("first", MDC.get("flowspan.run.name"));
              assertEquals("etl", MDC.get("flowspan.flow.name"));
              assertEquals(run.id(), MDC.get("flowspan.flow_run.id"));
              assertEquals(run.id(), MDC.get("flowspan.root_run.id"));
              return run.<Integer, RuntimeException>task("fetch", task -> 20) + 1;
            });
    assertEquals(21, result);
    assertTrue(Run.current().isEmpty());
    flush();

    FlowRun flow = client.flowRuns().get(id.get());
    assertEquals("etl", flow.getFlowName());
    assertEquals("first", flow.getName());
    assertEquals(List.of("nightly", "java"), flow.getTagsList());
    assertEquals("21", flow.getState().getResult().getData().toStringUtf8());
    assertEquals(
        Map.of("url", "größe"), withoutNulls(flow.getParameters().getData().toStringUtf8()));
    assertEquals(
        List.of("1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"),
        history(client.flowRuns().transitions(id.get())));
    TaskRun task = tasksOf(id.get()).get(0);
    assertEquals("fetch-0", task.getName());
    assertEquals(id.get(), task.getParentRunId());
    assertEquals(id.get(), task.getRootRunId());
    assertEquals("20", task.getState().getResult().getData().toStringUtf8());
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> withoutNulls(String json) {
    Map<String, Object> map = ClientOptions.create().json().decode(json, Map.class);
    assertTrue(map.containsKey("limit"));
    map.values().removeIf(value -> value == null);
    return map;
  }

  @Test
  void readsSeeWhatTheProcessHasReported() {
    AtomicReference<String> id = new AtomicReference<>();
    client.flow(
        "own",
        run -> {
          id.set(run.id());
          run.log().info("seen");
          assertEquals(
              StateType.STATE_TYPE_RUNNING, client.flowRuns().get(run.id()).getState().getType());
          return List.of(1, 2);
        });
    State state = client.flowRuns().get(id.get()).getState();
    assertEquals(List.of(1L, 2L), client.decode(state.getResult(), Object.class));
    assertEquals("seen", logsOf(id.get()).get(0).getMessage());
  }

  @Test
  void onlyJsonIsDecoded() {
    assertNull(client.decode(Payload.getDefaultInstance(), Object.class));
    Payload pickled = Payload.newBuilder().setEncoding("pickle").build();
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> client.decode(pickled, Object.class));
    assertTrue(error.getMessage().contains("pickle"));
  }

  @Test
  void aLongDescriptionIsShortened() {
    AtomicReference<String> id = new AtomicReference<>();
    client.flow(
        "described",
        RunOptions.create().description("begin" + "ü".repeat(10_000) + "end"),
        run -> {
          id.set(run.id());
          return null;
        });
    String description = client.flowRuns().get(id.get()).getDescription();
    assertTrue(description.startsWith("beginü") && description.endsWith("üend"));
  }

  @Test
  void aRetriedTaskHasTheHistoryOfTheDocs() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    AtomicInteger calls = new AtomicInteger();
    client.flow(
        "retrying",
        run ->
            run.task(
                "flaky",
                Retries.of(2).delay(Duration.ofMillis(20)),
                task -> {
                  id.set(task.id());
                  if (calls.incrementAndGet() == 1) {
                    throw new IOException("no");
                  }
                  return task.attempt();
                }));
    flush();
    assertEquals(
        List.of(
            "1 PENDING Pending",
            "1 RUNNING Running",
            "1 SCHEDULED AwaitingRetry",
            "2 RUNNING Retrying",
            "2 COMPLETED Completed"),
        history(client.taskRuns().transitions(id.get())));
  }

  @Test
  void aFailureHasItsCausesAndEndsTheFlow() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    IOException cause = new IOException("disk\0full");
    IllegalStateException error = new IllegalStateException("bad", cause);
    error.addSuppressed(new IllegalArgumentException("beside"));
    IllegalStateException thrown =
        assertThrows(
            IllegalStateException.class,
            () ->
                client.flow(
                    "failing",
                    run -> {
                      id.set(run.id());
                      return run.task(
                          "broken",
                          task -> {
                            throw error;
                          });
                    }));
    assertEquals(error, thrown);
    flush();
    State state = client.flowRuns().get(id.get()).getState();
    assertEquals(StateType.STATE_TYPE_FAILED, state.getType());
    assertEquals("java.lang.IllegalStateException", state.getFailure().getType());
    assertEquals("bad", state.getFailure().getMessage());
    assertTrue(state.getFailure().getStackTrace().contains("ClientTest"));
    assertEquals("java.io.IOException", state.getFailure().getCause().getType());
    assertEquals("disk␀full", state.getFailure().getCause().getMessage());
    assertEquals("beside", state.getFailure().getOtherCauses(0).getMessage());
    assertEquals(StateType.STATE_TYPE_FAILED, tasksOf(id.get()).get(0).getState().getType());
  }

  @Test
  void tasksRunInParallelOnAWrappedExecutor() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try {
      client.flow(
          "parallel",
          run -> {
            id.set(run.id());
            ExecutorService wrapped = run.wrap(pool);
            CountDownLatch together = new CountDownLatch(4);
            List<Callable<String>> works = new ArrayList<>();
            for (int index = 0; index < 4; index++) {
              works.add(
                  () -> {
                    assertEquals(run.id(), Run.current().orElseThrow().id());
                    return run.task(
                        "part",
                        task -> {
                          together.countDown();
                          assertTrue(together.await(20, TimeUnit.SECONDS));
                          return task.<String, RuntimeException>task("inner", Run::id);
                        });
                  });
            }
            for (Future<String> future : wrapped.invokeAll(works)) {
              assertFalse(future.get().isEmpty());
            }
            return null;
          });
    } finally {
      pool.shutdown();
    }
    flush();
    List<TaskRun> tasks = tasksOf(id.get());
    assertEquals(8, tasks.size());
    for (TaskRun task : tasks) {
      assertEquals(StateType.STATE_TYPE_COMPLETED, task.getState().getType());
      assertEquals(id.get(), task.getRootRunId());
    }
  }

  @Test
  void aCancelledFlowIsInterruptedAndMayCleanUp() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    CountDownLatch asleep = new CountDownLatch(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      Future<Object> flow =
          thread.submit(
              () ->
                  client.flow(
                      "sleepy",
                      run -> {
                        id.set(run.id());
                        try {
                          return run.task(
                              "nap",
                              task -> {
                                client.flush(Duration.ofSeconds(20));
                                asleep.countDown();
                                Thread.sleep(60_000);
                                return null;
                              });
                        } finally {
                          run.task("clean-up", task -> "done");
                        }
                      }));
      assertTrue(asleep.await(20, TimeUnit.SECONDS));
      client.flowRuns().cancel(id.get(), "enough");
      ExecutionException error =
          assertThrows(ExecutionException.class, () -> flow.get(20, TimeUnit.SECONDS));
      assertEquals(InterruptedException.class, error.getCause().getClass());
      assertFalse(thread.submit(() -> Thread.currentThread().isInterrupted()).get());
    } finally {
      thread.shutdownNow();
    }
    flush();
    State state = client.flowRuns().get(id.get()).getState();
    assertEquals(StateType.STATE_TYPE_CANCELLED, state.getType());
    assertEquals("enough", state.getMessage());
    Map<String, StateType> tasks = new HashMap<>();
    tasksOf(id.get()).forEach(task -> tasks.put(task.getTaskName(), task.getState().getType()));
    assertEquals(
        Map.of("nap", StateType.STATE_TYPE_CANCELLED, "clean-up", StateType.STATE_TYPE_COMPLETED),
        tasks);
  }

  @Test
  void aBusyFlowIsCancelledAtItsNextTask() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    CountDownLatch started = new CountDownLatch(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      Future<Object> flow =
          thread.submit(
              () ->
                  client.flow(
                      "busy",
                      run -> {
                        id.set(run.id());
                        while (true) {
                          run.task("step", task -> null);
                          started.countDown();
                        }
                      }));
      assertTrue(started.await(20, TimeUnit.SECONDS));
      flush();
      client.flowRuns().cancel(id.get(), "");
      ExecutionException error =
          assertThrows(ExecutionException.class, () -> flow.get(20, TimeUnit.SECONDS));
      assertEquals(CancelledRunException.class, error.getCause().getClass());
    } finally {
      thread.shutdownNow();
    }
    flush();
    assertEquals(
        StateType.STATE_TYPE_CANCELLED, client.flowRuns().get(id.get()).getState().getType());
  }

  @Test
  void aCancelDuringTheRetryDelayEndsTheRun() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    CountDownLatch failed = new CountDownLatch(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      Future<Object> flow =
          thread.submit(
              () ->
                  client.flow(
                      "waiting",
                      RunOptions.create().retries(Retries.of(1).delay(Duration.ofMinutes(5))),
                      run -> {
                        id.set(run.id());
                        failed.countDown();
                        throw new IllegalStateException("first");
                      }));
      assertTrue(failed.await(20, TimeUnit.SECONDS));
      awaitState(id.get(), StateType.STATE_TYPE_SCHEDULED);
      client.flowRuns().cancel(id.get(), "stop");
      ExecutionException error =
          assertThrows(ExecutionException.class, () -> flow.get(20, TimeUnit.SECONDS));
      assertEquals(CancelledRunException.class, error.getCause().getClass());
      assertEquals("first", error.getCause().getSuppressed()[0].getMessage());
    } finally {
      thread.shutdownNow();
    }
    flush();
    assertEquals(
        StateType.STATE_TYPE_CANCELLED, client.flowRuns().get(id.get()).getState().getType());
  }

  private void awaitState(String id, StateType type) throws InterruptedException {
    flush();
    for (int poll = 0; poll < 500; poll++) {
      if (client.flowRuns().get(id).getState().getType() == type) {
        return;
      }
      Thread.sleep(20);
    }
    assertEquals(type, client.flowRuns().get(id).getState().getType());
  }

  @Test
  void logsOfARunAreStoredWhole() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    String text = "ü€😀".repeat(100_000);
    Logger library = LoggerFactory.getLogger("com.acme.library");
    client.flow(
        "logging",
        run -> {
          id.set(run.id());
          run.log().info("{} rows from {}", 3, "a\0b");
          run.log().debug("hidden");
          run.log().error("broken", new IOException("no"));
          run.log().warn(text);
          library.warn("from a library");
          return run.task(
              "inner",
              task -> {
                task.log().info("below");
                return null;
              });
        });
    library.warn("outside");
    flush();
    List<LogRecord> logs = logsOf(id.get());
    List<String> messages = logs.stream().map(LogRecord::getMessage).toList();
    assertEquals("3 rows from a␀b", messages.get(0));
    assertTrue(messages.get(1).startsWith("broken\njava.io.IOException: no\n\tat "));
    assertEquals(text, messages.get(2));
    assertEquals(List.of("from a library", "below"), messages.subList(3, messages.size()));
    assertEquals(40, logs.get(1).getLevelValue());
    assertEquals("com.acme.library", logs.get(3).getLogger());
    assertEquals(id.get().replace("-", ""), logs.get(0).getTraceId());
    assertEquals(id.get().replace("-", "").substring(16), logs.get(0).getSpanId());
    assertEquals(1, logs.get(0).getAttempt());
    List<String> followed = new ArrayList<>();
    try (Stream<LogRecord> tail = client.logs().tail(id.get())) {
      tail.forEach(record -> followed.add(record.getMessage()));
    }
    assertEquals(messages, followed);
  }

  @Test
  void artifactsAreStored() throws Exception {
    AtomicReference<String> id = new AtomicReference<>();
    client.flow(
        "showing",
        run -> {
          id.set(run.id());
          run.artifacts().markdown("report", "# Title");
          run.artifacts().table("rows", List.of(Map.of("a", 1), Map.of("a", 2)));
          run.artifacts().link("page", "https://example.com/x", "a [page]");
          RunArtifacts.Progress progress = run.artifacts().progress("");
          progress.set(120);
          assertThrows(IllegalArgumentException.class, () -> progress.set(Double.NaN));
          assertThrows(
              IllegalArgumentException.class, () -> run.artifacts().markdown("No Key", ""));
          return null;
        });
    flush();
    Map<String, String> data = new HashMap<>();
    client
        .artifacts()
        .list(ArtifactFilter.newBuilder().setRunId(id.get()).build())
        .forEach(
            artifact -> data.put(artifact.getType(), artifact.getData().getData().toStringUtf8()));
    assertEquals(
        Map.of(
            "markdown", "\"# Title\"",
            "table", "[{\"a\":1},{\"a\":2}]",
            "link", "\"[a \\\\[page\\\\]](https://example.com/x)\"",
            "progress", "100.0"),
        data);
    assertEquals("report", client.artifacts().latest("report").getKey());
  }

  @Test
  void variablesAreSetReadAndDeleted() {
    client.variables().set("java-limit", Map.of("rows", 3));
    assertEquals(Map.of("rows", 3L), client.variables().get("java-limit", Object.class).get());
    FlowspanException taken =
        assertThrows(
            FlowspanException.class,
            () -> client.variables().set("java-limit", 1, List.of(), false));
    assertEquals("ALREADY_EXISTS", taken.reason());
    assertEquals("java-limit", client.variables().list("java-").iterator().next().getName());
    assertTrue(client.variables().delete("java-limit"));
    assertFalse(client.variables().delete("java-limit"));
    assertTrue(client.variables().get("java-limit", Object.class).isEmpty());
  }

  @Test
  void runsAreListedCountedWatchedAndDeleted() throws Exception {
    for (int index = 0; index < 5; index++) {
      client.flow("listed", run -> null);
    }
    flush();
    RunFilter filter = RunFilter.newBuilder().addFunctionNames("listed").build();
    List<FlowRun> runs =
        StreamSupport.stream(client.flowRuns().list(filter).spliterator(), false).toList();
    assertEquals(5, runs.size());
    assertTrue(runs.get(0).getId().compareTo(runs.get(4).getId()) > 0);
    assertEquals(Map.of(StateType.STATE_TYPE_COMPLETED, 5L), client.flowRuns().count(filter));

    FlowRun created =
        client
            .flowRuns()
            .create(
                FlowRun.newBuilder()
                    .setFlowName("listed")
                    .setState(State.newBuilder().setType(StateType.STATE_TYPE_SCHEDULED))
                    .build());
    List<String> seen = new ArrayList<>();
    try (Stream<WatchResponse> watch =
        client.watch(WatchRequest.newBuilder().setRunId(created.getId()).build())) {
      for (WatchResponse frame : watch) {
        seen.add(frame.getItemCase().name());
        if (frame.hasSnapshotEnd()) {
          client.flowRuns().cancel(created.getId(), "");
        }
      }
    }
    assertEquals(List.of("FLOW_RUN", "SNAPSHOT_END", "CHANGE"), seen);
    assertEquals(1, client.flowRuns().delete(created.getId(), false));
    assertEquals(0, client.flowRuns().delete(created.getId(), false));
  }

  @Test
  void anotherThreadEndsAWatch() throws Exception {
    Stream<WatchResponse> watch = client.watch(WatchRequest.getDefaultInstance());
    CountDownLatch begun = new CountDownLatch(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      Future<?> reader = thread.submit(() -> watch.forEach(frame -> begun.countDown()));
      assertTrue(begun.await(20, TimeUnit.SECONDS));
      watch.close();
      assertNull(reader.get(20, TimeUnit.SECONDS));
    } finally {
      thread.shutdownNow();
    }
  }

  @Test
  void errorsAreTyped() {
    FlowspanException missing =
        assertThrows(
            FlowspanException.class,
            () -> client.flowRuns().get("0199c0de-0000-7000-8000-000000000001"));
    assertEquals(Status.Code.NOT_FOUND, missing.code());
    assertEquals("NOT_FOUND", missing.reason());
    assertFalse(missing.retryable());
    FlowspanException invalid =
        assertThrows(FlowspanException.class, () -> client.flowRuns().get("x"));
    assertEquals("INVALID_FIELD", invalid.reason());
    assertFalse(invalid.metadata().isEmpty());
  }

  @Test
  void aRunOfAnotherProcessIsTheParent() throws Exception {
    AtomicReference<RunContext> parent = new AtomicReference<>();
    AtomicReference<String> child = new AtomicReference<>();
    client.flow(
        "outer",
        run -> {
          Map<String, String> headers = run.headers();
          parent.set(RunContext.fromHeaders(headers::get).orElseThrow());
          assertEquals(run.context(), RunContext.fromEnviron(run.environ()).orElseThrow());
          return null;
        });
    client.flow(
        "inner",
        RunOptions.create().parent(parent.get()),
        run -> {
          child.set(run.id());
          return null;
        });
    flush();
    FlowRun stored = client.flowRuns().get(child.get());
    assertEquals(parent.get().runId(), stored.getParentRunId());
    assertEquals(parent.get().runId(), stored.getRootRunId());
    assertEquals(
        parent.get().traceparent().substring(0, 35),
        stored.getTrace().getTraceparent().substring(0, 35));
  }

  @Test
  void aTraceWithoutARunIsThatOfATopLevelRun() throws Exception {
    String traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    AtomicReference<String> id = new AtomicReference<>();
    client.flow(
        "continued",
        RunOptions.create().parent(new RunContext("", "", traceparent, "")),
        run -> {
          id.set(run.id());
          return null;
        });
    flush();
    FlowRun stored = client.flowRuns().get(id.get());
    assertEquals("", stored.getParentRunId());
    assertEquals(id.get(), stored.getRootRunId());
    assertEquals(traceparent.substring(0, 35), stored.getTrace().getTraceparent().substring(0, 35));
    assertEquals("b7ad6b7169203331", stored.getTrace().getParentSpanId());
  }

  @Test
  void aClosedClientEndsOpenRunsAndRefusesNewOnes() throws Exception {
    FlowspanClient other = service.connect();
    AtomicReference<String> id = new AtomicReference<>();
    CountDownLatch started = new CountDownLatch(1);
    ExecutorService thread = Executors.newSingleThreadExecutor();
    try {
      Future<?> flow =
          thread.submit(
              () ->
                  other.flow(
                      "left-open",
                      run -> {
                        id.set(run.id());
                        started.countDown();
                        Thread.sleep(60_000);
                        return null;
                      }));
      assertTrue(started.await(20, TimeUnit.SECONDS));
      other.close();
      other.close();
      assertThrows(ExecutionException.class, () -> flow.get(20, TimeUnit.SECONDS));
    } finally {
      thread.shutdownNow();
    }
    assertEquals(
        StateType.STATE_TYPE_CRASHED, client.flowRuns().get(id.get()).getState().getType());
    assertThrows(FlowspanException.class, () -> other.flow("late", run -> null));
  }

  @Test
  void theUnixSocketAndTheHomeAreFound() throws Exception {
    String socket = "unix:" + service.home().resolve("service.sock");
    try (FlowspanClient unix = FlowspanClient.connect(ClientOptions.create().address(socket))) {
      assertEquals(7, unix.<Integer, RuntimeException>flow("by-socket", run -> 7));
      assertTrue(unix.flush(Duration.ofSeconds(20)));
    }
  }
}
