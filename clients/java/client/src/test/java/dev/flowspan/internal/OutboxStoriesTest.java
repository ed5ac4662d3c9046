package dev.flowspan.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.flowspan.v1.Artifact;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.RunCompleted;
import dev.flowspan.v1.StateEntered;
import dev.flowspan.v1.StateType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Random runs, frames and broken connections: nothing is lost, changed or put before its cause. */
class OutboxStoriesTest {
  private static final int STORIES = 300;

  @Test
  void everyStoryArrives() {
    int shortRuns = 0;
    for (int seed = 0; seed < STORIES; seed++) {
      shortRuns += new Story(seed).tell();
    }
    assertTrue(shortRuns > STORIES, shortRuns + " short runs");
  }

  private static final class Story {
    private final String name;
    private final Random random;
    private final Outbox outbox = new Outbox(100_000, 64 << 20);
    private final long maxFrameBytes;

    /** What was reported and what the service has, by run: states and artifacts, and logs. */
    private final Map<String, List<Event>> courses = new HashMap<>();

    private final Map<String, StringBuilder> texts = new HashMap<>();
    private final List<Event> stored = new ArrayList<>();
    private final Map<Long, Event> sent = new HashMap<>();
    private final List<List<Event>> open = new ArrayList<>();
    private boolean joins;
    private int shortRuns;

    Story(int seed) {
      name = "story " + seed;
      random = new Random(seed);
      maxFrameBytes = List.of(600L, 2048L, 65_536L).get(random.nextInt(3));
      joins = random.nextBoolean();
    }

    int tell() {
      outbox.lock.lock();
      try {
        for (int step = 0; step < 120; step++) {
          switch (random.nextInt(6)) {
            case 0 -> begin("run" + step);
            case 1, 2, 3 -> advance();
            case 4 -> send();
            default -> reconnect();
          }
        }
        while (!open.isEmpty()) {
          advance();
        }
        while (!outbox.isEmpty()) {
          reconnect();
          while (outbox.waiting() > 0) {
            send();
          }
        }
      } finally {
        outbox.lock.unlock();
      }
      check();
      return shortRuns;
    }

    private void begin(String id) {
      String parent = open.isEmpty() || random.nextBoolean() ? "" : idOf(any(open).get(0));
      List<Event> rest = new ArrayList<>();
      rest.add(TestEvents.created(id, parent));
      if (random.nextInt(4) == 0) {
        rest.add(Event.newBuilder().setArtifactCreated(Artifact.newBuilder().setRunId(id)).build());
      }
      rest.add(TestEvents.entered(id, 1, StateType.STATE_TYPE_RUNNING, "Running"));
      rest.add(TestEvents.entered(id, 1, StateType.STATE_TYPE_COMPLETED, "Completed"));
      report(rest.remove(0));
      open.add(rest);
    }

    private <T> T any(List<T> list) {
      return list.get(random.nextInt(list.size()));
    }

    private void advance() {
      if (open.isEmpty()) {
        return;
      }
      List<Event> run = any(open);
      if (random.nextInt(3) == 0) {
        String text = (char) ('a' + random.nextInt(26)) + "ü😀".repeat(random.nextInt(300));
        texts.computeIfAbsent(idOf(run.get(0)), id -> new StringBuilder()).append(text);
        outbox.addLog(TestEvents.log(idOf(run.get(0)), text));
        return;
      }
      report(run.remove(0));
      if (run.isEmpty()) {
        open.remove(run);
      }
    }

    private void report(Event event) {
      courses.computeIfAbsent(idOf(event), id -> new ArrayList<>()).add(event);
      assertTrue(outbox.add(event, 0, false));
    }

    private static String idOf(Event event) {
      return switch (event.getEventCase()) {
        case RUN_CREATED -> event.getRunCreated().getRunId();
        case STATE_ENTERED -> event.getStateEntered().getRunId();
        case ARTIFACT_CREATED -> event.getArtifactCreated().getRunId();
        default -> event.getLog().getRunId();
      };
    }

    private void send() {
      if (outbox.waiting() == 0) {
        return;
      }
      Outbox.Frame frame = outbox.take(1 + random.nextInt(40), maxFrameBytes, joins);
      var batch = frame.batch(joins);
      assertTrue(batch.getSerializedSize() <= maxFrameBytes, name);
      List<Event> parts = new ArrayList<>();
      batch.getEventsList().forEach(event -> addParts(event, parts));
      assertEquals(frame.events(), parts, name);
      long sequence = frame.first();
      for (Event part : parts) {
        assertEquals(sent.getOrDefault(sequence, part), part, name + ", event " + sequence);
        sent.put(sequence, part);
        sequence++;
      }
      if (random.nextInt(4) > 0) {
        store(frame.first(), parts);
      }
      if (random.nextBoolean()) {
        outbox.ack(stored.size());
      }
    }

    private void addParts(Event event, List<Event> parts) {
      if (!event.hasRunCompleted()) {
        parts.add(event);
        return;
      }
      shortRuns++;
      RunCompleted run = event.getRunCompleted();
      String id = run.getCreated().getRunId();
      parts.add(Event.newBuilder().setRunCreated(run.getCreated()).build());
      parts.add(TestEvents.entered(id, 1, StateType.STATE_TYPE_RUNNING, "Running"));
      parts.add(
          Event.newBuilder()
              .setStateEntered(
                  StateEntered.newBuilder().setRunId(id).setAttempt(1).setState(run.getEnded()))
              .build());
    }

    private void store(long first, List<Event> parts) {
      if (first > stored.size() + 1) {
        return; // the service has lost the batch before, and ends the connection
      }
      for (int index = 0; index < parts.size(); index++) {
        if (first + index > stored.size()) {
          stored.add(parts.get(index));
        }
      }
    }

    private void reconnect() {
      joins = random.nextBoolean();
      assertEquals(0, outbox.resume(stored.size()));
    }

    private void check() {
      Map<String, List<Event>> found = new HashMap<>();
      Map<String, StringBuilder> foundTexts = new HashMap<>();
      for (Event event : stored) {
        String id = idOf(event);
        if (event.hasLog()) {
          assertTrue(found.containsKey(id), name + ": a log comes before its run");
          foundTexts
              .computeIfAbsent(id, run -> new StringBuilder())
              .append(event.getLog().getMessage());
          continue;
        }
        found.computeIfAbsent(id, run -> new ArrayList<>()).add(event);
        String parent = event.getRunCreated().getParentRunId();
        if (!parent.isEmpty()) {
          assertTrue(found.containsKey(parent), name + ": a run comes before its parent");
          assertTrue(found.get(parent).size() < courses.get(parent).size(), name);
        }
      }
      assertEquals(courses, found, name);
      assertEquals(texts.keySet(), foundTexts.keySet(), name);
      texts.forEach(
          (id, text) -> assertEquals(text.toString(), foundTexts.get(id).toString(), name));
    }
  }
}
