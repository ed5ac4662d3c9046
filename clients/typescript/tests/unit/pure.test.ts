/** Rules without I/O: ids, texts, carriers, addresses, errors, back-off. */

import { readFileSync } from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../src/address.js";
import { enumName, enumNumber } from "../../src/api/records.js";
import { nowUs } from "../../src/core/clock.js";
import { hexToId, idToHex, isId, newId } from "../../src/core/ids.js";
import { jsonPayload, NotJsonError, Payload } from "../../src/core/json.js";
import { byteLength, chunks, clean, shorten, truncate } from "../../src/core/text.js";
import { delay, Wakeup } from "../../src/core/waiting.js";
import { FlowspanError, flowspanErrorOf, lostCallOf } from "../../src/errors.js";
import { StateType } from "../../src/gen/flowspan/v1/state_pb.js";
import { Backoff } from "../../src/reporter/backoff.js";
import { otlpTargetOf, wantsLogs } from "../../src/reporter/otlp_target.js";
import { resourceOf } from "../../src/reporter/resource.js";
import {
  formatRunContext,
  formatTracestate,
  incomingFromHeaders,
  parseRunContext,
  parseSpan,
} from "../../src/runs/carriers.js";
import { exponentialBackoff, retryDelayMs } from "../../src/runs/options.js";
import { traceUrl } from "../../src/trace/trace_url.js";
import { tlsFromEnviron } from "../../src/transport.js";
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
    const malformed = { traceparent, tracestate, "flowspan-run": "malformed" };
    expect(incomingFromHeaders(malformed)).toEqual({ run, span });
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
  const program = { script: "/jobs/etl.job.mts", host: "here", processId: 7 };
  expect(
    resourceOf(
      {
        OTEL_RESOURCE_ATTRIBUTES: "a=1, b=x%20y,broken,c=%zz,host.name=given",
        OTEL_SERVICE_NAME: "etl",
      },
      program,
    ),
  ).toEqual({
    a: "1",
    b: "x y",
    c: "%zz",
    "service.name": "etl",
    "host.name": "given",
    "process.pid": "7",
  });
  expect(resourceOf({}, program)).toMatchObject({ "service.name": "etl.job", "host.name": "here" });
  const unnamed = { ...program, script: undefined };
  expect(resourceOf({}, unnamed)["service.name"]).toBe("node");
});

describe("the receiver of this process", () => {
  const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
  const http = "http/protobuf";

  test.each([
    [{ [endpoint]: "http://c:4318" }, http, "http://c:4318/v1/traces", ""],
    [{ [endpoint]: "http://c:4317/" }, "grpc", "http://c:4317", ""],
    [{ [endpoint]: "https://c:443/base/?key=x#y" }, http, "https://c:443/base/v1/traces", ""],
    [{ [endpoint]: "https://user:secret@c" }, http, "https://c/v1/traces", ""],
    [
      {
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://c:1/own",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      },
      http,
      "http://c:1/own",
      "",
    ],
    [{ [endpoint]: "c:4317" }, "grpc", "https://c:4317", ""],
    [{ [endpoint]: "c:4317", OTEL_EXPORTER_OTLP_INSECURE: "true" }, "grpc", "http://c:4317", ""],
    [{ [endpoint]: "http://c:4318", FLOWSPAN_OTLP_ENDPOINT: "own:1" }, "grpc", "http://own:1", ""],
    [
      { [endpoint]: "http://c:4318", OTEL_LOGS_EXPORTER: "console, otlp" },
      http,
      "http://c:4318/v1/traces",
      "http://c:4318/v1/logs",
    ],
    [
      { [endpoint]: "http://c:4318", OTEL_TRACES_EXPORTER: "none", OTEL_LOGS_EXPORTER: "otlp" },
      http,
      "",
      "http://c:4318/v1/logs",
    ],
    [{ OTEL_TRACES_EXPORTER: "otlp" }, http, "http://localhost:4318/v1/traces", ""],
  ])("%j", (environ, protocol, tracesUrl, logsUrl) => {
    expect(otlpTargetOf(environ)).toEqual({ protocol, tracesUrl, logsUrl });
  });

  test.each([
    {},
    { [endpoint]: "http://c:4318", OTEL_TRACES_EXPORTER: "console" },
    { [endpoint]: "http://c:4318", OTEL_SDK_DISABLED: "TRUE" },
    { [endpoint]: "http://c:4318", FLOWSPAN_TRACING: "false" },
    { [endpoint]: "http://c:4318", OTEL_EXPORTER_OTLP_PROTOCOL: "carrier-pigeon" },
    { [endpoint]: "ftp://c:4318" },
    { [endpoint]: "http://" },
    { [endpoint]: "http://c:0" },
    { [endpoint]: "http://c:65536" },
    { [endpoint]: "http://c\t:4318" },
    { [endpoint]: "http://c\u200b:4318" },
    { [endpoint]: `http://c/${"a".repeat(1024)}` },
  ])("is not told: %j", (environ) => {
    expect(otlpTargetOf(environ)).toBeUndefined();
  });
});

test("the service exports logs unless the environment says no", () => {
  expect(wantsLogs({})).toBe(true);
  expect(wantsLogs({ OTEL_LOGS_EXPORTER: "otlp", OTEL_SDK_DISABLED: "false" })).toBe(true);
  expect(wantsLogs({ OTEL_LOGS_EXPORTER: "None" })).toBe(false);
  expect(wantsLogs({ OTEL_SDK_DISABLED: "true" })).toBe(false);
});

test.each([
  ["https://own/#{trace_id}", "https://own/#1"],
  ["", undefined],
  ["https://own/", undefined],
  ["javascript:{trace_id}", undefined],
  ["http://own/\x1b{trace_id}", undefined],
  ["http://own/ {trace_id}", undefined],
])("the address of a trace: %s", (page, expected) => {
  expect(traceUrl(page, "1")).toBe(expected);
});

test("errors say whether a repetition may help", () => {
  const error = (code: string, reason = "") => new FlowspanError("x", { code, reason });
  expect(error("UNAVAILABLE").retryable).toBe(true);
  expect(error("RESOURCE_EXHAUSTED", "OVERLOADED").retryable).toBe(true);
  expect(error("RESOURCE_EXHAUSTED", "ANSWER_TOO_LARGE").retryable).toBe(false);
  expect(error("NOT_FOUND").retryable).toBe(false);
});

describe("calls without an answer", () => {
  const lost = (message: string, code: Code, cause?: object) => {
    const error = new ConnectError(message, code);
    if (cause !== undefined) error.cause = Object.assign(new Error(message), cause);
    return error;
  };

  test.each([
    ["cut", lost("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled)],
    ["cut", lost("read ECONNRESET", Code.Aborted, { code: "ECONNRESET", syscall: "read" })],
    ["cut", lost("The pending stream", Code.Internal, { code: "ERR_HTTP2_STREAM_CANCEL" })],
    ["cut", lost("protocol error: missing status", Code.Internal)],
    ["cut", lost("network error", Code.Unknown)],
    ["unreachable", lost("no", Code.Unavailable, { code: "ECONNREFUSED", syscall: "connect" })],
    ["unreachable", lost("no", Code.Internal, { code: "ENOENT", syscall: "connect" })],
    ["unreachable", lost("Failed to fetch", Code.Unknown)],
    ["other peer", lost("no", Code.Internal, { code: "DEPTH_ZERO_SELF_SIGNED_CERT" })],
    ["other peer", lost("no", Code.Internal, { code: "ERR_SSL_WRONG_VERSION_NUMBER" })],
    ["other peer", lost("Protocol error", Code.Internal, { code: "ERR_HTTP2_ERROR" })],
    [undefined, lost("the operation timed out", Code.DeadlineExceeded)],
    [undefined, lost("cannot encode field", Code.Internal)],
    [undefined, new ConnectError("closed", Code.Internal, { "grpc-status": "13" })],
    [undefined, new Error("socket")],
  ])("%s: %s", (how, error) => {
    expect(lostCallOf(error)).toBe(how);
  });

  test("have the code UNAVAILABLE, if the same call may succeed later", () => {
    const own = flowspanErrorOf(lost("This operation was aborted", Code.Canceled), "a:1");
    expect(own).toMatchObject({ code: "CANCELLED", retryable: false });
    const cut = lost("http/2 stream closed with error code CANCEL (0x8)", Code.Canceled);
    expect(flowspanErrorOf(cut, "a:1")).toMatchObject({
      code: "UNAVAILABLE",
      retryable: true,
      message: expect.stringContaining("the connection to the service at a:1 broke"),
    });
  });
});

test("the version is that of the package", () => {
  const file = new URL("../../package.json", import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8")).version).toBe(VERSION);
});

describe("TLS in the environment", () => {
  const file = new URL("../../package.json", import.meta.url).pathname;

  test("is off unless it is asked for", () => {
    expect(tlsFromEnviron({})).toBeUndefined();
    expect(tlsFromEnviron({ FLOWSPAN_TLS: "auto" })).toBeUndefined();
    expect(tlsFromEnviron({ FLOWSPAN_TLS: "Off", FLOWSPAN_TLS_CA: file })).toBeUndefined();
  });

  test("is on with any setting", () => {
    const content = readFileSync(file);
    expect(tlsFromEnviron({ FLOWSPAN_TLS: " True " })).toEqual({});
    expect(tlsFromEnviron({ FLOWSPAN_TLS_SERVER_NAME: "flows" })).toEqual({ serverName: "flows" });
    expect(tlsFromEnviron({ FLOWSPAN_TLS_CA: file })).toEqual({ ca: content });
    expect(tlsFromEnviron({ FLOWSPAN_TLS_CLIENT_CERT: file })).toEqual({
      cert: content,
      key: content,
    });
  });

  test("names mistakes", () => {
    for (const name of ["FLOWSPAN_TLS", "FLOWSPAN_TLS_CA", "FLOWSPAN_TLS_CLIENT_KEY"])
      expect(() => tlsFromEnviron({ [name]: "/no/such/file" })).toThrow(
        new RegExp(`${name}.*/no/such/file`),
      );
  });
});
