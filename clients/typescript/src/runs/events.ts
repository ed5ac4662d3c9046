/** The events of runs, encoded for the outbox. */

import { create, toBinary } from "@bufbuild/protobuf";
import { timestamp } from "../core/clock.js";
import { failureOf } from "../core/failures.js";
import {
  MAX_MESSAGE_BYTES,
  MAX_NAME_BYTES,
  MAX_RUN_DESCRIPTION_BYTES,
  MAX_TAGS,
} from "../core/limits.js";
import { shorten, truncate } from "../core/text.js";
import { ArtifactChangeSchema, ArtifactSchema } from "../gen/flowspan/v1/artifact_pb.js";
import { FailureSchema } from "../gen/flowspan/v1/failure_pb.js";
import type { Payload } from "../gen/flowspan/v1/payload_pb.js";
import { RunKind } from "../gen/flowspan/v1/report_pb.js";
import { StateType } from "../gen/flowspan/v1/state_pb.js";
import { encodeEvent } from "../reporter/frames.js";
import type { OutboxEvent } from "../reporter/outbox.js";
import type { Step } from "../reporter/short_runs.js";
import {
  type CreatedRun,
  type EncodableState,
  encodeCreated,
  encodeLog,
  encodeState,
  type LogPiece,
} from "./encoding.js";

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

function encodable(state: EnteredState): EncodableState {
  const { type, name, atUs, scheduledUs, result, error } = state;
  const message = state.message ? shorten(state.message, MAX_MESSAGE_BYTES) : "";
  const failure =
    error === undefined ? undefined : toBinary(FailureSchema, failureOf(error.thrown));
  return { type, name, message, atUs, scheduledUs, failure, result };
}

/** Encode the creation of a run, in the state PENDING. */
export function createdEvent(run: CreatedRun, createdUs: number): OutboxEvent {
  const state = { type: StateType.PENDING, name: "Pending", message: "", atUs: createdUs };
  const { runId, parentRunId, kind } = run;
  return {
    data: encodeCreated(run, state),
    step: { kind: "created", runId, parentRunId, isTask: kind === RunKind.TASK },
  };
}

/** Encode a state that a run entered. */
export function stateEvent(runId: string, attempt: number, state: EnteredState): OutboxEvent {
  return {
    data: encodeState(runId, attempt, encodable(state)),
    step: { kind: stepOf(attempt, state), runId },
  };
}

function stepOf(attempt: number, state: EnteredState): Exclude<Step["kind"], "created"> {
  if (attempt !== 1) return "other";
  if (TERMINAL.has(state.type)) return "ended";
  const isPlain = state.type === StateType.RUNNING && state.name === "Running" && !state.message;
  return isPlain ? "running" : "other";
}

/** Encode a log record. */
export function logEvent(piece: LogPiece): OutboxEvent {
  return { data: encodeLog(piece) };
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
  if (change.description !== undefined)
    value.description = shorten(change.description, MAX_MESSAGE_BYTES);
  return {
    data: encodeEvent({ case: "artifactChanged", value }),
    step: { kind: "other", runId: change.runId },
  };
}
