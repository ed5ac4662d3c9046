package dev.flowspan.internal;

import dev.flowspan.v1.Batch;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.RunCompleted;
import dev.flowspan.v1.RunKind;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateType;
import java.util.HashMap;
import java.util.Map;

/**
 * Task runs that begin and end within one batch, reported as one event instead of three.
 *
 * <p>Such a run is most of all traffic, and the service spends less time on one event ({@link
 * RunCompleted}). It takes three sequences, from that of the creation on, so the start and the end
 * of the run move in front of the events in between. The order of two events matters only if one of
 * them depends on the other. A run therefore stays in three events if one in between is about it
 * (an artifact, another state), or if it called another run.
 */
final class ShortRuns {
  /** The capability of services that know the event. */
  static final String CAPABILITY = "run_completed.v1";

  private static final int PARTS = 3;

  /** A run whose creation was found: the places of its events. */
  private static final class Candidate {
    final int created;
    int running = -1;
    int ended = -1;

    Candidate(int created) {
      this.created = created;
    }
  }

  private final Event[] events;
  private final Map<String, Candidate> open = new HashMap<>();
  private Candidate[] found;

  private ShortRuns(Event[] events) {
    this.events = events;
  }

  /**
   * Moves the events of each short run together, in place, to its creation.
   *
   * @param from the first event that may move
   * @return true if an event has moved
   */
  static boolean gather(Event[] events, int from) {
    ShortRuns runs = new ShortRuns(events);
    runs.search(from);
    if (runs.found == null) {
      return false;
    }
    runs.move(from);
    return true;
  }

  private void search(int from) {
    for (int index = from; index < events.length; index++) {
      Event event = events[index];
      switch (event.getEventCase()) {
        case RUN_CREATED -> {
          open.remove(event.getRunCreated().getParentRunId());
          if (adjoin(events, index)) {
            index += PARTS - 1;
          } else if (isTask(event)) {
            open.put(event.getRunCreated().getRunId(), new Candidate(index));
          }
        }
        case STATE_ENTERED -> state(index);
        case ARTIFACT_CREATED -> open.remove(event.getArtifactCreated().getRunId());
        default -> {} // the order of logs and of changed artifacts does not matter
      }
    }
  }

  private void state(int index) {
    if (open.isEmpty()) {
      return;
    }
    String runId = events[index].getStateEntered().getRunId();
    Candidate candidate = open.get(runId);
    if (candidate == null) {
      return;
    }
    if (candidate.running < 0 && isRunning(events[index], runId)) {
      candidate.running = index;
      return;
    }
    open.remove(runId);
    if (candidate.running >= 0 && isEnd(events[index], runId)) {
      candidate.ended = index;
      if (found == null) {
        found = new Candidate[events.length];
      }
      found[candidate.created] = candidate;
      found[candidate.running] = candidate;
      found[candidate.ended] = candidate;
    }
  }

  private void move(int from) {
    Event[] before = events.clone();
    int place = from;
    for (int index = from; index < before.length; index++) {
      Candidate candidate = found[index];
      if (candidate == null) {
        events[place++] = before[index];
      } else if (candidate.created == index) {
        events[place++] = before[candidate.created];
        events[place++] = before[candidate.running];
        events[place++] = before[candidate.ended];
      }
    }
  }

  /** Adds events to a batch: the adjoining events of each short run as one. */
  static void addJoined(Batch.Builder batch, Event[] events) {
    for (int index = 0; index < events.length; index++) {
      if (adjoin(events, index)) {
        batch.addEvents(joined(events[index], events[index + 1], events[index + 2]));
        index += PARTS - 1;
      } else {
        batch.addEvents(events[index]);
      }
    }
  }

  private static Event joined(Event created, Event running, Event ended) {
    return Event.newBuilder()
        .setRunCompleted(
            RunCompleted.newBuilder()
                .setCreated(created.getRunCreated())
                .setStartTime(running.getStateEntered().getState().getTime())
                .setEnded(ended.getStateEntered().getState()))
        .build();
  }

  /** Returns true if the events from this place on are all that a short run has. */
  private static boolean adjoin(Event[] events, int index) {
    if (index + PARTS > events.length || !isTask(events[index])) {
      return false;
    }
    String runId = events[index].getRunCreated().getRunId();
    return isRunning(events[index + 1], runId) && isEnd(events[index + 2], runId);
  }

  private static boolean isTask(Event event) {
    return event.hasRunCreated() && event.getRunCreated().getKind() == RunKind.RUN_KIND_TASK;
  }

  private static boolean isOfFirstAttempt(Event event, String runId) {
    return event.hasStateEntered()
        && event.getStateEntered().getAttempt() <= 1
        && event.getStateEntered().getRunId().equals(runId)
        && !event.getStateEntered().getState().hasScheduledTime();
  }

  private static boolean isRunning(Event event, String runId) {
    if (!isOfFirstAttempt(event, runId)) {
      return false;
    }
    State state = event.getStateEntered().getState();
    return state.getType() == StateType.STATE_TYPE_RUNNING
        && state.getName().equals("Running")
        && state.hasTime()
        && state.getMessage().isEmpty();
  }

  private static boolean isEnd(Event event, String runId) {
    if (!isOfFirstAttempt(event, runId)) {
      return false;
    }
    return switch (event.getStateEntered().getState().getType()) {
      case STATE_TYPE_COMPLETED, STATE_TYPE_FAILED, STATE_TYPE_CANCELLED, STATE_TYPE_CRASHED ->
          true;
      default -> false;
    };
  }
}
