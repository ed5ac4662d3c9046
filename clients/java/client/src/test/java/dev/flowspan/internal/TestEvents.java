package dev.flowspan.internal;

import com.google.protobuf.Timestamp;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.RunCreated;
import dev.flowspan.v1.RunKind;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateEntered;
import dev.flowspan.v1.StateType;

/** Events for tests. */
final class TestEvents {
  private static final Timestamp TIME = Timestamp.newBuilder().setSeconds(1_800_000_000).build();

  private TestEvents() {}

  /** Returns the creation of a task run. */
  static Event created(String runId, String parentId) {
    return Event.newBuilder()
        .setRunCreated(
            RunCreated.newBuilder()
                .setRunId(runId)
                .setKind(RunKind.RUN_KIND_TASK)
                .setFunctionName("task")
                .setParentRunId(parentId)
                .setState(State.newBuilder().setType(StateType.STATE_TYPE_PENDING).setTime(TIME)))
        .build();
  }

  static Event entered(String runId, int attempt, StateType type, String name) {
    return Event.newBuilder()
        .setStateEntered(
            StateEntered.newBuilder()
                .setRunId(runId)
                .setAttempt(attempt)
                .setState(State.newBuilder().setType(type).setName(name).setTime(TIME)))
        .build();
  }

  static Event log(String runId, String message) {
    return Event.newBuilder()
        .setLog(LogRecord.newBuilder().setRunId(runId).setMessage(message).setTime(TIME))
        .build();
  }
}
