/** The events of runs, encoded for the outbox. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestamp } from "../core/clock.js";
import { failureOf } from "../core/failures.js";
import {
  MAX_MESSAGE_BYTES,
  MAX_NAME_BYTES,
  MAX_RUN_DESCRIPTION_BYTES,
  MAX_TAGS,
} from "../core/limits.js";
import { clean, shorten, truncate } from "../core/text.js";
import { ArtifactChangeSchema, ArtifactSchema } from "../gen/flowspan/v1/artifact_pb.js";
import { type LogLevel, LogRecordSchema } from "../gen/flowspan/v1/log_pb.js";
import type { Payload } from "../gen/flowspan/v1/payload_pb.js";
import { RunCreatedSchema, RunKind, StateEnteredSchema } from "../gen/flowspan/v1/report_pb.js";
import { type State, StateSchema, StateType } from "../gen/flowspan/v1/state_pb.js";
import { encodeEvent } from "../reporter/frames.js";
import type { OutboxEvent } from "../reporter/outbox.js";
import type { Step } from "../reporter/short_runs.js";

/** A state as a run enters it. */
export interface EnteredState {
  type: StateType;
  name: string;
  message?: string;
  /** Microseconds since 1970 UTC. */
  atUs: number;
  /** With SCHEDULED: when the run continues, in microseconds since 1970 UTC. */
  scheduledUs?: number;
  /** With FAILED and CRASHED: what was thrown. */
  error?: { thrown: unknown };
  /** With COMPLETED: the result. */
  result?: Payload | undefined;
}

const TERMINAL = new Set([
  StateType.COMPLETED,
  StateType.FAILED,
  StateType.CANCELLED,
  StateType.CRASHED,
]);

/** Return the tags that the protocol allows. */
export function cleanTags(tags: readonly string[]): string[] {
  return tags
    .slice(0, MAX_TAGS)
    .map((tag) => truncate(tag, MAX_NAME_BYTES))
    .filter((tag) => tag !== "");
}

/** Return the name of a flow, a task or a run that the protocol allows. */
export function cleanName(name: string): string {
  return truncate(name, MAX_NAME_BYTES);
}

/** Return the description that the protocol allows. */
export function cleanDescription(text: string): string {
  return shorten(text, MAX_RUN_DESCRIPTION_BYTES);
}

function stateMessage(state: EnteredState): State {
  const message = create(StateSchema, {
    type: state.type,
    name: state.name,
    message: state.message ? shorten(state.message, MAX_MESSAGE_BYTES) : "",
    time: timestamp(state.atUs),
  });
  if (state.scheduledUs !== undefined) message.scheduledTime = timestamp(state.scheduledUs);
  if (state.error !== undefined) message.failure = failureOf(state.error.thrown);
  if (state.result !== undefined) message.result = state.result;
  return message;
}

/** Encode the creation of a run, in the state PENDING. */
export function createdEvent(
  run: Omit<MessageInitShape<typeof RunCreatedSchema>, "$typeName" | "state">,
  createdUs: number,
): OutboxEvent {
  const state = stateMessage({ type: StateType.PENDING, name: "Pending", atUs: createdUs });
  const value = create(RunCreatedSchema, { ...run, state });
  const { runId, parentRunId, kind } = value;
  return {
    data: encodeEvent({ case: "runCreated", value }),
    step: { kind: "created", runId, parentRunId, isTask: kind === RunKind.TASK },
  };
}

/** Encode a state that a run entered. */
export function stateEvent(runId: string, attempt: number, state: EnteredState): OutboxEvent {
  const value = create(StateEnteredSchema, { runId, attempt, state: stateMessage(state) });
  return {
    data: encodeEvent({ case: "stateEntered", value }),
    step: { kind: stepOf(attempt, state), runId },
  };
}

function stepOf(attempt: number, state: EnteredState): Exclude<Step["kind"], "created"> {
  if (attempt !== 1) return "other";
  if (TERMINAL.has(state.type)) return "ended";
  const isPlain = state.type === StateType.RUNNING && state.name === "Running" && !state.message;
  return isPlain ? "running" : "other";
}

/** A log record, or a piece of a long one. */
export interface LogPiece {
  runId: string;
  attempt: number;
  level: number;
  atUs: number;
  logger: string;
  message: string;
  traceId: string;
  spanId: string;
  chunkIndex: number;
  chunkCount: number;
}

/** Encode a log record. */
export function logEvent(piece: LogPiece): OutboxEvent {
  const { atUs, level, logger, ...rest } = piece;
  const value = create(LogRecordSchema, {
    ...rest,
    level: level as LogLevel,
    logger: cleanName(logger),
    time: timestamp(atUs),
  });
  return { data: encodeEvent({ case: "log", value }) };
}

/** Encode the creation of an artifact. */
export function artifactEvent(artifact: {
  id: string;
  key: string;
  type: string;
  description: string;
  data: Payload;
  runId: string;
  atUs: number;
}): OutboxEvent {
  const { atUs, description, ...rest } = artifact;
  const value = create(ArtifactSchema, {
    ...rest,
    description: shorten(description, MAX_MESSAGE_BYTES),
    createTime: timestamp(atUs),
  });
  return {
    data: encodeEvent({ case: "artifactCreated", value }),
    step: { kind: "other", runId: artifact.runId },
  };
}

/** Encode a change to an artifact of a run. */
export function artifactChangeEvent(change: {
  id: string;
  runId: string;
  data?: Payload;
  description?: string;
  atUs: number;
}): OutboxEvent {
  const value = create(ArtifactChangeSchema, { id: change.id, changeTime: timestamp(change.atUs) });
  if (change.data !== undefined) value.data = change.data;
  if (change.description !== undefined) value.description = clean(change.description);
  return {
    data: encodeEvent({ case: "artifactChanged", value }),
    step: { kind: "other", runId: change.runId },
  };
}
