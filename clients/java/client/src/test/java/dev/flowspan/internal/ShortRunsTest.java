package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.Artifact;
import dev.flowspan.v1.Batch;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.RunKind;
import dev.flowspan.v1.StateType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class ShortRunsTest {
  private static final Event CREATED = TestEvents.created("a", "root");
  private static final Event RUNNING =
      TestEvents.entered("a", 1, StateType.STATE_TYPE_RUNNING, "Running");
  private static final Event COMPLETED =
      TestEvents.entered("a", 1, StateType.STATE_TYPE_COMPLETED, "Completed");

  /** Returns the events after they were gathered, and checks that none is lost. */
  private static List<Event> gathered(Event... events) {
    Event[] moved = events.clone();
    boolean changed = ShortRuns.gather(moved, 0);
    assertEquals(!Arrays.equals(moved, events), changed);
    List<Event> missing = new ArrayList<>(List.of(events));
    for (Event event : moved) {
      assertTrue(missing.remove(event));
    }
    return List.of(moved);
  }

  private static List<Event> joined(Event... events) {
    Batch.Builder batch = Batch.newBuilder();
    ShortRuns.addJoined(batch, events);
    return batch.getEventsList();
  }

  @Test
  void theEventsOfAShortRunMoveToItsCreation() {
    Event log = TestEvents.log("a", "line");
    Event other = TestEvents.log("b", "other");
    assertEquals(
        List.of(other, CREATED, RUNNING, COMPLETED, log, log),
        gathered(other, CREATED, log, RUNNING, log, COMPLETED));
  }

  @Test
  void interleavedRunsAreKeptApart() {
    Event created = TestEvents.created("b", "root");
    Event running = TestEvents.entered("b", 1, StateType.STATE_TYPE_RUNNING, "Running");
    Event failed = TestEvents.entered("b", 1, StateType.STATE_TYPE_FAILED, "Failed");
    assertEquals(
        List.of(CREATED, RUNNING, COMPLETED, created, running, failed),
        gathered(CREATED, created, running, RUNNING, failed, COMPLETED));
  }

  @Test
  void whatIsInOrderStaysAsItIs() {
    assertFalse(ShortRuns.gather(new Event[] {CREATED, RUNNING, COMPLETED}, 0));
    assertFalse(ShortRuns.gather(new Event[] {CREATED, RUNNING}, 0));
    assertFalse(ShortRuns.gather(new Event[0], 0));
  }

  @Test
  void aRunThatCalledAnotherRunStays() {
    Event child = TestEvents.created("b", "a");
    gatherNothing(CREATED, RUNNING, child, COMPLETED);
  }

  @Test
  void aRunWithAnArtifactStays() {
    Event artifact =
        Event.newBuilder().setArtifactCreated(Artifact.newBuilder().setRunId("a")).build();
    gatherNothing(CREATED, RUNNING, artifact, COMPLETED);
  }

  @Test
  void aRunWithFurtherStatesStays() {
    Event again = TestEvents.entered("a", 1, StateType.STATE_TYPE_SCHEDULED, "AwaitingRetry");
    Event second = TestEvents.entered("a", 2, StateType.STATE_TYPE_RUNNING, "Retrying");
    Event ended = TestEvents.entered("a", 2, StateType.STATE_TYPE_COMPLETED, "Completed");
    gatherNothing(CREATED, RUNNING, again, second, ended);
    gatherNothing(CREATED, TestEvents.log("a", "x"), COMPLETED);
  }

  private static void gatherNothing(Event... events) {
    assertEquals(List.of(events), gathered(events));
    assertEquals(List.of(events), joined(events));
  }

  @Test
  void eventsThatWereSentDoNotMove() {
    Event[] events = {CREATED, TestEvents.log("a", "line"), RUNNING, COMPLETED};
    assertFalse(ShortRuns.gather(events, 1));
  }

  @Test
  void adjoiningEventsBecomeOne() {
    Event before = TestEvents.log("b", "before");
    List<Event> batch = joined(before, CREATED, RUNNING, COMPLETED, CREATED, RUNNING);
    assertEquals(4, batch.size());
    assertEquals(before, batch.get(0));
    assertEquals(CREATED.getRunCreated(), batch.get(1).getRunCompleted().getCreated());
    assertEquals(
        RUNNING.getStateEntered().getState().getTime(),
        batch.get(1).getRunCompleted().getStartTime());
    assertEquals(COMPLETED.getStateEntered().getState(), batch.get(1).getRunCompleted().getEnded());
    assertEquals(List.of(CREATED, RUNNING), batch.subList(2, 4));
  }

  @Test
  void flowsAreNeverJoined() {
    Event flow =
        CREATED.toBuilder()
            .setRunCreated(CREATED.getRunCreated().toBuilder().setKind(RunKind.RUN_KIND_FLOW))
            .build();
    assertEquals(List.of(flow, RUNNING, COMPLETED), joined(flow, RUNNING, COMPLETED));
  }

  @Test
  void aRunningStateThatSaysMoreIsKept() {
    Event named = TestEvents.entered("a", 1, StateType.STATE_TYPE_RUNNING, "Warming");
    assertEquals(List.of(CREATED, named, COMPLETED), joined(CREATED, named, COMPLETED));
  }
}
