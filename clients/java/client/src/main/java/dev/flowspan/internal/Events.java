package dev.flowspan.internal;

import dev.flowspan.v1.Event;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.RunCreated;
import dev.flowspan.v1.RunInput;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateType;
import java.util.Map;

/** The events about runs, within the limits of the protocol. */
final class Events {
  private Events() {}

  static Event created(RunScope scope) {
    RunCreated.Builder created =
        RunCreated.newBuilder()
            .setRunId(scope.id())
            .setKind(scope.kind)
            .setFunctionName(scope.function)
            .setRunName(scope.name())
            .setRootRunId(scope.rootRunId)
            .addAllTags(scope.options.tags())
            .setVersion(scope.options.version())
            .setState(
                State.newBuilder()
                    .setType(StateType.STATE_TYPE_PENDING)
                    .setName("Pending")
                    .setTime(ProcessClock.timestamp(scope.created)));
    if (scope.parent != null) {
      created.setParentRunId(scope.parent.id());
    } else if (scope.remote != null && !scope.remote.runId().isEmpty()) {
      created.setParentRunId(scope.remote.runId());
    }
    if (!scope.isFlow()) {
      created.setFlowRunId(scope.flowRunId);
    }
    if (scope.trace.isReported()) {
      created.setTrace(scope.trace.context());
    }
    addParameters(scope, created);
    if (scope.core.hasDetails) {
      addDetails(scope, created);
    }
    return Event.newBuilder().setRunCreated(created).build();
  }

  private static void addParameters(RunScope scope, RunCreated.Builder created) {
    Map<String, ?> parameters = scope.options.parameters();
    if (parameters.isEmpty() || (!scope.isFlow() && !scope.core.hasDetails)) {
      return;
    }
    int limit =
        scope.isFlow() ? Payloads.MAX_FLOW_PARAMETERS_BYTES : Payloads.MAX_TASK_PARAMETERS_BYTES;
    Payload payload =
        Payloads.ofParameters(
            scope.core.options.json(), parameters, limit, "The parameters of the " + scope);
    if (payload != null) {
      created.setParameters(payload);
    }
  }

  private static void addDetails(RunScope scope, RunCreated.Builder created) {
    created
        .setDescription(scope.options.description())
        .setMaxAttempts(scope.options.retries().maxAttempts())
        .putAllLabels(scope.options.labels());
    scope
        .options
        .inputs()
        .forEach(
            (parameter, ids) ->
                ids.forEach(
                    id ->
                        created.addInputs(
                            RunInput.newBuilder().setRunId(id).setParameter(parameter))));
    if (scope.caller != null) {
      created.setCode(scope.caller);
    }
  }

  static Event log(RunScope scope, int level, String logger, String message) {
    int attempt = scope.attempt();
    LogRecord record =
        LogRecord.newBuilder()
            .setRunId(scope.id())
            .setLevelValue(level)
            .setTime(ProcessClock.timestamp(ProcessClock.now()))
            .setLogger(Text.shortened(logger, Text.MAX_NAME_BYTES))
            .setMessage(message)
            .setAttempt(attempt)
            .setTraceId(scope.trace.traceId())
            .setSpanId(scope.trace.spanId(attempt))
            .build();
    return Event.newBuilder().setLog(record).build();
  }
}
