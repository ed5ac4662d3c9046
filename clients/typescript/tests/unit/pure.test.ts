/** Rules without I/O: ids, texts, carriers, addresses, the outbox, frames, back-off. */

import { readFileSync } from "node:fs";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../src/address.js";
import { enumName, enumNumber } from "../../src/api/records.js";
import { nowUs } from "../../src/core/clock.js";
import { hexToId, idToHex, isId, newId } from "../../src/core/ids.js";
import { jsonPayload, NotJsonError, Payload } from "../../src/core/json.js";
import { byteLength, chunks, clean, shorten, truncate } from "../../src/core/text.js";
import { delay, Wakeup } from "../../src/core/waiting.js";
import { FlowspanError } from "../../src/errors.js";
import { ReportRequestSchema } from "../../src/gen/flowspan/v1/report_service_pb.js";
import { StateType } from "../../src/gen/flowspan/v1/state_pb.js";
import { Backoff } from "../../src/reporter/backoff.js";
import { batchFrame, encodeEvent, FRAME_OVERHEAD_BYTES } from "../../src/reporter/frames.js";
import { EVENT_OVERHEAD_BYTES, Outbox } from "../../src/reporter/outbox.js";
import { resourceOf } from "../../src/reporter/resource.js";
import {
  formatRunContext,
  formatTracestate,
  incomingFromHeaders,
  parseRunContext,
  parseSpan,
} from "../../src/runs/carriers.js";
import { exponentialBackoff, retryDelayMs } from "../../src/runs/options.js";
import { VERSION } from "../../src/version.js";

describe("ids", () => {
  test("are UUIDv7, distinct and sorted, also within a millisecond and when the clock goes back", () => {
    const now = Date.now() + 10_000;
    const ids = Array.from({ length: 10_000 }, (_, index) => newId(index % 2 ? now : now - 50));
    expect(ids.every((id) => isId(id) && id[14] === "7" && "89ab".includes(id[19]!))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    expect([...ids].sort()).toEqual(ids);
    expect(Number.parseInt(idToHex(ids[0]!).slice(0, 12), 16)).toBeGreaterThanOrEqual(now - 50);
    expect(hexToId(idToHex(ids[0]!))).toBe(ids[0]);
  });
});

describe("texts", () => {
  test("NUL and halves of surrogate pairs are replaced", () => {
    expect(clean("a\0b")).toBe("a␀b");
    expect(clean("a\ud800b")).toBe("a\ufffdb");
    expect(clean("🦦 ok")).toBe("🦦 ok");
  });

  test("are cut at characters", () => {
    expect(truncate("aé€🦦", 3)).toBe("aé");
    expect(truncate("aé€🦦", 9)).toBe("aé€");
    expect(truncate("aé€🦦", 10)).toBe("aé€🦦");
    const long = shorten("🦦".repeat(1000), 500);
    expect(byteLength(long)).toBeLessThanOrEqual(500);
    expect(long).toMatch(/^🦦+\n… \d+ bytes left out …\n🦦+$/u);
  });

  test("pieces join to the whole", () => {
    const text = "a€🦦é".repeat(500);
    for (const size of [4, 5, 7, 100]) {
      const pieces = chunks(text, size);
      expect(pieces.join("")).toBe(text);
      expect(Math.max(...pieces.map(byteLength))).toBeLessThanOrEqual(size);
    }
    expect(chunks("", 10)).toEqual([""]);
  });
});

describe("JSON", () => {
  test("values and refusals", () => {
    expect(new Payload("json", jsonPayload({ a: [1, "x"] }, 100).data).json()).toEqual({
      a: [1, "x"],
    });
    expect(() => jsonPayload("x".repeat(100), 50)).toThrow(/at most 50/);
    expect(() => jsonPayload(1n, 50)).toThrow(NotJsonError);
    const hostile = {
      toJSON() {
        throw new Error("no");
      },
    };
    expect(() => jsonPayload(hostile, 50)).toThrow(/no/);
    let deep: unknown = "[".repeat(600);
    expect(() => jsonPayload(deep, 10_000)).not.toThrow();
    for (let level = 0; level < 501; level++) deep = [deep];
    expect(() => jsonPayload(deep, 10_000)).toThrow(/500 levels/);
    expect(() => new Payload("pickle", new Uint8Array()).json()).toThrow(/pickle/);
  });
});

describe("the run context", () => {
  const run = { runId: newId(), rootRunId: newId() };

  test("is written and read", () => {
    expect(parseRunContext(formatRunContext(run))).toEqual(run);
    const top = { runId: run.runId, rootRunId: run.runId };
    expect(formatRunContext(top)).toBe(`r:${idToHex(run.runId)}`);
    expect(parseRunContext(`${formatRunContext(top)};x:new`)).toEqual(top);
  });

  test.each([
    ["", "r:", "r:123", `t:${"0".repeat(32)}`, "x", "r:a;r:b"],
    [
      "r:0199C0DE000070008000000000000001",
      "r:0199c0de000040008000000000000001",
      `r:${"0".repeat(600)}`,
    ],
  ])("malformed texts are ignored", (...texts) => {
    for (const text of texts) expect(parseRunContext(text)).toBeUndefined();
  });

  test("travels in headers, and in the tracestate of a trace", () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const span = parseSpan(traceparent, "vendor=1,flowspan=old")!;
    expect(span.tracestate).toBe("vendor=1");
    const tracestate = formatTracestate(span, run);
    expect(tracestate).toBe(`flowspan=${formatRunContext(run)},vendor=1`);
    expect(incomingFromHeaders(new Headers({ traceparent, tracestate }))).toEqual({ run, span });
    expect(incomingFromHeaders({ "Flowspan-Run": formatRunContext(run) })).toEqual({ run });
    expect(incomingFromHeaders({})).toEqual({});
  });

  test.each([
    "ff-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01",
    "00-00000000000000000000000000000000-bbbbbbbbbbbbbbbb-01",
    "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000000000000000-01",
    "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01-more",
    "00-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-bbbbbbbbbbbbbbbb-01",
    "nonsense",
  ])("the traceparent %s is ignored", (text) => {
    expect(parseSpan(text, "")).toBeUndefined();
  });

  test("a long tracestate keeps the run, and drops the rest", () => {
    const members = Array.from(
      { length: 40 },
      (_, index) => `vendor${index}=${"v".repeat(20)}`,
    ).join(",");
    const text = formatTracestate({ traceId: "", spanId: "", flags: "", tracestate: members }, run);
    expect(text.length).toBeLessThanOrEqual(512);
    expect(text.startsWith(`flowspan=${formatRunContext(run)},vendor0=`)).toBe(true);
  });
});

describe("addresses", () => {
  test.each([
    ["127.0.0.1:4600", { host: "127.0.0.1", port: 4600, path: "" }],
    ["[::1]:4600", { host: "::1", port: 4600, path: "" }],
    [" service.example:80 ", { host: "service.example", port: 80, path: "" }],
    ["unix:/run/flowspan.sock", { host: "", port: 0, path: "/run/flowspan.sock" }],
    ["unix:///run/flowspan.sock", { host: "", port: 0, path: "/run/flowspan.sock" }],
  ])("%s", (text, parts) => {
    expect(parseAddress(text)).toMatchObject(parts);
  });

  test.each([
    ["http://x:1", /not a URL/],
    ["host", /no port/],
    ["host:0", /malformed/],
    ["host:99999", /malformed/],
    ["a b:1", /malformed/],
    ["unix:relative", /absolute/],
    ["unix:", /absolute/],
  ])("%s is refused, and the message shows a valid form", (text, message) => {
    expect(() => parseAddress(text, "FLOWSPAN_ADDRESS")).toThrow(message);
    expect(() => parseAddress(text, "FLOWSPAN_ADDRESS")).toThrow(
      /FLOWSPAN_ADDRESS.*expected host:port/,
    );
  });
});

describe("the outbox", () => {
  const event = (size: number) => new Uint8Array(size);
  const limits = { maxBytes: 1000, maxEvents: 100, window: 100 };

  test("hands out each event once, acks are cumulative, and a resume sends the rest again", () => {
    const outbox = new Outbox(100, 10_000);
    for (let index = 0; index < 5; index++) outbox.add(event(10));
    expect(outbox.next({ ...limits, maxEvents: 2 })).toMatchObject({
      firstSequence: 1,
      events: { length: 2 },
    });
    expect(outbox.next(limits)).toMatchObject({ firstSequence: 3, events: { length: 3 } });
    expect(outbox.next(limits)).toBeUndefined();
    outbox.ack(2);
    expect(outbox.size).toBe(3);
    outbox.ack(1);
    expect(outbox.ackedSequence).toBe(2);
    outbox.resume(3);
    expect(outbox.next(limits)).toMatchObject({ firstSequence: 4, events: { length: 2 } });
    outbox.ack(99);
    expect(outbox).toMatchObject({ size: 0, ackedSequence: 5, lastSequence: 5, unsent: 0 });
  });

  test("batches keep the limits of bytes and of the window", () => {
    const outbox = new Outbox(100, 100_000);
    for (let index = 0; index < 10; index++) outbox.add(event(300));
    const batch = outbox.next(limits)!;
    expect(batch.events).toHaveLength(Math.floor(1000 / (300 + EVENT_OVERHEAD_BYTES)));
    expect(outbox.next({ ...limits, window: 4 })!.events).toHaveLength(1);
    expect(outbox.next({ ...limits, window: 4 })).toBeUndefined();
    outbox.add(event(5000));
    outbox.ack(10);
    expect(outbox.next(limits)!.events).toHaveLength(1);
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
      const data = toBinary(
        ReportRequestSchema,
        batchFrame({ firstSequence: 300_000_000_000, events }),
      );
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
});

describe("waiting", () => {
  test("back-off doubles up to its bound, with jitter, and takes longer if asked", () => {
    const backoff = new Backoff(100, 1000, () => 0);
    expect([1, 2, 3, 4, 5, 6].map(() => backoff.next())).toEqual([50, 100, 200, 400, 500, 500]);
    expect(backoff.next(700)).toBe(700);
    expect(backoff.next(60_000)).toBe(1000);
    backoff.reset();
    expect(backoff.next()).toBe(50);
  });

  test("a wake-up before the wait is not lost", async () => {
    const wakeup = new Wakeup();
    wakeup.set();
    expect(await wakeup.wait(1)).toBe(true);
    expect(await wakeup.wait(1)).toBe(false);
    const waiting = wakeup.wait();
    wakeup.set();
    expect(await waiting).toBe(true);
  });

  test("a signal ends a delay with its reason", async () => {
    const controller = new AbortController();
    const waiting = delay(60_000, controller.signal);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(delay(60_000, controller.signal)).rejects.toThrow("enough");
  });

  test("delays of retries", () => {
    expect(retryDelayMs({ retryDelayMs: 5 }, 3)).toBe(5);
    expect(retryDelayMs({ retryDelayMs: [1, 2] }, 5)).toBe(2);
    expect(retryDelayMs({ retryDelayMs: [] }, 1)).toBe(0);
    expect(retryDelayMs({ retryDelayMs: () => Number.NaN }, 1)).toBe(0);
    expect(retryDelayMs({ retryDelayMs: 10, retryJitter: 0.5 }, 1, () => 1)).toBe(15);
    expect([1, 2, 3, 20].map(exponentialBackoff(100, 1000))).toEqual([100, 200, 400, 1000]);
  });
});

test("the clock has microseconds and never goes back", () => {
  const times = Array.from({ length: 1000 }, () => nowUs());
  expect(times.every((time, index) => index === 0 || time >= times[index - 1]!)).toBe(true);
  expect(Math.abs(times[0]! / 1000 - Date.now())).toBeLessThan(1000);
});

test("enum values that are newer than the client survive", () => {
  expect(enumName(StateType, 6)).toBe("COMPLETED");
  expect(enumNumber(StateType, "COMPLETED")).toBe(6);
  expect(enumNumber(StateType, enumName(StateType, 42))).toBe(42);
  expect(() => enumNumber(StateType, "NONSENSE")).toThrow(/NONSENSE/);
});

test("the resource follows the variables of OpenTelemetry", () => {
  expect(
    resourceOf({ OTEL_RESOURCE_ATTRIBUTES: "a=1, b=x%20y,broken,c=%zz", OTEL_SERVICE_NAME: "etl" }),
  ).toEqual({ a: "1", b: "x y", c: "%zz", "service.name": "etl" });
});

test("errors say whether a repetition may help", () => {
  const error = (code: string, reason = "") => new FlowspanError("x", { code, reason });
  expect(error("UNAVAILABLE").retryable).toBe(true);
  expect(error("RESOURCE_EXHAUSTED", "OVERLOADED").retryable).toBe(true);
  expect(error("RESOURCE_EXHAUSTED", "ANSWER_TOO_LARGE").retryable).toBe(false);
  expect(error("NOT_FOUND").retryable).toBe(false);
});

test("the version is that of the package", () => {
  const file = new URL("../../package.json", import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8")).version).toBe(VERSION);
});
