/** The parts of the reporter without I/O: the outbox, frames, short runs, pieces of log records. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { timestamp } from "../../src/core/clock.js";
import { newId } from "../../src/core/ids.js";
import { byteLength, chunks } from "../../src/core/text.js";
import { FailureSchema } from "../../src/gen/flowspan/v1/failure_pb.js";
import { LogRecordSchema } from "../../src/gen/flowspan/v1/log_pb.js";
import { PayloadSchema } from "../../src/gen/flowspan/v1/payload_pb.js";
import {
  type Event,
  EventSchema,
  RunCreatedSchema,
  RunKind,
  StateEnteredSchema,
} from "../../src/gen/flowspan/v1/report_pb.js";
import { ReportRequestSchema } from "../../src/gen/flowspan/v1/report_service_pb.js";
import { type State, StateSchema, StateType } from "../../src/gen/flowspan/v1/state_pb.js";
import { Connection } from "../../src/reporter/connection.js";
import { batchFrame, encodeEvent, FRAME_OVERHEAD_BYTES } from "../../src/reporter/frames.js";
import { EVENT_OVERHEAD_BYTES, Outbox, type OutboxEvent } from "../../src/reporter/outbox.js";
import { divided } from "../../src/reporter/pieces.js";
import { gathered, joined } from "../../src/reporter/short_runs.js";
import { contentOf, findField, putVarint, varintSize } from "../../src/reporter/wire.js";
import { Writer } from "../../src/reporter/writer.js";
import type { CreatedRun } from "../../src/runs/encoding.js";
import { artifactEvent, createdEvent, logEvent, stateEvent } from "../../src/runs/events.js";

describe("the outbox", () => {
  const event = (size: number): OutboxEvent => ({ data: new Uint8Array(size) });
  const limits = { maxBytes: 1000, maxEvents: 100, window: 100 };

  function next(outbox: Outbox, given = limits): [first: number, count: number] | undefined {
    const count = outbox.nextCount(given);
    return count === 0 ? undefined : [outbox.take(count), count];
  }

  test("hands out each event once, acks are cumulative, and a resume sends the rest again", () => {
    const outbox = new Outbox(100, 10_000);
    for (let index = 0; index < 5; index++) outbox.add(event(10));
    expect(next(outbox, { ...limits, maxEvents: 2 })).toEqual([1, 2]);
    expect(next(outbox)).toEqual([3, 3]);
    expect(next(outbox)).toBeUndefined();
    outbox.ack(2);
    expect(outbox.size).toBe(3);
    outbox.ack(1);
    expect(outbox.ackedSequence).toBe(2);
    outbox.resume(3);
    expect(next(outbox)).toEqual([4, 2]);
    outbox.ack(99);
    expect(outbox).toMatchObject({ size: 0, ackedSequence: 5, lastSequence: 5, unsent: 0 });
  });

  test("batches keep the limits of bytes and of the window", () => {
    const outbox = new Outbox(100, 100_000);
    for (let index = 0; index < 10; index++) outbox.add(event(300));
    expect(next(outbox)).toEqual([1, Math.floor(1000 / (300 + EVENT_OVERHEAD_BYTES))]);
    expect(next(outbox, { ...limits, window: 4 })).toEqual([4, 1]);
    expect(next(outbox, { ...limits, window: 4 })).toBeUndefined();
    outbox.add(event(5000));
    outbox.ack(10);
    expect(next(outbox)).toEqual([11, 1]);
  });

  test("bounds", () => {
    const outbox = new Outbox(3, 100);
    expect(outbox.hasRoom(1000)).toBe(true);
    outbox.add(event(60));
    expect(outbox.hasRoom(41)).toBe(false);
    expect(outbox.hasRoom(40)).toBe(true);
    outbox.add(event(10));
    outbox.add(event(10));
    expect(outbox.hasRoom(1)).toBe(false);
    outbox.ack(1);
    expect(outbox.hasRoom(80)).toBe(true);
    expect(outbox.discard()).toBe(2);
    expect(outbox.hasRoom(100)).toBe(true);
  });

  test("only events that no service knows are replaced by more or fewer ones", () => {
    const outbox = new Outbox(100, 1000);
    const events = [1, 2, 3, 4, 5].map(event);
    for (const each of events) outbox.add(each);
    outbox.take(3);
    outbox.ack(1);
    outbox.resume(1);
    expect(outbox.unsent).toBe(4);
    expect(outbox.usedSequence).toBe(3);
    expect(outbox.fresh()).toEqual(events.slice(3));
    outbox.replaceFresh(1, [event(900), event(80)]);
    expect(outbox.lastSequence).toBe(6);
    expect(outbox.range(2, 5).map(({ data }) => data.length)).toEqual([2, 3, 900, 80, 5]);
    // The bytes are counted: 990 of 1000 are in use.
    expect([outbox.hasRoom(10), outbox.hasRoom(11)]).toEqual([true, false]);
    outbox.take(5);
    outbox.notReceived(4);
    expect(outbox.fresh()).toHaveLength(3);
  });

  test("a million events pass through without growing", () => {
    const outbox = new Outbox(100, 10_000);
    for (let index = 0; index < 1_000_000; index++) {
      outbox.add(event(1));
      if (index % 50 === 0) outbox.ack(outbox.lastSequence);
    }
    outbox.ack(1_000_000);
    expect(outbox.size).toBe(0);
    expect((outbox as unknown as { events: unknown[] }).events.length).toBeLessThan(5_000);
  });
});

describe("frames", () => {
  test("a batch is the same as the message that protobuf would write", () => {
    for (const count of [1, 3, 200]) {
      const events = Array.from({ length: count }, (_, index) =>
        encodeEvent({ case: "log", value: { message: "x".repeat(index * 7) } as never }),
      );
      const data = toBinary(ReportRequestSchema, batchFrame(300_000_000_000, events));
      const read = fromBinary(ReportRequestSchema, data);
      if (read.frame.case !== "batch") throw new Error("no batch");
      expect(read.frame.value.firstSequence).toBe(300_000_000_000n);
      expect(
        read.frame.value.events.map(
          (each) => (each.event.value as { message: string }).message.length,
        ),
      ).toEqual(events.map((_, index) => index * 7));
      const bound = events.reduce(
        (sum, each) => sum + each.length + EVENT_OVERHEAD_BYTES,
        FRAME_OVERHEAD_BYTES,
      );
      expect(data.length).toBeLessThanOrEqual(bound);
    }
  });

  test.each([0, 127, 128, 300, 2 ** 32, 2 ** 45])("the varint of %d", (value) => {
    const data = new Uint8Array(10);
    expect(putVarint(data, 0, value)).toBe(varintSize(value));
    // It is the tag or length of a field that is skipped, too.
    const message = new Uint8Array([0x08, ...data.slice(0, varintSize(value)), 0x12, 1, 7]);
    const tagAt = findField(message, 0, 2);
    expect(message.slice(tagAt)).toEqual(new Uint8Array([0x12, 1, 7]));
    expect(message[contentOf(message, tagAt)]).toBe(7);
  });

  test("fields of all kinds are skipped, and a missing one is an error", () => {
    const fixed = [0x09, ...Array(8).fill(1), 0x15, 1, 1, 1, 1];
    const message = new Uint8Array([...fixed, 0x1a, 0, 0x22, 1, 9]);
    expect(findField(message, 0, 3)).toBe(fixed.length);
    expect(findField(message, 0, 4)).toBe(fixed.length + 2);
    expect(() => findField(message, 0, 5)).toThrow(/no field 5/);
  });

  test("the largest batch in flight is the one that a proxy may have refused", () => {
    const connection = new Connection();
    expect(connection.largestInFlight()).toBeUndefined();
    connection.sent({ firstSequence: 1, count: 3, bytes: 900 });
    connection.sent({ firstSequence: 4, count: 1, bytes: 500 });
    connection.sent({ firstSequence: 5, count: 1, bytes: 10 });
    expect(connection.largestInFlight()?.firstSequence).toBe(1);
    connection.acked(3);
    expect(connection.largestInFlight()?.firstSequence).toBe(4);
    connection.acked(5);
    expect(connection.largestInFlight()).toBeUndefined();
  });
});

const AT_US = 1_700_000_000_123_456;
const BARE: CreatedRun = {
  ...{ runId: newId(), kind: RunKind.TASK, functionName: "f", runName: "", parentRunId: "" },
  ...{ rootRunId: "", flowRunId: "", tags: [], version: "", description: "" },
  ...{ maxAttempts: 1, inputs: [] },
};

describe("the encoding of events is that of protobuf", () => {
  const texts = [
    "",
    "a",
    "größe",
    "x".repeat(127),
    "x".repeat(128),
    "€".repeat(50),
    "€".repeat(400),
  ];
  const longer = ["y".repeat(2000), "🦦".repeat(70_000)];
  const payload = create(PayloadSchema, { encoding: "json", data: new Uint8Array(5000).fill(7) });
  const [time, scheduledTime] = [timestamp(AT_US), timestamp(4_000_000)];

  function expectSame(data: Uint8Array, event: Event["event"]) {
    expect(Buffer.from(data).equals(encodeEvent(event))).toBe(true);
  }

  test.each([...texts, ...longer])("logs", (message) => {
    const record = { runId: newId(), level: 25, logger: "größe", message, attempt: 3 };
    const more = { traceId: "t", spanId: "s", chunkIndex: 200, chunkCount: 300 };
    const { data } = logEvent({ ...record, ...more, atUs: AT_US });
    const value = create(LogRecordSchema, { ...record, ...more, time });
    expectSame(data, { case: "log", value });
  });

  test.each([...texts, ...longer])("states", (text) => {
    const message = text.slice(0, 4000);
    const entered = { type: StateType.COMPLETED, name: message, message };
    const { data } = stateEvent(BARE.runId, 7, {
      ...{ ...entered, atUs: AT_US, scheduledUs: 4_000_000, result: payload },
      error: { thrown: "no" },
    });
    const failure = create(FailureSchema, { type: "string", message: "no" });
    const state = create(StateSchema, {
      ...entered,
      time,
      scheduledTime,
      failure,
      result: payload,
    });
    const value = create(StateEnteredSchema, { runId: BARE.runId, attempt: 7, state });
    expectSame(data, { case: "stateEntered", value });
  });

  test.each(texts)("creations", (text) => {
    const facts = {
      ...{ runId: newId(), kind: RunKind.FLOW, functionName: text, runName: text, rootRunId: "r" },
      ...{ parentRunId: "p", flowRunId: "f", version: text, description: text, maxAttempts: 300 },
      tags: [text, "b"].filter((tag) => tag !== ""),
      inputs: [{ runId: newId(), parameter: "größe" }],
      code: { filePath: text, line: 1234, function: "f" },
      labels: { a: text, b: "c" },
      parameters: payload,
      trace: { traceparent: "tp", tracestate: text, parentSpanId: "s", exportedByService: true },
    };
    const state = { type: StateType.PENDING, name: "Pending", time };
    const value = create(RunCreatedSchema, { ...facts, state: create(StateSchema, state) });
    // An entry of a map without a value has the empty text.
    const { data } = createdEvent(facts, AT_US);
    expect(fromBinary(EventSchema, data).event.value).toEqual(value);
    if (text !== "") expectSame(data, { case: "runCreated", value });
    expectSame(createdEvent(BARE, AT_US).data, {
      case: "runCreated",
      value: create(RunCreatedSchema, {
        ...(BARE as object),
        tags: [],
        inputs: [],
        state: create(StateSchema, state),
      }),
    });
  });

  test("what was handed out is not written again", () => {
    const writer = new Writer();
    const found = Array.from({ length: 3000 }, (_, index) => {
      const mark = writer.begin(1);
      writer.text(2, `${index}`.repeat(50));
      writer.bytes(3, new Uint8Array(index % 7));
      writer.end(mark);
      return writer.finish();
    });
    found.forEach((data, index) => {
      const content = contentOf(data, findField(data, contentOf(data, 0), 2));
      const text = `${index}`.repeat(50);
      expect(new TextDecoder().decode(data.subarray(content, content + text.length))).toBe(text);
    });
  });
});

function created(runId: string, { parentRunId = "", kind = RunKind.TASK } = {}): OutboxEvent {
  return createdEvent({ ...BARE, runId, kind, parentRunId, tags: ["a"] }, AT_US);
}

function running(runId: string): OutboxEvent {
  return stateEvent(runId, 1, { type: StateType.RUNNING, name: "Running", atUs: AT_US + 1 });
}

function ended(runId: string, type = StateType.COMPLETED, attempt = 1): OutboxEvent {
  return stateEvent(runId, attempt, { type, name: "Ended", atUs: AT_US + 2, message: "m" });
}

function log(runId: string, message = "text"): OutboxEvent {
  return logEvent({
    ...{ runId, attempt: 1, level: 20, atUs: AT_US, logger: "l", message },
    ...{ traceId: "", spanId: "", chunkIndex: 0, chunkCount: 0 },
  });
}

function decoded(data: Uint8Array): Event["event"] {
  return fromBinary(EventSchema, data).event;
}

interface StoryRun {
  id: string;
  parentId: string;
  stage: "created" | "running" | "ended";
}

/** Return a function that returns random whole numbers below a limit. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed * 7919 + 1;
  return (limit) => {
    state = (state * 48_271) % 0x7fff_ffff;
    return state % limit;
  };
}

/** Runs that call each other, log, create artifacts, try again and end, at random. */
function randomStory(seed: number) {
  const random = randomNumbers(seed);
  const events: (OutboxEvent | undefined)[] = [];
  const runs: StoryRun[] = [];
  const call = (parentId: string, kind: RunKind) => {
    const child: StoryRun = { id: newId(), parentId, stage: "created" };
    runs.push(child);
    return created(child.id, { parentRunId: parentId, kind });
  };
  for (let step = 0; step < 60; step++) {
    const run = runs[random(Math.max(1, runs.length))];
    const action = random(10);
    const isCall = run === undefined || action < 2;
    const parentId = run?.stage === "running" ? run.id : "";
    events.push(
      isCall
        ? call(parentId, random(5) ? RunKind.TASK : RunKind.FLOW)
        : nextEvent(run, action, random(5) ? 1 : 2),
    );
  }
  return { events: events.filter((event) => event !== undefined), runs };
}

function nextEvent(run: StoryRun, action: number, attempt: number): OutboxEvent | undefined {
  if (action < 4) return log(run.id);
  if (run.stage === "created") {
    run.stage = "running";
    return running(run.id);
  }
  if (run.stage === "ended") return undefined;
  if (action === 4) {
    const facts = { id: newId(), key: "", type: "t", description: "", runId: run.id };
    return artifactEvent({ ...facts, atUs: AT_US, data: {} as never });
  }
  run.stage = "ended";
  return ended(run.id, StateType.COMPLETED, attempt);
}

describe("short runs", () => {
  const [a, b, flow] = [newId(), newId(), newId()] as [string, string, string];

  test("the events of interleaved runs move to the creations, and logs stay in order", () => {
    const events = [
      created(flow, { kind: RunKind.FLOW }),
      ...[created(a, { parentRunId: flow }), created(b, { parentRunId: flow })],
      ...[running(a), log(a), running(b), ended(b, StateType.FAILED), log(flow), ended(a)],
      running(flow),
    ];
    const order = gathered(events)!.map((event) => events.indexOf(event));
    expect(order).toEqual([0, 1, 3, 8, 2, 5, 6, 4, 7, 9]);
  });

  test("nothing moves if they are together", () => {
    expect(gathered([created(a), running(a), ended(a), log(a)])).toBeUndefined();
    expect(gathered([log(a), running(a), ended(a)])).toBeUndefined();
  });

  const artifact = artifactEvent({
    ...{ id: newId(), key: "", type: "t", description: "", runId: a, atUs: AT_US },
    data: {} as never,
  });
  const retrying = stateEvent(a, 2, { type: StateType.RUNNING, name: "Retrying", atUs: AT_US });
  test.each([
    ["a flow", [created(a, { kind: RunKind.FLOW }), running(a), log(a), ended(a)]],
    ["a run with an artifact", [created(a), running(a), artifact, ended(a)]],
    [
      "a run that called another",
      [created(a), running(a), created(b, { parentRunId: a }), ended(a)],
    ],
    ["a second attempt", [created(a), running(a), retrying, ended(a, StateType.COMPLETED, 2)]],
    ["a run that was stopped before it ran", [created(a), log(a), ended(a, StateType.CANCELLED)]],
    ["an open run", [created(a), log(a), running(a)]],
  ])("%s is not short", (_, events) => {
    expect(gathered(events)).toBeUndefined();
    expect(joined(events)).toEqual(events.map(({ data }) => data));
  });

  test("the joined event has all of its three parts", () => {
    const parts = [created(a), running(a), ended(a, StateType.FAILED)];
    const items = joined([log(flow), ...parts, log(a)]);
    expect(items).toHaveLength(3);
    const [creation, run, end] = parts.map(({ data }) => decoded(data).value as { state?: State });
    expect(decoded(items[1]!)).toEqual({
      case: "runCompleted",
      value: {
        $typeName: "flowspan.v1.RunCompleted",
        created: creation,
        startTime: run?.state?.time,
        ended: end?.state,
      },
    });
    // It is smaller, so that a batch of joined events is never larger than its limit.
    expect(items[1]!.length).toBeLessThan(parts.reduce((sum, { data }) => sum + data.length, 0));
  });

  test.each([...Array(40).keys()])("random stories keep what depends on each other, %d", (seed) => {
    const { events, runs } = randomStory(seed);
    const order = gathered(events) ?? events;
    expect(new Set(order)).toEqual(new Set(events));
    const inOrder = (keep: (event: OutboxEvent) => boolean) =>
      expect(order.filter(keep)).toEqual(events.filter(keep));
    inOrder(({ step }) => step === undefined);
    inOrder(({ step }) => step?.kind === "created");
    for (const { id, parentId } of runs) {
      inOrder(({ step }) => step?.runId === id);
      // The run begins before its parent ends.
      inOrder(({ step }) =>
        step?.kind === "created" ? step.runId === id : step?.runId === parentId,
      );
      const about = order.filter((event) => event.step?.runId === id || logOf(event) === id);
      expect(about[0]?.step?.kind).toBe("created");
    }
    const kinds = joined(order).map((data) => decoded(data).case);
    const shortRuns = kinds.filter((kind) => kind === "runCompleted").length;
    expect(kinds).toHaveLength(events.length - 2 * shortRuns);
  });

  test("many runs of these stories are short", () => {
    const counts = [...Array(40).keys()].map((seed) => {
      const { events } = randomStory(seed);
      return events.length - joined(gathered(events) ?? events).length;
    });
    expect(counts.filter((count) => count > 0).length).toBeGreaterThan(20);
  });

  function logOf(event: OutboxEvent): string | undefined {
    if (event.step !== undefined) return undefined;
    const content = decoded(event.data);
    return content.case === "log" ? content.value.runId : undefined;
  }

  test("events that are together, but of different runs, are not joined", () => {
    const events = [created(a), running(b), ended(a)];
    expect(joined(events)).toHaveLength(3);
  });
});

describe("texts in pieces", () => {
  const run = newId();

  function pieces(text: string, maxBytes: number): OutboxEvent[] {
    const texts = chunks(text, maxBytes);
    return texts.map((message, chunkIndex) =>
      logEvent({
        ...{ runId: run, attempt: 2, level: 30, atUs: AT_US, logger: "l", message, chunkIndex },
        ...{ traceId: "t", spanId: "s", chunkCount: texts.length > 1 ? texts.length : 0 },
      }),
    );
  }

  const records = (events: OutboxEvent[]) =>
    events.map(({ data }) => decoded(data).value as { message: string; chunkIndex: number });
  const over = (bytes: number) => (event: OutboxEvent) => event.data.length > bytes;

  test("are divided again, with new numbers, and nothing else is", () => {
    const text = "a€🦦é".repeat(1000);
    const events = [log(run), ...pieces(text, 4000), log(run), ...pieces("b".repeat(3000), 4000)];
    const found = divided(events, over(2000), 1500);
    expect(found.map(({ start, count }) => [start, count])).toEqual([
      [1, 3],
      [5, 1],
    ]);
    const [first, second] = found.map((each) => records(each.pieces));
    expect(first!.map(({ message }) => message).join("")).toBe(text);
    expect(Math.max(...first!.map(({ message }) => byteLength(message)))).toBeLessThanOrEqual(1500);
    first!.forEach((record, chunkIndex) => {
      const whole = { runId: run, attempt: 2, level: 30, logger: "l", traceId: "t", spanId: "s" };
      expect(record).toMatchObject({ ...whole, chunkIndex, chunkCount: first!.length });
    });
    expect(second).toHaveLength(2);
  });

  test("a text of which a part was sent stays", () => {
    const rest = pieces("c".repeat(9000), 4000).slice(1);
    expect(divided(rest, over(2000), 1500)).toEqual([]);
  });

  test("large events of other kinds, and pieces that fit, stay", () => {
    const placeholder = { data: new Uint8Array([0xf8, 0x7c, 1]) };
    const events = [created(run), placeholder, ...pieces("d".repeat(9000), 1000)];
    expect(divided(events, over(2), 1500)).toHaveLength(1);
    expect(divided(events, over(2000), 1500)).toEqual([]);
  });
});
