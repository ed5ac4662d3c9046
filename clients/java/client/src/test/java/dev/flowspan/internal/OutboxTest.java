package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.Event;
import dev.flowspan.v1.StateType;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The order, the sequences and the sizes of events. */
@Timeout(60)
class OutboxTest {
  private static final long FRAME = 1 << 20;
  private final Outbox outbox = new Outbox(100_000, 64 << 20);

  @BeforeEach
  void lock() {
    outbox.lock.lock();
  }

  @AfterEach
  void unlock() {
    outbox.lock.unlock();
  }

  private void log(String... messages) {
    for (String message : messages) {
      outbox.addLog(TestEvents.log("r", message));
    }
  }

  private void add(Event event) {
    assertTrue(outbox.add(event, 0, false));
  }

  private static List<String> texts(Outbox.Frame frame) {
    return frame.events().stream().map(event -> event.getLog().getMessage()).toList();
  }

  @Test
  void eventsAreTakenInOrderAndForgottenWhenStored() {
    log("a", "b", "c");
    Outbox.Frame frame = outbox.take(2, FRAME, true);
    assertEquals(1, frame.first());
    assertEquals(List.of("a", "b"), texts(frame));
    assertEquals(2, outbox.inFlight());
    assertEquals(1, outbox.waiting());
    outbox.ack(1);
    assertEquals(2, outbox.size());
    assertEquals(List.of("c"), texts(outbox.take(2, FRAME, true)));
    outbox.ack(3);
    assertTrue(outbox.isEmpty());
    outbox.ack(99); // a service that counts wrong
    assertEquals(3, outbox.ackedSequence());
  }

  @Test
  void aResumeSendsTheRestAgain() {
    log("a", "b", "c");
    outbox.take(3, FRAME, true);
    assertEquals(0, outbox.resume(1));
    Outbox.Frame frame = outbox.take(9, FRAME, true);
    assertEquals(2, frame.first());
    assertEquals(List.of("b", "c"), texts(frame));
  }

  @Test
  void lostEventsAreReplacedByPlaceholders() {
    log("a", "b", "c", "d");
    outbox.take(4, FRAME, true);
    outbox.ack(3);
    assertEquals(3, outbox.resume(0));
    assertFalse(outbox.isEmpty());
    assertEquals(0, outbox.resume(0)); // said once
    Outbox.Frame first = outbox.take(2, FRAME, true);
    assertEquals(1, first.first());
    assertEquals(List.of(FrameLimit.PLACEHOLDER, FrameLimit.PLACEHOLDER), first.events());
    Outbox.Frame second = outbox.take(2, FRAME, true);
    assertEquals(3, second.first());
    assertEquals(List.of(FrameLimit.PLACEHOLDER), second.events());
    Outbox.Frame third = outbox.take(2, FRAME, true);
    assertEquals(4, third.first());
    assertEquals(List.of("d"), texts(third));
    outbox.ack(2);
    assertEquals(1, outbox.size());
    outbox.ack(4);
    assertTrue(outbox.isEmpty());
  }

  @Test
  void placeholdersRespectTheFrame() {
    for (int index = 0; index < 500; index++) {
      log("x");
    }
    outbox.take(500, FRAME, true);
    outbox.ack(500);
    outbox.resume(0);
    int count = 0;
    while (outbox.waiting() > 0) {
      Outbox.Frame frame = outbox.take(2000, 1024, true);
      assertTrue(frame.batch(true).getSerializedSize() <= 1024);
      count += frame.events().size();
    }
    assertEquals(500, count);
  }

  @Test
  void aLongRecordIsDividedWhenTheFrameIsKnown() {
    String text = "0123456789".repeat(1000);
    log("before", text, "after");
    List<String> received = new ArrayList<>();
    List<String> pieces = new ArrayList<>();
    long next = 1;
    while (outbox.waiting() > 0) {
      Outbox.Frame frame = outbox.take(2000, 2048, true);
      assertEquals(next, frame.first());
      assertTrue(frame.batch(true).getSerializedSize() <= 2048);
      next += frame.events().size();
      for (Event event : frame.events()) {
        (event.getLog().getChunkCount() > 0 ? pieces : received).add(event.getLog().getMessage());
      }
    }
    assertEquals(text, String.join("", pieces));
    assertEquals(List.of("before", "after"), received);
    outbox.ack(next - 1);
    assertTrue(outbox.isEmpty());
    assertEquals(0, outbox.waitingBytes());
  }

  @Test
  void whatWasSentKeepsItsSequence() {
    log("a", "x".repeat(1000), "b");
    List<Event> sent = outbox.take(3, FRAME, false).events();
    outbox.resume(0);
    List<Event> again = new ArrayList<>();
    while (outbox.waiting() > 0) {
      again.addAll(outbox.take(3, 700, true).events());
    }
    assertEquals(3, again.size()); // shortened, as its sequence is taken
    assertEquals(sent.get(0), again.get(0));
    assertEquals(sent.get(2), again.get(2));
    assertTrue(FrameLimit.fits(again.get(1), 700));
  }

  @Test
  void shortRunsAreGatheredOnlyBeforeTheyAreSent() {
    Event created = TestEvents.created("a", "");
    Event running = TestEvents.entered("a", 1, StateType.STATE_TYPE_RUNNING, "Running");
    Event ended = TestEvents.entered("a", 1, StateType.STATE_TYPE_COMPLETED, "Completed");
    Event log = TestEvents.log("a", "line");
    add(created);
    outbox.addLog(log);
    add(running);
    add(ended);
    Outbox.Frame single = outbox.take(9, FRAME, false);
    assertEquals(List.of(created, log, running, ended), single.events());
    outbox.resume(0);
    Outbox.Frame again = outbox.take(9, FRAME, true);
    assertEquals(single.events(), again.events());
    assertEquals(4, again.batch(true).getEventsCount());

    add(created);
    outbox.addLog(log);
    add(running);
    add(ended);
    Outbox.Frame joined = outbox.take(9, FRAME, true);
    assertEquals(List.of(created, running, ended, log), joined.events());
    assertEquals(2, joined.batch(true).getEventsCount());
    assertEquals(4, joined.batch(false).getEventsCount());
    outbox.resume(4);
    assertEquals(joined.events(), outbox.take(9, FRAME, false).events());
  }

  @Test
  void aFlushWaitsForWhatHasMoved() throws Exception {
    add(TestEvents.created("a", ""));
    log("line");
    CompletableFuture<Boolean> flush =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return outbox.awaitAcked(TimeUnit.SECONDS.toNanos(30));
              } catch (InterruptedException interrupt) {
                throw new IllegalStateException(interrupt);
              }
            });
    while (!outbox.isFlushing()) {
      outbox.await(TimeUnit.MILLISECONDS.toNanos(1)); // gives the lock to the other thread
    }
    add(TestEvents.entered("a", 1, StateType.STATE_TYPE_RUNNING, "Running"));
    add(TestEvents.entered("a", 1, StateType.STATE_TYPE_COMPLETED, "Completed"));
    Outbox.Frame frame = outbox.take(9, FRAME, true);
    assertSame(Event.EventCase.LOG, frame.events().get(3).getEventCase());
    outbox.ack(3);
    outbox.await(TimeUnit.MILLISECONDS.toNanos(20));
    assertTrue(outbox.isFlushing());
    outbox.ack(4);
    while (outbox.isFlushing()) {
      outbox.await(TimeUnit.MILLISECONDS.toNanos(1));
    }
    assertTrue(flush.get(30, TimeUnit.SECONDS));
  }

  @Test
  void aFullOutboxCountsDroppedLogs() {
    Outbox small = new Outbox(2, 1 << 20);
    for (int index = 0; index < 5; index++) {
      small.addLog(TestEvents.log("r", "x"));
    }
    small.lock.lock();
    try {
      assertEquals(2, small.size());
      assertEquals(3, small.takeDroppedLogs());
    } finally {
      small.lock.unlock();
    }
  }
}
