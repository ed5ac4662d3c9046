/**
 * The events of runs in the wire format: the fields of the messages, in the order of their numbers.
 *
 * Nothing here calls code of users, which could log, and so write into the same memory.
 */

import type { Payload } from "../gen/flowspan/v1/payload_pb.js";
import type { RunKind } from "../gen/flowspan/v1/report_pb.js";
import type { StateType } from "../gen/flowspan/v1/state_pb.js";
import { Writer } from "../reporter/writer.js";
import type { Place } from "./code.js";

/** A state (flowspan.v1.State). */
export interface EncodableState {
  type: StateType;
  name: string;
  message: string;
  /** Microseconds since 1970 UTC. */
  atUs: number;
  /** Microseconds since 1970 UTC. */
  scheduledUs?: number | undefined;
  /** The encoded flowspan.v1.Failure. */
  failure?: Uint8Array | undefined;
  result?: Payload | undefined;
}

/** The trace context of a run (flowspan.v1.TraceContext). */
export interface RunTrace {
  traceparent: string;
  tracestate: string;
  parentSpanId: string;
  exportedByService: boolean;
}

/** A run as it is created (flowspan.v1.RunCreated). Texts have at most the size that it allows. */
export interface CreatedRun {
  runId: string;
  kind: RunKind;
  functionName: string;
  runName: string;
  parentRunId: string;
  rootRunId: string;
  flowRunId: string;
  tags: readonly string[];
  parameters?: Payload | undefined;
  trace?: RunTrace | undefined;
  version: string;
  description: string;
  maxAttempts: number;
  inputs: readonly { runId: string; parameter: string }[];
  code?: Place | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
}

/** A log record, or a piece of a long one (flowspan.v1.LogRecord). */
export interface LogPiece {
  runId: string;
  attempt: number;
  level: number;
  /** Microseconds since 1970 UTC. */
  atUs: number;
  logger: string;
  message: string;
  traceId: string;
  spanId: string;
  chunkIndex: number;
  chunkCount: number;
}

const RUN_CREATED = 1;
const STATE_ENTERED = 2;
const LOG = 3;

const writer = new Writer();

/** Encode the creation of a run, with its first state. */
export function encodeCreated(run: CreatedRun, state: EncodableState): Uint8Array {
  const mark = writer.begin(RUN_CREATED);
  writer.text(1, run.runId);
  writer.number(2, run.kind);
  writer.text(3, run.functionName);
  writer.text(4, run.runName);
  writer.text(5, run.parentRunId);
  writer.text(6, run.rootRunId);
  writer.text(7, run.flowRunId);
  writeState(8, state);
  for (const tag of run.tags) writer.text(9, tag);
  if (run.parameters !== undefined) writePayload(10, run.parameters);
  if (run.trace !== undefined) writeTrace(11, run.trace);
  writer.text(12, run.version);
  writer.text(13, run.description);
  writer.number(14, run.maxAttempts);
  for (const input of run.inputs) writeTexts(15, input.runId, input.parameter);
  if (run.code !== undefined) writeCode(16, run.code);
  if (run.labels !== undefined) {
    for (const [key, value] of Object.entries(run.labels)) writeTexts(17, key, value);
  }
  writer.end(mark);
  return writer.finish();
}

/** Encode a state that a run entered. */
export function encodeState(runId: string, attempt: number, state: EncodableState): Uint8Array {
  const mark = writer.begin(STATE_ENTERED);
  writer.text(1, runId);
  writer.number(2, attempt);
  writeState(3, state);
  writer.end(mark);
  return writer.finish();
}

/** Encode a log record. */
export function encodeLog(piece: LogPiece): Uint8Array {
  const mark = writer.begin(LOG);
  writer.text(2, piece.runId);
  writer.number(3, piece.level);
  writer.timestamp(4, piece.atUs);
  writer.text(5, piece.logger);
  writer.text(6, piece.message);
  writer.text(7, piece.traceId);
  writer.text(8, piece.spanId);
  writer.number(9, piece.chunkIndex);
  writer.number(10, piece.chunkCount);
  writer.number(11, piece.attempt);
  writer.end(mark);
  return writer.finish();
}

function writeState(field: number, state: EncodableState): void {
  const mark = writer.begin(field);
  writer.number(1, state.type);
  writer.text(2, state.name);
  writer.text(3, state.message);
  writer.timestamp(4, state.atUs);
  if (state.scheduledUs !== undefined) writer.timestamp(5, state.scheduledUs);
  if (state.failure !== undefined) writer.bytes(6, state.failure);
  if (state.result !== undefined) writePayload(7, state.result);
  writer.end(mark);
}

function writePayload(field: number, payload: Payload): void {
  const mark = writer.begin(field);
  writer.text(1, payload.encoding);
  if (payload.data.length > 0) writer.bytes(2, payload.data);
  writer.end(mark);
}

function writeTrace(field: number, trace: RunTrace): void {
  const mark = writer.begin(field);
  writer.text(1, trace.traceparent);
  writer.text(2, trace.tracestate);
  writer.text(3, trace.parentSpanId);
  writer.number(4, Number(trace.exportedByService));
  writer.end(mark);
}

function writeCode(field: number, place: Place): void {
  const mark = writer.begin(field);
  writer.text(1, place.filePath);
  writer.number(2, place.line);
  writer.text(3, place.function);
  writer.end(mark);
}

/** Write a message with two texts: an input, or an entry of a map. */
function writeTexts(field: number, first: string, second: string): void {
  const mark = writer.begin(field);
  writer.text(1, first);
  writer.text(2, second);
  writer.end(mark);
}
