package dev.flowspan.internal;

import dev.flowspan.FlowspanClient;
import dev.flowspan.Run;
import dev.flowspan.v1.CodeLocation;
import dev.flowspan.v1.Event;
import dev.flowspan.v1.LogRecord;
import dev.flowspan.v1.Payload;
import dev.flowspan.v1.RunCreated;
import dev.flowspan.v1.RunInput;
import dev.flowspan.v1.State;
import dev.flowspan.v1.StateType;
import java.time.Instant;
import java.util.Map;

/** The events about runs, within the limits of the protocol. */
final class Events {
  static final int MAX_LOG_BYTES = 250 << 10;

  private static final String DETAILS = "run_details.v1";
  private static final String INTERNAL = "dev.flowspan.internal.";
  private static final StackWalker STACK = StackWalker.getInstance();

  private Events() {}

  /** Returns the place that calls a run, or null if the service does not store it. */
  static CodeLocation callerOf(Core core) {
    if (!core.has(DETAILS)) {
      return null;
    }
    StackWalker.StackFrame frame =
        STACK.walk(frames -> frames.filter(Events::isUsers).findFirst().orElse(null));
    if (frame == null) {
      return null;
    }
    String type = frame.getClassName();
    String folder = type.substring(0, type.lastIndexOf('.') + 1).replace('.', '/');
    String file = frame.getFileName() == null ? "" : folder + frame.getFileName();
    return CodeLocation.newBuilder()
        .setFilePath(Text.shortened(file, 1024))
        .setLine(Math.max(0, frame.getLineNumber()))
        .setFunction(Text.shortened(type + "." + frame.getMethodName(), Text.MAX_NAME_BYTES))
        .build();
  }

  private static boolean isUsers(StackWalker.StackFrame frame) {
    String type = frame.getClassName();
    return !type.startsWith(INTERNAL)
        && !type.equals(FlowspanClient.class.getName())
        && !type.equals(Run.class.getName());
  }

  static Event created(RunScope scope, CodeLocation code) {
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
                    .setTime(ProcessClock.timestamp(ProcessClock.now())));
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
    if (scope.core.has(DETAILS)) {
      addDetails(scope, created, code);
    }
    return Event.newBuilder().setRunCreated(created).build();
  }

  private static void addParameters(RunScope scope, RunCreated.Builder created) {
    Map<String, ?> parameters = scope.options.parameters();
    if (parameters.isEmpty() || !scope.isFlow() && !scope.core.has(DETAILS)) {
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

  private static void addDetails(RunScope scope, RunCreated.Builder created, CodeLocation code) {
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
    if (code != null) {
      created.setCode(code);
    }
  }

  static Event log(
      RunScope scope,
      int level,
      String logger,
      String message,
      Instant time,
      int index,
      int count) {
    LogRecord.Builder record =
        LogRecord.newBuilder()
            .setRunId(scope.id())
            .setLevelValue(level)
            .setTime(ProcessClock.timestamp(time))
            .setLogger(Text.shortened(logger, Text.MAX_NAME_BYTES))
            .setMessage(message)
            .setAttempt(scope.attempt())
            .setTraceId(scope.trace.traceId())
            .setSpanId(scope.trace.spanId(scope.attempt()));
    if (count > 1) {
      record.setChunkIndex(index).setChunkCount(count);
    }
    return Event.newBuilder().setLog(record).build();
  }
}
