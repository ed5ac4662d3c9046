/** The records that the API returns, and their conversion from messages. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { dateOf } from "../core/clock.js";
import { type Payload, payloadOf } from "../core/json.js";
import type { Artifact as ArtifactMessage } from "../gen/flowspan/v1/artifact_pb.js";
import type { Failure as FailureMessage } from "../gen/flowspan/v1/failure_pb.js";
import type { Flow as FlowMessage } from "../gen/flowspan/v1/flow_pb.js";
import type { FlowRun as FlowRunMessage } from "../gen/flowspan/v1/flow_run_pb.js";
import {
  LogLevel as LogLevelEnum,
  type LogRecord as LogMessage,
} from "../gen/flowspan/v1/log_pb.js";
import {
  type State as StateMessage,
  StateType as StateTypeEnum,
} from "../gen/flowspan/v1/state_pb.js";
import type { GetInfoResponse } from "../gen/flowspan/v1/system_service_pb.js";
import type { TaskRun as TaskRunMessage } from "../gen/flowspan/v1/task_run_pb.js";
import {
  TransitionCause,
  type Transition as TransitionMessage,
} from "../gen/flowspan/v1/transition_pb.js";
import type { Variable as VariableMessage } from "../gen/flowspan/v1/variable_pb.js";
import { VerdictKind, type Verdict as VerdictMessage } from "../gen/flowspan/v1/verdict_pb.js";

/**
 * The name of an enum value. A value that is newer than this client is its number as text, and can
 * be sent back like the others.
 */
export type Open<Known extends string> = Known | (string & {});

/** The type of a state, by which the rules decide (docs/states.md). */
export type StateType = Open<
  | "SCHEDULED"
  | "PENDING"
  | "RUNNING"
  | "PAUSED"
  | "CANCELLING"
  | "COMPLETED"
  | "FAILED"
  | "CANCELLED"
  | "CRASHED"
>;

/** A level of a log record. The levels of other languages in between are numbers as text. */
export type LogLevel = Open<"DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL">;

/** An error that ended a run. */
export interface Failure {
  /** The type, as its language names it: "TypeError". */
  readonly type: string;
  readonly message: string;
  readonly stackTrace: string;
  /** The error that caused this one. */
  readonly cause?: Failure;
  /** Further causes, such as the members of an AggregateError. */
  readonly otherCauses: readonly Failure[];
}

/** A state of a run. */
export interface State {
  readonly type: StateType;
  /** The name for people: "Retrying", "TimedOut". */
  readonly name: string;
  /** The reason, for people. May be empty. */
  readonly message: string;
  /** The time of entry, in milliseconds; finer digits are dropped. */
  readonly time?: Date;
  /** With SCHEDULED: the time at which the run should continue. */
  readonly scheduledTime?: Date;
  /** With FAILED and CRASHED: the error. */
  readonly failure?: Failure;
  /** With COMPLETED: the result. */
  readonly result?: Payload;
}

/** A run whose result another run took. */
export interface RunInput {
  readonly runId: string;
  /** The parameter that got the result. */
  readonly parameter: string;
}

/** The place of a function in its source. */
export interface CodeLocation {
  readonly filePath: string;
  /** From 1; 0 if unknown. */
  readonly line: number;
  readonly function: string;
}

/** What flow runs and task runs have in common. */
export interface RunRecord {
  readonly id: string;
  /** The name of the run: "brave-otter". */
  readonly name: string;
  /** The run that called it; empty at the top level. */
  readonly parentRunId: string;
  /** The run at the top of the tree. */
  readonly rootRunId: string;
  readonly state: State;
  /** The current attempt, from 1. */
  readonly attempt: number;
  readonly tags: readonly string[];
  readonly parameters?: Payload;
  readonly createTime?: Date;
  readonly startTime?: Date;
  readonly endTime?: Date;
  /** The time spent in RUNNING, in milliseconds. */
  readonly runDurationMs: number;
  /** The W3C traceparent of the run's span. Empty without a trace. */
  readonly traceparent: string;
  /** The span that the run's span is below: 16 hex digits. Empty at the root of a trace. */
  readonly parentSpanId: string;
  readonly version: string;
  readonly sessionId: string;
  readonly transitionCount: number;
  /** Empty in lists and watches. */
  readonly description: string;
  /** 0 if unknown. */
  readonly maxAttempts: number;
  readonly inputs: readonly RunInput[];
  readonly code?: CodeLocation;
}

/** One execution of a flow. */
export interface FlowRun extends RunRecord {
  readonly kind: "flow";
  readonly flowId: string;
  readonly flowName: string;
}

/** One execution of a task. */
export interface TaskRun extends RunRecord {
  readonly kind: "task";
  readonly taskName: string;
  /** The flow run that the task run belongs to; empty outside flows. */
  readonly flowRunId: string;
}

/** A state that a run entered. */
export interface Transition {
  readonly runId: string;
  /** The position in the history of the run: 1, 2, 3, … */
  readonly ordinal: number;
  readonly attempt: number;
  readonly state: State;
  readonly cause: Open<"REPORTED" | "REQUESTED" | "SESSION_LOST">;
  /** By the clock of the service. */
  readonly commitTime?: Date;
}

/** The answer of the rules to a transition (docs/states.md). */
export interface Verdict {
  readonly runId: string;
  readonly kind: Open<"ACCEPTED" | "DUPLICATE" | "REJECTED" | "WAIT" | "ABORT">;
  /** The name of the rule that decided; empty if accepted. */
  readonly rule: string;
  readonly reason: string;
}

/** A log record of a run. Long records are joined from their pieces. */
export interface LogRecord {
  /** The position in the order of commits; of the last piece of a long record. */
  readonly position: bigint;
  readonly runId: string;
  readonly level: LogLevel;
  /** The severity as a number: 20 for INFO. */
  readonly levelNumber: number;
  readonly time?: Date;
  readonly logger: string;
  readonly message: string;
  readonly traceId: string;
  readonly spanId: string;
  /** The attempt that logged it; 0 if unknown. */
  readonly attempt: number;
}

/** Something that a run shows to people. */
export interface Artifact {
  readonly id: string;
  readonly key: string;
  readonly type: string;
  readonly description: string;
  readonly data?: Payload;
  readonly runId: string;
  readonly flowRunId: string;
  readonly createTime?: Date;
  readonly updateTime?: Date;
}

/** A named value that flows and people share. */
export interface Variable<T = unknown> {
  readonly name: string;
  readonly value: T;
  readonly tags: readonly string[];
  readonly createTime?: Date;
  readonly updateTime?: Date;
}

/** A flow, as opposed to its runs. */
export interface Flow {
  readonly id: string;
  readonly name: string;
  readonly createTime?: Date;
}

/** The service itself. */
export interface ServiceInfo {
  readonly version: string;
  readonly database: string;
  readonly startTime?: Date;
  readonly capabilities: readonly string[];
  /** The address of a trace in a trace viewer, with `{trace_id}` for its id; empty without one. */
  readonly traceUrl: string;
}

/** The number of runs by the type of their state. */
export type StateCounts = Partial<Record<StateType, number>>;

const TERMINAL = new Set<string>(["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]);

/** Whether a run in a state of this type has ended. */
export function isTerminal(type: StateType): boolean {
  return TERMINAL.has(type);
}

/** Return the name of an enum value, or its number as text. */
export function enumName(values: Record<number, string>, value: number): string {
  return values[value] ?? String(value);
}

/** Return the number of an enum value by its name. */
export function enumNumber(values: object, name: string): number {
  const known = (values as Record<string, unknown>)[name];
  const value = typeof known === "number" ? known : Number(name);
  if (!Number.isInteger(value)) throw new TypeError(`${JSON.stringify(name)} is not a known value`);
  return value;
}

/** Leave out the members that are undefined, for `exactOptionalPropertyTypes`. */
function present<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const found: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(members)) if (value !== undefined) found[name] = value;
  return found as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** @internal */
export function toFailure(message: FailureMessage): Failure {
  return {
    type: message.type,
    message: message.message,
    stackTrace: message.stackTrace,
    otherCauses: message.otherCauses.map(toFailure),
    ...(message.cause === undefined ? {} : { cause: toFailure(message.cause) }),
  };
}

/** @internal */
export function toState(message: StateMessage | undefined): State {
  return {
    type: enumName(StateTypeEnum, message?.type ?? 0),
    name: message?.name ?? "",
    message: message?.message ?? "",
    ...present({
      time: dateOf(message?.time),
      scheduledTime: dateOf(message?.scheduledTime),
      failure: message?.failure === undefined ? undefined : toFailure(message.failure),
      result: payloadOf(message?.result),
    }),
  };
}

function toRun(message: FlowRunMessage | TaskRunMessage, version: string): RunRecord {
  return {
    id: message.id,
    name: message.name,
    parentRunId: message.parentRunId,
    rootRunId: message.rootRunId,
    state: toState(message.state),
    attempt: message.attempt,
    tags: message.tags,
    runDurationMs: message.runDuration === undefined ? 0 : durationMs(message.runDuration),
    traceparent: message.trace?.traceparent ?? "",
    parentSpanId: message.trace?.parentSpanId ?? "",
    version,
    sessionId: message.sessionId,
    transitionCount: Number(message.transitionCount),
    description: message.description,
    maxAttempts: message.maxAttempts,
    inputs: message.inputs.map(({ runId, parameter }) => ({ runId, parameter })),
    ...present({
      parameters: payloadOf(message.parameters),
      createTime: dateOf(message.createTime),
      startTime: dateOf(message.startTime),
      endTime: dateOf(message.endTime),
      code: message.code && {
        filePath: message.code.filePath,
        line: message.code.line,
        function: message.code.function,
      },
    }),
  };
}

/** @internal */
export function toFlowRun(message: FlowRunMessage): FlowRun {
  return {
    kind: "flow",
    flowId: message.flowId,
    flowName: message.flowName,
    ...toRun(message, message.flowVersion),
  };
}

/** @internal */
export function toTaskRun(message: TaskRunMessage): TaskRun {
  return {
    kind: "task",
    taskName: message.taskName,
    flowRunId: message.flowRunId,
    ...toRun(message, message.taskVersion),
  };
}

/** @internal */
export function toTransition(message: TransitionMessage): Transition {
  return {
    runId: message.runId,
    ordinal: Number(message.ordinal),
    attempt: message.attempt,
    state: toState(message.state),
    cause: enumName(TransitionCause, message.cause),
    ...present({ commitTime: dateOf(message.commitTime) }),
  };
}

/** @internal */
export function toVerdict(message: VerdictMessage | undefined): Verdict {
  return {
    runId: message?.runId ?? "",
    kind: enumName(VerdictKind, message?.kind ?? 0),
    rule: message?.rule ?? "",
    reason: message?.reason ?? "",
  };
}

/** @internal */
export function toLogRecord(message: LogMessage): LogRecord {
  return {
    position: message.position,
    runId: message.runId,
    level: enumName(LogLevelEnum, message.level || LogLevelEnum.INFO),
    levelNumber: message.level || LogLevelEnum.INFO,
    logger: message.logger,
    message: message.message,
    traceId: message.traceId,
    spanId: message.spanId,
    attempt: message.attempt,
    ...present({ time: dateOf(message.time) }),
  };
}

/** @internal */
export function toArtifact(message: ArtifactMessage): Artifact {
  return {
    id: message.id,
    key: message.key,
    type: message.type,
    description: message.description,
    runId: message.runId,
    flowRunId: message.flowRunId,
    ...present({
      data: payloadOf(message.data),
      createTime: dateOf(message.createTime),
      updateTime: dateOf(message.updateTime),
    }),
  };
}

/** @internal */
export function toVariable<T>(message: VariableMessage): Variable<T> {
  return {
    name: message.name,
    value: payloadOf(message.value)?.json() as T,
    tags: message.tags,
    ...present({ createTime: dateOf(message.createTime), updateTime: dateOf(message.updateTime) }),
  };
}

/** @internal */
export function toFlow(message: FlowMessage): Flow {
  return {
    id: message.id,
    name: message.name,
    ...present({ createTime: dateOf(message.createTime) }),
  };
}

/** @internal */
export function toServiceInfo(message: GetInfoResponse): ServiceInfo {
  return {
    version: message.version,
    database: message.database,
    capabilities: message.capabilities,
    traceUrl: message.traceUrl,
    ...present({ startTime: dateOf(message.startTime) }),
  };
}
