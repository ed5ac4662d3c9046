package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Duration;
import com.google.protobuf.UnknownFieldSet;
import dev.flowspan.CancelledRunException;
import dev.flowspan.ClientOptions;
import dev.flowspan.FlowspanClient;
import dev.flowspan.FlowspanException;
import dev.flowspan.v1.Ack;
import dev.flowspan.v1.CancelRun;
import dev.flowspan.v1.Command;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.Hello;
import dev.flowspan.v1.ReportResponse;
import dev.flowspan.v1.StateType;
import dev.flowspan.v1.Verdict;
import dev.flowspan.v1.VerdictKind;
import dev.flowspan.v1.Welcome;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The report stream against a service that misbehaves. */
@Timeout(60)
class ReporterWireTest {
  private static final java.time.Duration TIMEOUT = java.time.Duration.ofSeconds(20);
  private ScriptedService service;

  @BeforeEach
  void start() throws Exception {
    service = new ScriptedService();
  }

  @AfterEach
  void stop() throws Exception {
    service.close();
    assertEquals(List.of(), service.problems);
  }

  private FlowspanClient connect() {
    return FlowspanClient.connect(options());
  }

  private ClientOptions options() {
    return ClientOptions.create()
        .address(service.address())
        .shutdownHook(false)
        .closeTimeout(java.time.Duration.ofSeconds(5));
  }

  private static void runTasks(FlowspanClient client, int count) {
    client.flow(
        "tasks",
        run -> {
          for (int index = 0; index < count; index++) {
            run.task("task", task -> null);
          }
          return null;
        });
  }

  private void await(BooleanSupplier condition) throws InterruptedException {
    long end = System.nanoTime() + TIMEOUT.toNanos();
    while (!service.read(condition::getAsBoolean)) {
      assertTrue(System.nanoTime() < end, "timed out");
      Thread.sleep(5);
    }
  }

  @Test
  void allEventsArriveOnceAndOneGoodbyeFollows() throws Exception {
    try (FlowspanClient client = connect()) {
      runTasks(client, 1000);
    }
    await(() -> service.goodbyes == 1);
    assertEquals(3 * 1001, service.events.size());
    Hello hello = service.hellos.get(0);
    assertEquals("flowspan-java", hello.getClientName());
    assertEquals("java", hello.getClientLanguage());
    assertEquals(16, hello.getSecret().size());
    assertTrue(hello.getSpansByService());
    assertEquals(
        Session.program(System.getProperty("sun.java.command")),
        hello.getResourceOrThrow("service.name"));
  }

  @Test
  void aSmallWindowAndSmallFramesAreKept() throws Exception {
    service.welcome =
        service.welcome.toBuilder().setMaxUnackedEvents(10).setMaxFrameBytes(2048).build();
    String text = "x😀".repeat(4000);
    try (FlowspanClient client = connect()) {
      client.flow(
          "small",
          run -> {
            run.log().info(text); // before the limit is known
            runTasks(client, 100);
            return null;
          });
      assertTrue(client.flush(TIMEOUT));
    }
    StringBuilder joined = new StringBuilder();
    for (Event event : service.events) {
      joined.append(event.getLog().getMessage());
    }
    assertEquals(text, joined.toString());
  }

  @Test
  void shortRunsAreOneEventEachIfTheServiceKnowsThem() throws Exception {
    service.welcome = service.welcome.toBuilder().addCapabilities(ShortRuns.CAPABILITY).build();
    try (FlowspanClient client = connect()) {
      client.flow(
          "logging",
          run -> {
            for (int index = 0; index < 1000; index++) {
              run.task(
                  "task",
                  task -> {
                    task.log().info("line");
                    return null;
                  });
            }
            return null;
          });
    }
    assertEquals(3 + 4 * 1000, service.events.size());
    assertTrue(service.shortRuns > 900, service.shortRuns + " short runs");
    List<String> open = new ArrayList<>();
    for (Event event : service.events) {
      switch (event.getEventCase()) {
        case RUN_CREATED -> open.add(event.getRunCreated().getRunId());
        case STATE_ENTERED -> assertTrue(open.contains(event.getStateEntered().getRunId()));
        default -> assertEquals("line", event.getLog().getMessage());
      }
    }
    assertEquals(1001, open.stream().distinct().count());
  }

  @Test
  void theFormOfShortRunsFollowsTheServiceOfEachConnection() throws Exception {
    Welcome older = service.welcome;
    service.welcome = older.toBuilder().addCapabilities(ShortRuns.CAPABILITY).build();
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onBatch(ScriptedService.Connected connected, long last) {
            if (service.hellos.size() == 1) { // the batch is lost, and an older service comes
              service.events.clear();
              service.welcome = older;
              connected.end(ScriptedService.error(Status.Code.UNAVAILABLE, ""));
              return false;
            }
            return true;
          }
        });
    try (FlowspanClient client = connect()) {
      runTasks(client, 20);
      assertTrue(client.flush(TIMEOUT));
    }
    assertTrue(service.shortRuns > 0);
    assertEquals(63, service.events.size());
    assertTrue(service.events.get(0).hasRunCreated());
  }

  @Test
  void aReplacedDatabaseGetsPlaceholdersInTheSameSession() throws Exception {
    try (FlowspanClient client = connect()) {
      client.flow(
          "long",
          run -> {
            runTasks(client, 10);
            assertTrue(client.flush(TIMEOUT));
            service.read(
                () -> {
                  service.events.clear();
                  service.end(ScriptedService.error(Status.Code.UNAVAILABLE, ""));
                  return null;
                });
            run.task("after", task -> null);
            return null;
          });
      assertTrue(client.flush(TIMEOUT));
    }
    assertEquals(1, service.hellos.stream().map(Hello::getSessionId).distinct().count());
    assertEquals(2 + 33 + 3 + 1, service.events.size());
    assertEquals(Event.EventCase.EVENT_NOT_SET, service.events.get(34).getEventCase());
    assertEquals("after", service.events.get(35).getRunCreated().getFunctionName());
    assertEquals(1, service.goodbyes);
  }

  @Test
  void aSessionWithEventsOfAnotherProcessIsLeft() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onHello(ScriptedService.Connected connected, Hello hello) {
            connected.send(
                ReportResponse.newBuilder()
                    .setWelcome(service.welcome.toBuilder().setResumeAfter(1000))
                    .build());
            return false;
          }
        });
    try (FlowspanClient client = connect()) {
      runTasks(client, 1);
      FlowspanException error = assertThrows(FlowspanException.class, () -> client.flush(TIMEOUT));
      assertTrue(error.getMessage().contains("another process"), error.getMessage());
    }
    assertEquals(1, service.hellos.size());
  }

  @Test
  void aStateThatIsTooLargeForAFrameLosesItsDetailsOnly() throws Exception {
    service.welcome = service.welcome.toBuilder().setMaxFrameBytes(2048).build();
    try (FlowspanClient client = connect()) {
      assertEquals(
          10_000,
          client.<String, RuntimeException>flow("large", run -> "x".repeat(10_000)).length());
      assertTrue(client.flush(TIMEOUT));
    }
    Event last = service.events.get(service.events.size() - 1);
    assertEquals(StateType.STATE_TYPE_COMPLETED, last.getStateEntered().getState().getType());
    assertFalse(last.getStateEntered().getState().hasResult());
  }

  @Test
  void brokenConnectionsAreResumedExactly() throws Exception {
    AtomicInteger batches = new AtomicInteger();
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onBatch(ScriptedService.Connected connected, long last) {
            if (batches.incrementAndGet() % 3 == 1) { // stored, but the ack is lost
              connected.end(ScriptedService.error(Status.Code.UNAVAILABLE, ""));
              return false;
            }
            return true;
          }
        });
    try (FlowspanClient client = connect()) {
      for (int index = 0; index < 6; index++) {
        runTasks(client, 50);
        assertTrue(client.flush(TIMEOUT));
      }
    }
    assertEquals(6 * 3 * 51, service.events.size());
    assertTrue(service.hellos.size() > 2);
    assertEquals(1, service.hellos.stream().map(Hello::getSessionId).distinct().count());
    assertEquals(1, service.hellos.stream().map(Hello::getSecret).distinct().count());
  }

  @Test
  void aTakenOverSessionNeverReconnects() throws Exception {
    finalStatus(Status.Code.ABORTED, "SESSION_TAKEN_OVER");
  }

  @Test
  void aWrongSecretIsFinal() throws Exception {
    finalStatus(Status.Code.PERMISSION_DENIED, "WRONG_SECRET");
  }

  @Test
  void aRefusedTokenIsReplacedSoon() throws Exception {
    refusedToken(Status.Code.UNAUTHENTICATED, "UNAUTHENTICATED");
  }

  @Test
  void aTokenWithoutTheScopeIsReplacedSoon() throws Exception {
    refusedToken(Status.Code.PERMISSION_DENIED, "MISSING_SCOPE");
  }

  private void refusedToken(Status.Code code, String reason) throws Exception {
    AtomicReference<String> token = new AtomicReference<>("old");
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onHello(ScriptedService.Connected connected, Hello hello) {
            if (service.hellos.size() > 1) {
              return true;
            }
            connected.end(ScriptedService.error(code, reason));
            return false;
          }
        });
    try (FlowspanClient client = FlowspanClient.connect(options().token(token::get))) {
      assertEquals(1, client.<Integer, RuntimeException>flow("refused", run -> 1));
      assertFalse(client.flush(java.time.Duration.ofMillis(300)));
      token.set("new");
      assertTrue(client.flush(java.time.Duration.ofSeconds(5)));
    }
    assertEquals(2, service.hellos.size());
  }

  @Test
  void aMalformedFrameIsFinal() throws Exception {
    finalStatus(Status.Code.INVALID_ARGUMENT, "INVALID_FIELD");
  }

  @Test
  void anEventThatTheServiceRefusesIsLeftOut() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onBatch(ScriptedService.Connected connected, long last) {
            if (service.hellos.size() == 1) {
              service.events.clear();
              connected.end(
                  ScriptedService.error(
                      Status.Code.INVALID_ARGUMENT, "INVALID_FIELD", Map.of("sequence", "4")));
              return false;
            }
            return true;
          }
        });
    try (FlowspanClient client = connect()) {
      runTasks(client, 5);
      assertTrue(client.flush(TIMEOUT));
    }
    assertEquals(2, service.hellos.size());
    assertEquals(18, service.events.size());
    assertEquals(Event.EventCase.EVENT_NOT_SET, service.events.get(3).getEventCase());
  }

  private void finalStatus(Status.Code code, String reason) throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onHello(ScriptedService.Connected connected, Hello hello) {
            connected.end(ScriptedService.error(code, reason));
            return false;
          }
        });
    try (FlowspanClient client = connect()) {
      assertEquals(1, client.<Integer, RuntimeException>flow("refused", run -> 1));
      FlowspanException error = assertThrows(FlowspanException.class, () -> client.flush(TIMEOUT));
      assertEquals(reason, error.reason());
      runTasks(client, 10); // user code goes on
      Thread.sleep(300);
    }
    assertEquals(1, service.hellos.size());
  }

  @Test
  void anOverloadedServiceIsTriedAgain() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onHello(ScriptedService.Connected connected, Hello hello) {
            if (service.hellos.size() < 3) {
              connected.end(ScriptedService.error(Status.Code.RESOURCE_EXHAUSTED, "OVERLOADED"));
              return false;
            }
            return true;
          }
        });
    try (FlowspanClient client = connect()) {
      runTasks(client, 1);
      assertTrue(client.flush(TIMEOUT));
    }
    assertEquals(3, service.hellos.size());
    assertEquals(6, service.events.size());
  }

  @Test
  void heartbeatsComeEachThirdOfTheLease() throws Exception {
    service.welcome =
        service.welcome.toBuilder().setLease(Duration.newBuilder().setNanos(300_000_000)).build();
    try (FlowspanClient client = connect()) {
      client.flow(
          "idle",
          run -> {
            await(() -> service.heartbeats >= 3);
            return null;
          });
    }
  }

  @Test
  void unknownFramesCommandsAndVerdictsAreIgnored() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onBatch(ScriptedService.Connected connected, long last) {
            UnknownFieldSet.Field field = UnknownFieldSet.Field.newBuilder().addVarint(1).build();
            connected.send(
                ReportResponse.newBuilder()
                    .setUnknownFields(UnknownFieldSet.newBuilder().addField(99, field).build())
                    .build());
            connected.send(
                ReportResponse.newBuilder().setCommand(Command.newBuilder().setId("new")).build());
            connected.acknowledge(
                Ack.newBuilder()
                    .setUpToSequence(last)
                    .addVerdicts(Verdict.newBuilder().setSequence(1).setKindValue(77))
                    .addVerdicts(
                        Verdict.newBuilder()
                            .setSequence(2)
                            .setKind(VerdictKind.VERDICT_KIND_REJECTED)
                            .setRule("future"))
                    .build());
            return false;
          }
        });
    try (FlowspanClient client = connect()) {
      runTasks(client, 10);
      assertTrue(client.flush(TIMEOUT));
    }
    assertEquals(33, service.events.size());
  }

  @Test
  void aCancelThatComesTwiceInterruptsOnce() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onBatch(ScriptedService.Connected connected, long last) {
            String id = service.events.get(0).getRunCreated().getRunId();
            Command cancel =
                Command.newBuilder()
                    .setId("c1")
                    .setCancelRun(CancelRun.newBuilder().setRunId(id).setReason("twice"))
                    .build();
            connected.send(ReportResponse.newBuilder().setCommand(cancel).build());
            connected.send(ReportResponse.newBuilder().setCommand(cancel).build());
            return true;
          }
        });
    List<String> seen = new ArrayList<>();
    try (FlowspanClient client = connect()) {
      assertThrows(
          CancelledRunException.class,
          () ->
              client.flow(
                  "cancelled",
                  run -> {
                    try {
                      Thread.sleep(20_000);
                    } catch (InterruptedException interrupt) {
                      seen.add("interrupted");
                    }
                    Thread.sleep(200); // must not be interrupted again
                    run.checkCancelled();
                    return null;
                  }));
    }
    assertEquals(List.of("interrupted"), seen);
    Event last = service.events.get(service.events.size() - 1);
    assertEquals(StateType.STATE_TYPE_CANCELLED, last.getStateEntered().getState().getType());
    assertEquals("twice", last.getStateEntered().getState().getMessage());
  }

  @Test
  void anAbortedRunIsStopped() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onBatch(ScriptedService.Connected connected, long last) {
            connected.acknowledge(
                Ack.newBuilder()
                    .setUpToSequence(last)
                    .addVerdicts(
                        Verdict.newBuilder()
                            .setSequence(1)
                            .setRunId(service.events.get(0).getRunCreated().getRunId())
                            .setKind(VerdictKind.VERDICT_KIND_ABORT)
                            .setRule("run_was_deleted")
                            .setReason("deleted"))
                    .build());
            return false;
          }
        });
    try (FlowspanClient client = connect()) {
      assertThrows(
          InterruptedException.class,
          () ->
              client.flow(
                  "aborted",
                  run -> {
                    Thread.sleep(20_000);
                    return null;
                  }));
    }
  }

  @Test
  void aFullOutboxDropsLogsAndHoldsRunsBack() throws Exception {
    service.follow(
        new ScriptedService.Script() {
          @Override
          public boolean onHello(ScriptedService.Connected connected, Hello hello) {
            return false; // no Welcome, so nothing is ever confirmed
          }
        });
    ClientOptions options =
        options()
            .outbox(10, 1 << 20)
            .outboxTimeout(java.time.Duration.ofMillis(100))
            .closeTimeout(java.time.Duration.ofMillis(100));
    try (FlowspanClient client = FlowspanClient.connect(options)) {
      client.flow(
          "full",
          run -> {
            for (int index = 0; index < 100; index++) {
              run.log().info("line");
            }
            FlowspanException error =
                assertThrows(FlowspanException.class, () -> run.task("no-room", task -> 1));
            assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.code());
            return null;
          });
      assertFalse(client.flush(java.time.Duration.ofMillis(50)));
    }
  }

  @Test
  void noThreadIsLeftAfterClose() throws Exception {
    for (int index = 0; index < 3; index++) {
      try (FlowspanClient client = connect()) {
        runTasks(client, 1);
      }
    }
    long end = System.nanoTime() + TIMEOUT.toNanos();
    while (Thread.getAllStackTraces().keySet().stream()
        .anyMatch(thread -> thread.getName().startsWith("flowspan-"))) {
      assertTrue(System.nanoTime() < end, "a thread is left");
      Thread.sleep(20);
    }
  }
}
