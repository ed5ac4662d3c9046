/** The report stream against a service that misbehaves. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  ReportRequestSchema,
  type ReportResponse,
} from "../../src/gen/flowspan/v1/report_service_pb.js";
import { VerdictKind } from "../../src/gen/flowspan/v1/verdict_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.js";
import {
  type Client,
  type ConnectOptions,
  connect,
  FlowspanError,
  type Run,
  RunAbortedError,
} from "../../src/index.js";
import { answer, Peer, type PeerConnection, type Script } from "../support/peer.js";
import { gate, until } from "../support/wait.js";

let peer: Peer;
let client: Client | undefined;
let warnings: string[] = [];

async function open(script: Script, options: ConnectOptions = {}): Promise<Client> {
  warnings = [];
  peer = await new Peer(script).start();
  client = await connect({
    address: peer.address,
    environ: {},
    closeTimeoutMs: 5_000,
    onWarning: (message) => warnings.push(message),
    ...options,
  });
  return client;
}

function obey(connection: PeerConnection, welcome?: ReportResponse) {
  return Peer.obedient(peer, connection, welcome);
}

function failure(code: Code, reason: string, retrySeconds?: number): ConnectError {
  const details = [{ desc: ErrorInfoSchema, value: { reason, domain: "flowspan.v1" } }];
  const retry = {
    desc: RetryInfoSchema,
    value: { retryDelay: { seconds: BigInt(retrySeconds ?? 0) } },
  };
  return new ConnectError(
    reason,
    code,
    undefined,
    retrySeconds === undefined ? details : [...details, retry as never],
  );
}

afterEach(async () => {
  await client?.close();
  client = undefined;
  await peer.stop();
});

test("Hello, batches, one goodbye, after everything is confirmed", async () => {
  await open((connection) => obey(connection));
  await client!.flow("etl", async (run) => {
    await Promise.all(Array.from({ length: 50 }, () => run.task("part", () => 1)));
  });
  await client!.close();
  expect(peer.hellos).toHaveLength(1);
  const hello = peer.hellos[0]!;
  expect(hello).toMatchObject({
    clientName: "flowspan-typescript",
    clientLanguage: "typescript",
    spansByService: true,
    processId: BigInt(process.pid),
  });
  expect(hello.secret).toHaveLength(16);
  expect(peer.events.size).toBe(153);
  expect(peer.gaps).toEqual([]);
  // 153 events gather in few frames.
  expect(peer.batches.length).toBeLessThan(20);
  expect(peer.frames.at(-1)?.frame.case).toBe("goodbye");
  expect(peer.goodbyes).toBe(1);
  expect(warnings).toEqual([]);
});

test("a client that reports nothing opens no stream", async () => {
  await open((connection) => obey(connection));
  await client!.close();
  expect(peer.hellos).toHaveLength(0);
});

test("after a broken connection, it resumes after what is stored", async () => {
  await open(async function* (connection) {
    if (connection.number > 1) {
      yield* obey(connection);
      return;
    }
    yield peer.welcome();
    await connection.next();
    // Two events are stored, and their ack is lost.
    peer.stored = 2;
    peer.events.clear();
    peer.events.set(2, {} as never);
    peer.cut();
  });
  await client!.flow("etl", () => 1);
  await client!.flush();
  expect(peer.hellos).toHaveLength(2);
  expect(peer.hellos[1]!.sessionId).toBe(peer.hellos[0]!.sessionId);
  expect(peer.hellos[1]!.secret).toEqual(peer.hellos[0]!.secret);
  expect(peer.hellos[1]!.ackedSequence).toBe(0n);
  expect([...peer.events.keys()]).toEqual([2, 3]);
  expect(peer.gaps).toEqual([]);
});

test("verdicts of a lost ack come with Welcome, each once", async () => {
  const started = gate();
  const reasons: unknown[] = [];
  await open(async function* (connection) {
    if (connection.number > 1) {
      const verdict = {
        sequence: 2n,
        runId: runIdOf(peer),
        kind: VerdictKind.ABORT,
        rule: "run_was_deleted",
        reason: "deleted",
      };
      yield* obey(connection, peer.welcome({ verdicts: [verdict] }));
      return;
    }
    yield peer.welcome();
    await connection.next();
    peer.stored = 2;
    peer.cut();
  });
  const flow = client!.flow("etl", async (run) => {
    started.open();
    await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
    reasons.push(run.signal.reason);
    run.signal.throwIfAborted();
  });
  await expect(flow).rejects.toThrow(RunAbortedError);
  await client!.flush();
  expect(reasons[0]).toMatchObject({ rule: "run_was_deleted" });
  // An aborted run reports nothing more.
  expect(peer.events.size).toBe(2);
});

function runIdOf(from: Peer): string {
  for (const event of from.events.values()) {
    if (event.event.case === "runCreated") return event.event.value.runId;
  }
  throw new Error("no run was created");
}

test("small frames and a small window are respected", async () => {
  const LIMIT = 2_000;
  const inFlight: number[] = [];
  await open(async function* (connection) {
    yield peer.welcome({
      maxFrameBytes: BigInt(LIMIT),
      maxBatchBytes: BigInt(LIMIT),
      maxUnackedEvents: 10n,
    });
    for (;;) {
      const frame = await connection.next();
      if (frame?.frame.case === "goodbye" || frame === undefined) return;
      if (frame.frame.case !== "batch") continue;
      inFlight.push(Math.max(...peer.events.keys()) - peer.stored);
      yield peer.ackAll();
    }
  });
  await client!.flow("etl", async (run) => {
    run.log.info("x".repeat(30_000));
    await Promise.all(Array.from({ length: 30 }, () => run.task("part", () => 1)));
  });
  await client!.close();
  const sizes = peer.frames.map((frame) => toBinary(ReportRequestSchema, frame).length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMIT);
  expect(Math.max(...inFlight)).toBeLessThanOrEqual(10);
  expect(peer.gaps).toEqual([]);
});

test("an event that fits into no frame is replaced, and the rest goes on", async () => {
  await open((connection) =>
    obey(connection, peer.welcome({ maxFrameBytes: 3_000n, maxBatchBytes: 3_000n })),
  );
  await client!.flow("etl", { parameters: { text: "x".repeat(5_000) } }, () => 1);
  await client!.close();
  expect(peer.events.size).toBe(3);
  expect(peer.events.get(1)!.event.case).toBeUndefined();
  expect(peer.events.get(1)!.$unknown).toHaveLength(1);
  expect(warnings).toEqual([expect.stringContaining("too large")]);
});

test("a text that was logged before the limit of frames is known arrives in pieces that fit", async () => {
  const LIMIT = 16_384;
  const welcome = gate();
  await open(async function* (connection) {
    await welcome.promise;
    const limits = { maxFrameBytes: BigInt(LIMIT), maxBatchBytes: BigInt(LIMIT) };
    yield* obey(connection, peer.welcome(limits));
  });
  const text = "0123456789€".repeat(30_000);
  const flow = client!.flow("etl", async (run) => {
    run.log.info("before");
    run.log.info(text);
    // The rest waits for its events, whose sequences change.
    const flushed = client!.flush();
    welcome.open();
    await flushed;
    expect(peer.stored).toBe(peer.events.size);
    run.log.info("after");
  });
  await flow;
  await client!.close();
  const sizes = peer.frames.map((frame) => toBinary(ReportRequestSchema, frame).length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(LIMIT);
  const logs = logsOf(peer);
  const pieces = logs.slice(1, -1);
  expect(logs[0]!.message).toBe("before");
  expect(pieces.map(({ message }) => message).join("")).toBe(text);
  expect(pieces.map(({ chunkIndex }) => chunkIndex)).toEqual([...pieces.keys()]);
  expect(new Set(pieces.map(({ chunkCount }) => chunkCount))).toEqual(new Set([pieces.length]));
  expect(logs.at(-1)!.message).toBe("after");
  expect(peer.gaps).toEqual([]);
  expect(warnings).toEqual([]);
});

function logsOf(from: Peer) {
  return [...from.events.values()].flatMap(({ event }) =>
    event.case === "log" ? [event.value] : [],
  );
}

describe("short runs", () => {
  const capabilities = ["run_completed.v1"];

  async function work() {
    await client!.flow("etl", async (run) => {
      const part = async (task: Run) => {
        task.log.info("begin");
        await Promise.resolve();
        return 1;
      };
      await Promise.all(Array.from({ length: 20 }, () => run.task("part", part)));
      await run.task("outer", (task) => task.task("inner", () => 1));
      await run.task("shows", (task) => void task.artifacts.markdown("# text"));
      const broken = run.task("broken", () => {
        throw new Error("no");
      });
      await broken.catch(() => undefined);
    });
  }

  function historiesOf(from: Peer): Map<string, string[]> {
    const found = new Map<string, string[]>();
    const names = new Map<string, string>();
    for (const { event } of from.events.values()) {
      if (event.case === "runCreated") {
        const { runId, functionName, runName } = event.value;
        names.set(runId, functionName === "part" ? runName : functionName);
        found.set(names.get(runId)!, ["created"]);
      } else if (event.case === "stateEntered") {
        found.get(names.get(event.value.runId)!)!.push(event.value.state!.name);
      }
    }
    return found;
  }

  const joinedIn = (from: Peer) =>
    from.batches.flatMap(({ events }) =>
      events.flatMap(({ event }) => (event.case === "runCompleted" ? [event.value] : [])),
    );

  test("go as one event to a service that knows it, and nothing is lost or moved wrongly", async () => {
    await open((connection) => obey(connection, peer.welcome({ capabilities })));
    await work();
    await client!.flush();
    expect(peer.stored).toBe(peer.events.size);
    await client!.close();
    const names = joinedIn(peer).map(({ created }) => created!.functionName);
    expect(names.filter((name) => name === "part").length).toBeGreaterThan(10);
    expect(names).not.toContain("etl");
    expect(names).not.toContain("outer");
    expect(names).not.toContain("shows");
    const histories = historiesOf(peer);
    expect(histories.size).toBe(25);
    for (const [name, history] of histories) {
      expect(history).toEqual(["created", "Running", name === "broken" ? "Failed" : "Completed"]);
    }
    expect(logsOf(peer)).toHaveLength(20);
    expect(peer.gaps).toEqual([]);
  });

  test("go as three events to an older service", async () => {
    await open((connection) => obey(connection));
    await work();
    await client!.close();
    expect(joinedIn(peer)).toEqual([]);
    expect(historiesOf(peer).size).toBe(25);
  });

  test("that were sent to one service are sent again to an older one, with the same sequences", async () => {
    let before = new Map<number, unknown>();
    await open(async function* (connection) {
      if (connection.number > 1) {
        yield* obey(connection);
        return;
      }
      yield peer.welcome({ capabilities });
      while (joinedIn(peer).length === 0) await connection.next();
      before = new Map(peer.events);
      // Nothing was stored.
      peer.cut();
    });
    await work();
    await client!.close();
    expect(before.size).toBeGreaterThan(3);
    for (const [sequence, event] of before) expect(peer.events.get(sequence)).toEqual(event);
    const second = peer.batches.findIndex(
      ({ firstSequence }, index) => index > 0 && firstSequence === 1n,
    );
    expect(second).toBeGreaterThan(0);
    const again = peer.batches.slice(second).flatMap(({ events }) => events);
    expect(again.some(({ event }) => event.case === "runCompleted")).toBe(false);
    expect(historiesOf(peer).size).toBe(25);
  });
});

async function* refuseLarge(connection: PeerConnection, onRefusal: () => void) {
  yield peer.welcome();
  for (;;) {
    const frame = await connection.next();
    if (frame?.frame.case !== "batch") return;
    if (toBinary(ReportRequestSchema, frame).length > 4_000) {
      onRefusal();
      for (const each of peer.events.keys()) if (each > peer.stored) peer.events.delete(each);
      throw new ConnectError("received message larger than max", Code.ResourceExhausted);
    }
    yield peer.ackAll();
  }
}

test("a size that only a proxy refuses is halved", async () => {
  let refused = 0;
  await open((connection) => refuseLarge(connection, () => refused++));
  await client!.flow("etl", (run) => {
    for (let index = 0; index < 100; index++) run.log.info("y".repeat(100));
  });
  await client!.flush();
  expect(refused).toBeGreaterThan(0);
  expect(peer.events.size).toBe(103);
});

test("a text that only a proxy refuses is divided, and what follows it is not left out", async () => {
  let refused = 0;
  await open((connection) => refuseLarge(connection, () => refused++));
  const text = "z".repeat(30_000);
  await client!.flow("etl", (run) => run.log.info(text));
  await client!.flush();
  expect(refused).toBeGreaterThan(0);
  expect(
    logsOf(peer)
      .map(({ message }) => message)
      .join(""),
  ).toBe(text);
  expect([...peer.events.values()].at(-1)!.event).toMatchObject({
    case: "stateEntered",
    value: { state: { name: "Completed" } },
  });
  expect(warnings).toEqual([]);
});

test("a token that the service refuses may be replaced: the events are kept", async () => {
  await open(
    async function* () {
      yield* [];
      throw failure(Code.Unauthenticated, "UNAUTHENTICATED");
    },
    { closeTimeoutMs: 50 },
  );
  await client!.flow("etl", () => 1);
  await expect(client!.flush(200)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  expect(warnings).toEqual([expect.stringMatching(/until the service accepts the access token/)]);
  await client!.close();
  expect(warnings[1]).toMatch(/^3 events were not stored/);
});

test.each([
  ["UNAUTHENTICATED", Code.Unauthenticated],
  ["MISSING_SCOPE", Code.PermissionDenied],
])("%s keeps the events until the token is replaced", async (reason, code) => {
  let token = "old";
  await open(
    async function* (connection) {
      if (peer.hellos.length === 1) {
        yield peer.welcome();
        await connection.next();
        setTimeout(() => {
          token = "new";
        }, 100);
        throw failure(code, reason);
      }
      yield* obey(connection);
    },
    { token: () => token },
  );
  await client!.flow("etl", async () => "done");
  const begin = performance.now();
  await client!.flush();
  expect(performance.now() - begin).toBeLessThan(5_000);
  expect(peer.hellos).toHaveLength(2);
  expect(warnings).toEqual([expect.stringMatching(/accepts the access token/)]);
});

test.each([
  ["SESSION_TAKEN_OVER", Code.Aborted],
  ["WRONG_SECRET", Code.PermissionDenied],
  ["BAD_SEQUENCE", Code.InvalidArgument],
])("%s ends the session: no reconnect, and the code goes on", async (reason, code) => {
  await open(async function* (connection) {
    yield peer.welcome();
    await connection.next();
    throw failure(code, reason);
  });
  const { promise, open: proceed } = gate();
  const flow = client!.flow("etl", async () => {
    await promise;
    return "done";
  });
  await until(
    () => warnings.length,
    (count) => count > 0,
  );
  proceed();
  expect(await flow).toBe("done");
  await expect(client!.flush()).rejects.toMatchObject({ reason });
  await client!.close();
  expect(peer.hellos).toHaveLength(1);
  expect(warnings).toHaveLength(1);
});

test("OVERLOADED: it waits as long as the service says", async () => {
  const times: number[] = [];
  await open(async function* (connection) {
    times.push(performance.now());
    if (connection.number === 1) throw failure(Code.ResourceExhausted, "OVERLOADED", 1);
    yield* obey(connection);
  });
  await client!.flow("etl", () => 1);
  await client!.flush();
  expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990);
  expect(peer.events.size).toBe(3);
});

test("unknown frames, commands, verdicts and fields are ignored", async () => {
  await open(async function* (connection) {
    const welcome = peer.welcome({ capabilities: ["quantum.v9"] });
    welcome.$unknown = [{ no: 900, wireType: 0, data: new Uint8Array([1]) }];
    yield welcome;
    yield answer({ case: undefined });
    yield answer({ case: "command", value: { id: "1", command: { case: undefined } } as never });
    yield answer({
      case: "command",
      value: { id: "2", command: { case: "drain", value: {} } } as never,
    });
    await connection.next();
    peer.stored = 1;
    const verdict = { sequence: 1n, runId: runIdOf(peer), kind: 77, rule: "new", reason: "new" };
    yield answer({ case: "ack", value: { upToSequence: 1n, verdicts: [verdict] } as never });
    for (;;) {
      yield peer.ackAll();
      if ((await connection.next())?.frame.case === "goodbye") return;
    }
  });
  await client!.flow("etl", () => 1);
  await client!.close();
  expect(peer.events.size).toBe(3);
  expect(warnings).toEqual([]);
});

test("a cancellation that comes twice cancels once", async () => {
  let aborts = 0;
  await open(async function* (connection) {
    yield peer.welcome();
    await connection.next();
    yield peer.ackAll();
    const cancel = { runId: runIdOf(peer), reason: "enough" };
    for (const id of ["1", "1", "2"]) {
      yield answer({
        case: "command",
        value: { id, command: { case: "cancelRun", value: cancel } } as never,
      });
    }
    for (;;) {
      if ((await connection.next())?.frame.case === "goodbye") return;
      yield peer.ackAll();
    }
  });
  const flow = client!.flow("etl", async (run) => {
    run.signal.addEventListener("abort", () => aborts++);
    await new Promise((resolve) =>
      run.signal.addEventListener("abort", () => setTimeout(resolve, 20)),
    );
    run.signal.throwIfAborted();
  });
  await expect(flow).rejects.toThrow("enough");
  await client!.close();
  expect(aborts).toBe(1);
  const types = [...peer.events.values()].map((event) =>
    event.event.case === "stateEntered" ? event.event.value.state?.type : event.event.case,
  );
  expect(types).toEqual(["runCreated", 3, 8]);
});

test("heartbeats each third of the lease, while a run is quiet", async () => {
  await open((connection) => obey(connection, peer.welcome({ lease: { nanos: 300_000_000 } })));
  const { promise, open: proceed } = gate();
  const flow = client!.flow("quiet", () => promise);
  await until(
    () => peer.frames.filter((frame) => frame.frame.case === "heartbeat").length,
    (count) => count >= 4,
  );
  proceed();
  await flow;
});

test("a rejected event is told once", async () => {
  await open(async function* (connection) {
    yield peer.welcome();
    for (;;) {
      const frame = await connection.next();
      if (frame === undefined || frame.frame.case === "goodbye") return;
      peer.stored = Math.max(...peer.events.keys());
      const verdict = {
        sequence: BigInt(peer.stored),
        runId: runIdOf(peer),
        kind: VerdictKind.REJECTED,
      };
      const verdicts = [{ ...verdict, rule: "order_of_types", reason: "not that" }];
      yield answer({
        case: "ack",
        value: { upToSequence: BigInt(peer.stored), verdicts } as never,
      });
    }
  });
  await client!.flow("etl", async (run) => {
    for (let index = 0; index < 3; index++) {
      run.log.info("x");
      await client!.flush();
    }
  });
  await client!.close();
  expect(warnings).toEqual([expect.stringMatching(/not that \(order_of_types\)/)]);
});

test("a full outbox drops logs and counts them, and never states", async () => {
  const welcome = gate();
  await open(
    async function* (connection) {
      await welcome.promise;
      yield* obey(connection);
    },
    { maxEvents: 10 },
  );
  const flow = client!.flow("etl", async (run) => {
    for (let index = 0; index < 50; index++) run.log.info(`line ${index}`);
    welcome.open();
  });
  await flow;
  await client!.close();
  const events = [...peer.events.values()].map((event) => event.event);
  const logs = events.flatMap((event) => (event.case === "log" ? [event.value.message] : []));
  expect(logs).toHaveLength(9);
  expect(logs.at(-1)).toBe("42 log records of this run were dropped, because too much was unsent.");
  expect(events.filter((event) => event.case !== "log")).toHaveLength(3);
});

test("a new run waits for room, for at most roomTimeoutMs", async () => {
  const welcome = gate();
  await open(
    async function* (connection) {
      await welcome.promise;
      yield* obey(connection);
    },
    { maxEvents: 3, roomTimeoutMs: 50 },
  );
  await client!.flow("first", () => 1);
  await expect(client!.flow("second", () => 2)).rejects.toMatchObject({
    reason: "OVERLOADED",
    retryable: true,
  });
  const third = client!.flow("third", () => 3);
  welcome.open();
  expect(await third).toBe(3);
  await client!.close();
  expect(peer.events.size).toBe(6);
});

test("close gives up on a service that confirms nothing, and says how much is lost", async () => {
  await open(
    async function* (connection) {
      yield peer.welcome();
      while ((await connection.next()) !== undefined);
    },
    { closeTimeoutMs: 100 },
  );
  await client!.flow("etl", () => 1);
  await expect(client!.flush(50)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  await client!.close();
  expect(warnings).toEqual([
    "3 events were not stored, because the service did not answer in time",
  ]);
});

test("errors of calls are typed, and passing ones of reads are retried", async () => {
  await open((connection) => obey(connection));
  await expect(client!.flowRuns.get("x")).rejects.toBeInstanceOf(FlowspanError);
  await expect(client!.flowRuns.get("x")).rejects.toMatchObject({
    code: "UNIMPLEMENTED",
    retryable: false,
  });
});

test("connect asks again if its connection is cut", async () => {
  warnings = [];
  peer = await new Peer((connection) => obey(connection)).start();
  peer.toCut = 3;
  client = await connect({ address: peer.address, environ: {} });
  expect(peer.toCut).toBe(0);
  await client.flow("etl", () => 1);
  await client.flush();
  expect(peer.events.size).toBe(3);
});

test("connect gives up on a peer that cuts every connection", async () => {
  await open((connection) => obey(connection));
  peer.toCut = Number.POSITIVE_INFINITY;
  const again = connect({ address: peer.address, environ: {}, connectTimeoutMs: 500 });
  await expect(again).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
  await expect(again).rejects.toThrow(/no service answers at .* is it the gRPC port/);
});

test("no service: a clear error at once", async () => {
  await open((connection) => obey(connection));
  await client!.close();
  await peer.stop();
  const began = performance.now();
  await expect(connect({ address: peer.address, environ: {} })).rejects.toThrow(
    /no service answers at 127\.0\.0\.1:\d+ .*flowspan server start/,
  );
  expect(performance.now() - began).toBeLessThan(5_000);
  await peer.start();
});

test("the token is sent with each stream, and asked for again", async () => {
  let number = 0;
  await open((connection) => obey(connection), { token: () => `token-${++number}` });
  await client!.flow("etl", () => 1);
  await client!.flush();
  // The first one went with GetInfo.
  expect(peer.tokens).toEqual(["Bearer token-2"]);
});

test("a failing flow does not wait for a service that is away", async () => {
  await open((connection) => obey(connection), { closeTimeoutMs: 100 });
  await client!.flow("first", () => 1);
  await client!.flush();
  await peer.stop();
  const fail = () => {
    throw new Error("no");
  };
  await expect(client!.flow("notices", fail)).rejects.toThrow("no");
  const began = performance.now();
  await expect(client!.flow("second", fail)).rejects.toThrow("no");
  expect(performance.now() - began).toBeLessThan(1_000);
  await client!.close();
  await peer.start();
});

describe("TLS", () => {
  const FOLDER = mkdtempSync(join(tmpdir(), "flowspan-tls-"));
  const [key, cert] = [join(FOLDER, "key.pem"), join(FOLDER, "cert.pem")];

  beforeAll(() => {
    const subject = [
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ];
    const files = ["-keyout", key, "-out", cert];
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...files, ...subject],
      {
        stdio: "ignore",
      },
    );
  });

  afterAll(() => rmSync(FOLDER, { recursive: true }));

  test("reports over TLS to a service whose certificate it trusts", async () => {
    const secure = { key: readFileSync(key), cert: readFileSync(cert) };
    peer = await new Peer((connection) => obey(connection), [], secure).start();
    client = await connect({
      address: peer.address,
      environ: {},
      tls: { ca: secure.cert, serverName: "localhost" },
    });
    await client.flow("etl", () => 1);
    await client.flush();
    expect(peer.events.size).toBe(3);
    const untrusted = connect({ address: peer.address, environ: {}, tls: true });
    await expect(untrusted).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(untrusted).rejects.toThrow(/no service answers .*self-signed certificate/);
    const plain = connect({ address: peer.address, environ: {}, connectTimeoutMs: 2_000 });
    await expect(plain).rejects.toMatchObject({ retryable: true });
  });
});
