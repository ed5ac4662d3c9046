/**
 * Task runs that begin and end within one batch, reported as one event instead of three
 * (flowspan.v1.RunCompleted; docs/protocol.md, "Short runs").
 *
 * Such a run is most of all traffic, and the service spends less time on one event. The outbox keeps
 * the three events, with their sequences. Before they are sent for the first time, they move next to
 * each other, to the place of the creation; only their frame joins them. So a batch can be sent again
 * in either form.
 *
 * The order of two events matters only if one of them depends on the other. So a run stays in three
 * events if an event about it other than a log record is in between, or the creation of a run below
 * it.
 */

import { WireType } from "@bufbuild/protobuf/wire";
import type { OutboxEvent } from "./outbox.js";
import { afterField, contentOf, findField } from "./wire.js";
import { Writer } from "./writer.js";

/** The capability of services that know the event. */
export const CAPABILITY = "run_completed.v1";

/** The part of an event in the life of a run. */
export type Step =
  /** The creation of a run: of a task that may be short, if `isTask`. */
  | { kind: "created"; runId: string; parentRunId: string; isTask: boolean }
  /** RUNNING in the first attempt, with nothing but its time. */
  | { kind: "running"; runId: string }
  /** A terminal state in the first attempt. */
  | { kind: "ended"; runId: string }
  /** Anything else that must keep its place among the events of the run. */
  | { kind: "other"; runId: string };

/** The indexes of the events of a short run after its creation. */
interface Places {
  running: number;
  ended: number;
}

const NONE = -1;
const SEQUENCES = 3;

/**
 * Move the three events of each short run next to each other.
 *
 * @returns The events in their new order; undefined if the order stays.
 */
export function gathered(events: readonly OutboxEvent[]): OutboxEvent[] | undefined {
  const found = shortRuns(events);
  if (found.size === 0) return undefined;
  const moved = new Set<number>();
  let isInOrder = true;
  for (const [created, { running, ended }] of found) {
    moved.add(running).add(ended);
    if (running !== created + 1 || ended !== created + 2) isInOrder = false;
  }
  if (isInOrder) return undefined;
  const ordered: OutboxEvent[] = [];
  events.forEach((event, index) => {
    if (moved.has(index)) return;
    ordered.push(event);
    const run = found.get(index);
    if (run === undefined) return;
    ordered.push(events[run.running] as OutboxEvent, events[run.ended] as OutboxEvent);
  });
  return ordered;
}

/** Return the places of the RUNNING and terminal events of short runs, by that of the creation. */
function shortRuns(events: readonly OutboxEvent[]): Map<number, Places> {
  const candidates = new Map<string, { created: number; running: number }>();
  const found = new Map<number, Places>();
  events.forEach(({ step }, index) => {
    if (step === undefined) return;
    if (step.kind === "created") {
      candidates.delete(step.parentRunId);
      if (step.isTask) candidates.set(step.runId, { created: index, running: NONE });
      return;
    }
    const candidate = candidates.get(step.runId);
    if (candidate === undefined) return;
    const { created, running } = candidate;
    if (step.kind === "running" && running === NONE) {
      candidate.running = index;
      return;
    }
    if (step.kind === "ended" && running !== NONE) found.set(created, { running, ended: index });
    candidates.delete(step.runId);
  });
  return found;
}

/**
 * Join each three events that stand next to each other and are a short run.
 *
 * @returns The encoded events. Those of a short run take three sequences.
 */
export function joined(events: readonly OutboxEvent[]): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let index = 0; index < events.length; ) {
    const created = events[index] as OutboxEvent;
    const running = events[index + 1];
    const ended = events[index + 2];
    if (running !== undefined && ended !== undefined && isShortRun(created, running, ended)) {
      found.push(join(created.data, running.data, ended.data));
      index += SEQUENCES;
    } else {
      found.push(created.data);
      index++;
    }
  }
  return found;
}

function isShortRun(created: OutboxEvent, running: OutboxEvent, ended: OutboxEvent): boolean {
  return (
    created.step?.kind === "created" &&
    created.step.isTask &&
    running.step?.kind === "running" &&
    ended.step?.kind === "ended" &&
    running.step.runId === created.step.runId &&
    ended.step.runId === created.step.runId
  );
}

// The numbers of fields of flowspan.v1.Event, StateEntered, State and RunCompleted.
const RUN_COMPLETED = 6;
const ENTERED_STATE = 3;
const STATE_TIME = 4;
const START_TIME = 2;

const writer = new Writer();

/**
 * Return the Event of a short run, put together from those of its three parts.
 *
 * The creation has the number 1 in both, and the state 3, so these fields are copied as they are.
 */
function join(created: Uint8Array, running: Uint8Array, ended: Uint8Array): Uint8Array {
  const state = contentOf(running, findField(running, contentOf(running, 0), ENTERED_STATE));
  const time = findField(running, state, STATE_TIME);
  const mark = writer.begin(RUN_COMPLETED);
  writer.raw(created);
  const timeEnd = afterField(running, time, WireType.LengthDelimited);
  writer.bytes(START_TIME, running.subarray(contentOf(running, time), timeEnd));
  writer.raw(ended.subarray(findField(ended, contentOf(ended, 0), ENTERED_STATE)));
  writer.end(mark);
  return writer.finish();
}
