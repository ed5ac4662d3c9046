/** Logs, lists, watches, variables, labels and artifacts of the real service. */

import pino from "pino";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Client, captureConsole, connect } from "../../src/index.js";
import { pinoMixin, pinoStream } from "../../src/logs/pino.js";
import { Service } from "../support/service.js";
import { collect, gate } from "../support/wait.js";

const service = new Service();
let client: Client;

beforeAll(async () => {
  await service.start();
  client = await connect({ address: service.address, environ: {} });
});

afterAll(async () => {
  await client.close();
  await service.stop();
});

test("log records have level, logger, attempt and trace; long ones are whole", async () => {
  const long = `start ${"€🦦".repeat(120_000)} end`;
  const flow = client.flow("logs", (run) => {
    run.log.debug("details", { a: 1 }, [2]);
    run.log.child("etl.db").warn("nul \0 here");
    run.log.log(25, "in between");
    run.log.error(new TypeError("broken"));
    run.log.info(long);
  });
  await flow;
  const logs = await collect(client.logs.list(flow.run.id));
  expect(logs.map((each) => [each.level, each.logger])).toEqual([
    ["DEBUG", "flowspan.run"],
    ["WARNING", "etl.db"],
    ["25", "flowspan.run"],
    ["ERROR", "flowspan.run"],
    ["INFO", "flowspan.run"],
  ]);
  expect(logs[0]?.message).toBe('details {"a":1} [2]');
  expect(logs[1]?.message).toBe("nul ␀ here");
  expect(logs[3]?.message).toMatch(/^TypeError: broken\n\s+at /);
  expect(logs[4]?.message).toBe(long);
  expect(logs[0]).toMatchObject({ attempt: 1, traceId: flow.run.traceId, runId: flow.run.id });
  expect(logs[0]?.spanId).toMatch(/^[0-9a-f]{16}$/);
  expect(await collect(client.logs.list(flow.run.id, { minLevel: "ERROR" }))).toHaveLength(1);
  expect(await collect(client.logs.list(flow.run.id, { loggers: ["etl"] }))).toHaveLength(1);
  expect(
    (await collect(client.logs.list(flow.run.id, { newestFirst: true, limit: 1 })))[0]?.message,
  ).toBe(long);
  expect(await collect(client.logs.list(flow.run.id, { messageContains: "€🦦 end" }))).toHaveLength(
    1,
  );
});

test("the console is captured while asked for, and still printed", async () => {
  const printed = vi.spyOn(console, "log").mockImplementation(() => {});
  const end = captureConsole();
  const flow = client.flow("prints", async () => {
    console.log("one %s", 1);
    await null;
    console.error({ b: 2 });
  });
  vi.spyOn(console, "error").mockImplementation(() => {});
  await flow;
  console.log("outside");
  end();
  await client.flow("silent", () => console.log("not captured"));
  expect(printed.mock.calls).toEqual([["one %s", 1], ["outside"], ["not captured"]]);
  vi.restoreAllMocks();
  const logs = await collect(client.logs.list(flow.run.id));
  expect(logs.map((each) => [each.level, each.logger, each.message])).toContainEqual([
    "INFO",
    "console",
    "one 1",
  ]);
});

test("pino", async () => {
  const lines: string[] = [];
  const logger = pino(
    { mixin: pinoMixin, name: "app", level: "debug" },
    pino.multistream([
      { level: "debug", stream: { write: (line: string) => void lines.push(line) } },
      { level: "debug", stream: pinoStream() },
    ]),
  );
  logger.info("outside");
  const flow = client.flow("pino", async (run) => {
    await run.task("inner", () => logger.warn({ rows: 3 }, "few rows"));
    logger.error(new Error("broken"), "failed");
  });
  await flow;
  const logs = await collect(client.logs.list(flow.run.id, { includeDescendants: true }));
  expect(logs.map((each) => [each.level, each.logger, each.message.split("\n")[0]])).toEqual([
    ["WARNING", "app", 'few rows {"rows":3}'],
    ["ERROR", "app", "failed"],
  ]);
  expect(logs[1]?.message).toMatch(/Error: broken\n\s+at /);
  const runId = logs[0]?.runId;
  expect(JSON.parse(lines[1]!)).toMatchObject({
    flowspan_run_id: runId,
    "flowspan.run.id": runId,
    "flowspan.run.name": "inner-0",
    "flowspan.flow.name": "pino",
    "flowspan.flow_run.id": flow.run.id,
    "flowspan.root_run.id": flow.run.id,
    "flowspan.attempt": 1,
  });
  expect(JSON.parse(lines[0]!)).not.toHaveProperty("flowspan_run_id");
});

test("names of loggers and times that the protocol does not allow", async () => {
  const before = Date.now();
  const flow = client.flow("odd", (run) => {
    run.log.child("a\0b".repeat(100)).info("named");
    for (const time of [1e300, -5, 0.1]) {
      pinoStream().write(`${JSON.stringify({ level: 30, time, msg: `at ${time}` })}\n`);
    }
    run.artifacts.progress(0).update(50, "x".repeat(100_000));
    expect(() => run.artifacts.create("€".repeat(30), 1)).toThrow(/64 bytes/);
    expect(() => run.artifacts.create("a\0", 1)).toThrow(/of text/);
  });
  await flow;
  await client.flush();
  const logs = await collect(client.logs.list(flow.run.id));
  expect(logs[0]?.logger).toMatch(/^(a␀b)+a?/);
  expect(logs.map((each) => each.message)).toEqual(["named", "at 1e+300", "at -5", "at 0.1"]);
  const times = logs.slice(0, 3).map((each) => each.time?.getTime() ?? 0);
  expect(Math.min(...times)).toBeGreaterThanOrEqual(before - 50);
  expect(logs[3]?.time?.getTime()).toBe(0);
});

test("tail follows a run to its end", async () => {
  const started = gate();
  const flow = client.flow("tailed", async (run) => {
    for (let index = 0; index < 5; index++) {
      run.log.info(`line ${index}`);
      if (index === 2) {
        started.open();
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
    }
  });
  await started.promise;
  const lines = await collect(client.logs.tail(flow.run.id));
  expect(lines.map((each) => each.message)).toEqual(
    [0, 1, 2, 3, 4].map((index) => `line ${index}`),
  );
});

test("a watch begins with the current runs, and ends with the run", async () => {
  const started = gate();
  const proceed = gate();
  const flow = client.flow("watched", async (run) => {
    started.open();
    await proceed.promise;
    await run.task("late", () => 1);
  });
  await started.promise;
  const kinds: string[] = [];
  for await (const item of client.watch({ runId: flow.run.id })) {
    kinds.push(
      item.kind === "change" ? `${item.transition.state.type} ${item.run?.kind ?? ""}` : item.kind,
    );
    if (item.kind === "snapshotEnd") {
      expect(item.runCount).toBe(1);
      proceed.open();
    }
  }
  expect(kinds).toEqual([
    "run",
    "snapshotEnd",
    "PENDING task",
    "RUNNING ",
    "COMPLETED ",
    "COMPLETED ",
  ]);
  await flow;
});

test("a watch with a filter sees only its runs", async () => {
  const seen: string[] = [];
  const filter = { functionNames: ["wanted"] };
  for await (const item of client.watch({ filter, snapshot: "none" })) {
    if (item.kind === "snapshotEnd") {
      await client.flow("unwanted", () => 1);
      await client.flow("wanted", () => 1);
    }
    if (item.kind !== "change") continue;
    seen.push(item.run?.kind === "flow" ? item.run.flowName : item.transition.state.type);
    if (seen.length === 3) break;
  }
  expect(seen).toEqual(["wanted", "RUNNING", "COMPLETED"]);
});

test("leaving a watch ends its call, and a signal ends it without an error", async () => {
  for await (const item of client.watch()) if (item.kind === "snapshotEnd") break;
  const controller = new AbortController();
  const items = [];
  for await (const item of client.watch({ snapshot: "none", signal: controller.signal })) {
    items.push(item.kind);
    controller.abort();
  }
  expect(items).toEqual(["snapshotEnd"]);
});

test("create, list with a filter, count, cancel, wait, delete", async () => {
  const tags = [`list-${Date.now()}`];
  const created = [];
  for (let index = 0; index < 5; index++) {
    created.push(
      await client.flowRuns.create("planned", {
        tags,
        parameters: { index },
        runName: `run-${index}`,
      }),
    );
  }
  const listed = await collect(client.flowRuns.list({ tags }, { pageSize: 2, oldestFirst: true }));
  expect(listed.map((run) => run.id)).toEqual(created.map((run) => run.id));
  expect(await collect(client.flowRuns.list({ tags }, { limit: 3 }))).toHaveLength(3);
  expect(await client.flowRuns.count({ tags })).toEqual({ PENDING: 5 });
  const [first, second] = created;
  await expect(client.flowRuns.wait(first!.id, { timeoutMs: 50 })).rejects.toMatchObject({
    code: "DEADLINE_EXCEEDED",
  });
  expect(await client.flowRuns.cancel(first!.id)).toMatchObject({
    verdict: { kind: "ACCEPTED" },
    run: { state: { type: "CANCELLED" } },
  });
  expect((await client.flowRuns.wait(first!.id)).state.type).toBe("CANCELLED");
  expect((await client.flowRuns.cancel(first!.id)).verdict.kind).not.toBe("ACCEPTED");
  await expect(client.flowRuns.delete(second!.id)).rejects.toMatchObject({
    reason: "STATE_CONFLICT",
  });
  expect(await client.flowRuns.delete(first!.id)).toBe(1);
  expect(await client.flowRuns.delete(first!.id)).toBe(0);
  await expect(client.flowRuns.get(first!.id)).rejects.toMatchObject({
    code: "NOT_FOUND",
    reason: "NOT_FOUND",
  });
  await expect(client.flowRuns.list({ idPrefix: "x" }).next()).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  const late = await client.flowRuns.create("planned", {
    scheduledTime: new Date("2030-01-01T00:00:00Z"),
  });
  expect(late.state).toMatchObject({
    type: "SCHEDULED",
    scheduledTime: new Date("2030-01-01T00:00:00Z"),
  });
});

test("variables, labels, artifacts and flows", async () => {
  expect(await client.variables.get("limit")).toBeUndefined();
  await client.variables.set("limit", { rows: [1, null] }, { tags: ["a"] });
  await expect(client.variables.set("limit", 1)).rejects.toMatchObject({
    reason: "ALREADY_EXISTS",
  });
  await client.variables.set("limit", 600, { overwrite: true });
  expect(await client.variables.get<number>("limit")).toBe(600);
  expect(
    (await collect(client.variables.list({ namePrefix: "li" }))).map((each) => each.name),
  ).toEqual(["limit"]);
  expect(await client.variables.delete("limit")).toBe(true);
  expect(await client.variables.delete("limit")).toBe(false);

  const flow = client.flow("labelled", () => 1);
  await flow;
  expect(await client.labels.set(flow.run.id, { team: "data", stage: "x" })).toEqual({
    team: "data",
    stage: "x",
  });
  expect(await client.labels.set(flow.run.id, {}, { removedKeys: ["stage"] })).toEqual({
    team: "data",
  });
  expect(await collect(client.labels.list("team"))).toEqual([
    { runId: flow.run.id, key: "team", value: "data" },
  ]);

  const artifact = await client.artifacts.create("markdown", "# Hi", {
    key: "hello",
    runId: flow.run.id,
  });
  expect((await client.artifacts.get(artifact.id)).data?.json()).toBe("# Hi");
  expect(await client.artifacts.deleteKey("hello")).toBe(1);

  expect((await client.flows.get("labelled")).name).toBe("labelled");
  expect((await collect(client.flows.list())).map((each) => each.name)).toContain("labelled");
  expect((await client.info()).database).toBe("sqlite");
});

test("the Unix socket, and the local service without any address", async () => {
  const socket = await connect({ address: `unix:${service.home}/service.sock`, environ: {} });
  await socket.flow("by-socket", () => 1);
  await socket.close();
  const local = await connect({ environ: { FLOWSPAN_HOME: service.home } });
  expect(local.address).toBe(`unix:${service.home}/service.sock`);
  expect(await local.flowRuns.count({ functionNames: ["by-socket"] })).toEqual({ COMPLETED: 1 });
  await local.close();
});

test("many runs in parallel from several clients", async () => {
  const clients = await Promise.all(
    [1, 2, 3].map(() => connect({ address: service.address, environ: {} })),
  );
  await Promise.all(
    clients.map((each, index) =>
      each.flow(`parallel-${index}`, async (run) => {
        const parts = Array.from({ length: 300 }, (_, part) => run.task("part", () => part));
        return (await Promise.all(parts)).length;
      }),
    ),
  );
  await Promise.all(clients.map((each) => each.close()));
  for (const index of [0, 1, 2]) {
    const [run] = await collect(client.flowRuns.list({ functionNames: [`parallel-${index}`] }));
    expect(run?.state.result?.json()).toBe(300);
    expect(await client.taskRuns.count({ parentRunId: run!.id })).toEqual({ COMPLETED: 300 });
  }
});
