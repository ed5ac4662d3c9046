/** Flows and tasks, reported to the real service. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Client,
  connect,
  FlowspanError,
  type Run,
  RunCancelledError,
  RunTimeoutError,
  type Transition,
} from "../../src/index.js";
import { Service } from "../support/service.js";
import { collect, gate, until } from "../support/wait.js";

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

function history(transitions: Transition[]): string[] {
  return transitions.map((each) => `${each.attempt} ${each.state.type} ${each.state.name}`);
}

async function flowHistory(id: string): Promise<string[]> {
  return history(await collect(client.flowRuns.transitions(id)));
}

async function taskHistory(id: string): Promise<string[]> {
  return history(await collect(client.taskRuns.transitions(id)));
}

const PLAIN = ["1 PENDING Pending", "1 RUNNING Running", "1 COMPLETED Completed"];

test("a flow with its parameters, result and details", async () => {
  const promise = client.flow(
    "report",
    {
      runName: "monday",
      parameters: { day: "monday", limit: 3 },
      tags: ["nightly", "tag\0with nul"],
      description: "Sums up a day.",
      version: "1.2",
      labels: { team: "data" },
    },
    (run) => ({ day: run.parameters.day, rows: [1, 2, 3] }),
  );
  expect(await promise).toEqual({ day: "monday", rows: [1, 2, 3] });
  const stored = await client.flowRuns.get(promise.run.id);
  expect(stored).toMatchObject({
    kind: "flow",
    flowName: "report",
    name: "monday",
    tags: ["nightly", "tag␀with nul"],
    version: "1.2",
    description: "Sums up a day.",
    maxAttempts: 1,
    attempt: 1,
    rootRunId: stored.id,
    parentRunId: "",
    sessionId: client.sessionId,
    state: { type: "COMPLETED", name: "Completed", message: "" },
  });
  expect(stored.parameters?.json()).toEqual({ day: "monday", limit: 3 });
  expect(stored.state.result?.json()).toEqual({ day: "monday", rows: [1, 2, 3] });
  expect(stored.code?.filePath).toMatch(/tests\/service\/runs\.test\.ts$/);
  expect(await client.labels.get(stored.id)).toEqual({ team: "data" });
  expect(await flowHistory(stored.id)).toEqual(PLAIN);
  expect(stored.createTime?.getTime()).toBeLessThanOrEqual(Date.now());
});

test("runs nest to any depth, and know their tree", async () => {
  const seen: Run[] = [];
  await client.flow("outer", async (outer) => {
    await outer.task("middle", async (middle) => {
      await middle.flow("inner", async (inner) => {
        await inner.task("leaf", (leaf) => void seen.push(outer, middle, inner, leaf));
      });
    });
  });
  const [outer, middle, inner, leaf] = seen as [Run, Run, Run, Run];
  expect(await client.taskRuns.get(leaf.id)).toMatchObject({
    name: "leaf-0",
    parentRunId: inner.id,
    flowRunId: inner.id,
    rootRunId: outer.id,
  });
  expect(await client.taskRuns.get(middle.id)).toMatchObject({ flowRunId: outer.id });
  expect(await client.flowRuns.get(inner.id)).toMatchObject({
    parentRunId: middle.id,
    rootRunId: outer.id,
  });
  expect(await client.run(leaf.id)).toMatchObject({ kind: "task" });
  expect(await client.run(inner.id)).toMatchObject({ kind: "flow" });
});

test("client.task and client.flow belong to the current run, across awaits and in parallel", async () => {
  const flow = client.flow("current", async (run) => {
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        await new Promise((resolve) => setTimeout(resolve, index % 3));
        return client.task("part", () => index);
      }),
    );
    expect(client.currentRun()?.id).toBe(run.id);
  });
  await flow;
  expect(client.currentRun()).toBeUndefined();
  const tasks = await collect(client.taskRuns.list({ parentRunId: flow.run.id }, { pageSize: 7 }));
  expect(tasks).toHaveLength(20);
  expect(new Set(tasks.map((task) => task.name)).size).toBe(20);
  expect(await client.taskRuns.count({ flowRunId: flow.run.id })).toEqual({ COMPLETED: 20 });
});

test("a task outside flows is the root of its own tree", async () => {
  const task = client.task("alone", () => 1);
  await task;
  expect(await client.taskRuns.get(task.run.id)).toMatchObject({
    flowRunId: "",
    rootRunId: task.run.id,
  });
});

describe("failures", () => {
  test("type, message, stack trace, cause and members", async () => {
    const broken = client.flow("broken", async (run) => {
      await run.task("load", () => {
        const members = new AggregateError([new TypeError("one"), "two"], "both");
        throw new RangeError("too \0 far", { cause: members });
      });
    });
    await expect(broken).rejects.toThrow(RangeError);
    const { state } = await client.flowRuns.get(broken.run.id);
    expect(state).toMatchObject({
      type: "FAILED",
      name: "Failed",
      message: "RangeError: too ␀ far",
    });
    const failure = state.failure!;
    expect(failure).toMatchObject({ type: "RangeError", message: "too ␀ far" });
    expect(failure.stackTrace).toContain("runs.test.ts");
    expect(failure.stackTrace).not.toMatch(/src\/runs\/engine/);
    expect(failure.cause).toMatchObject({ type: "AggregateError", message: "both" });
    expect(failure.cause?.otherCauses).toMatchObject([
      { type: "TypeError", message: "one" },
      { type: "string", message: "two" },
    ]);
  });

  test.each([
    ["a text", "plain", "string", "plain"],
    ["undefined", undefined, "undefined", "undefined"],
    ["null", null, "null", "null"],
    ["an object", { code: 3 }, "Object", '{"code":3}'],
  ])("what was thrown is %s", async (_, thrown, type, message) => {
    const broken = client.flow("throws", () => {
      throw thrown;
    });
    await expect(broken).rejects.toBe(thrown);
    const { state } = await client.flowRuns.get(broken.run.id);
    expect(state.failure).toMatchObject({ type, message });
  });

  test("errors whose properties throw, and chains without end", async () => {
    const hostile = Object.defineProperty(new Error("x"), "message", {
      get: () => {
        throw new Error("hostile");
      },
    });
    const loop = new Error("loop") as Error & { cause?: unknown };
    loop.cause = loop;
    for (const error of [hostile, loop]) {
      const broken = client.flow("hostile", () => {
        throw error;
      });
      await expect(broken).rejects.toBe(error);
      expect((await client.flowRuns.get(broken.run.id)).state.type).toBe("FAILED");
    }
  });

  test("an enormous error is shortened", async () => {
    const error = new Error("€".repeat(100_000));
    error.cause = new AggregateError(
      Array.from({ length: 200 }, () => new Error("m".repeat(90_000))),
    );
    const broken = client.flow("enormous", () => {
      throw error;
    });
    await expect(broken).rejects.toBe(error);
    const { state } = await client.flowRuns.get(broken.run.id);
    expect(state.failure?.message).toMatch(/bytes left out/);
  });
});

describe("retries", () => {
  test("with a delay and without", async () => {
    const attempts: number[] = [];
    const flow = client.flow("retrying", async (run) => {
      return run.task("flaky", { retries: 3, retryDelayMs: [5, 0] }, (task) => {
        attempts.push(task.attempt);
        task.log.info(`attempt ${task.attempt}`);
        if (task.attempt < 3) throw new Error(`no ${task.attempt}`);
        return "yes";
      });
    });
    expect(await flow).toBe("yes");
    expect(attempts).toEqual([1, 2, 3]);
    const [task] = await collect(client.taskRuns.list({ parentRunId: flow.run.id }));
    expect(task).toMatchObject({ attempt: 3, maxAttempts: 4, state: { type: "COMPLETED" } });
    expect(await taskHistory(task!.id)).toEqual([
      "1 PENDING Pending",
      "1 RUNNING Running",
      "1 SCHEDULED AwaitingRetry",
      "2 RUNNING Retrying",
      "3 RUNNING Retrying",
      "3 COMPLETED Completed",
    ]);
    const logs = await collect(client.logs.list(task!.id));
    expect(logs.map((each) => [each.attempt, each.level])).toEqual([
      [1, "INFO"],
      [1, "WARNING"],
      [2, "INFO"],
      [2, "WARNING"],
      [3, "INFO"],
    ]);
  });

  test("exhausted", async () => {
    const flow = client.flow("never", { retries: 1 }, () => {
      throw new Error("no");
    });
    await expect(flow).rejects.toThrow("no");
    expect(await flowHistory(flow.run.id)).toEqual([
      "1 PENDING Pending",
      "1 RUNNING Running",
      "2 RUNNING Retrying",
      "2 FAILED Failed",
    ]);
  });

  test("retryIf decides", async () => {
    let calls = 0;
    const flow = client.flow(
      "picky",
      { retries: 5, retryIf: (error) => error instanceof TypeError },
      () => {
        calls++;
        throw calls === 1 ? new TypeError("again") : new Error("enough");
      },
    );
    await expect(flow).rejects.toThrow("enough");
    expect(calls).toBe(2);
  });
});

test("a timeout aborts the signal, fails the attempt, and can be retried", async () => {
  const aborted: unknown[] = [];
  const flow = client.flow("slow", { timeoutMs: 30, retries: 1 }, async (run) => {
    if (run.attempt === 2) return "fast";
    await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
    aborted.push(run.signal.reason);
    return new Promise<string>(() => {});
  });
  expect(await flow).toBe("fast");
  expect(aborted[0]).toBeInstanceOf(RunTimeoutError);

  const late = client.flow("late", { timeoutMs: 10 }, () => new Promise(() => {}));
  await expect(late).rejects.toThrow(RunTimeoutError);
  expect(await flowHistory(late.run.id)).toContain("1 FAILED TimedOut");
});

describe("cancellation", () => {
  test("by the API: the signal of the run and of its tasks, and the states", async () => {
    const started = gate();
    const reasons: unknown[] = [];
    const flow = client.flow("cancelled", async (run) => {
      await run.task("waits", async (task) => {
        started.open();
        await new Promise((resolve) => task.signal.addEventListener("abort", resolve));
        reasons.push(task.signal.reason);
        task.signal.throwIfAborted();
      });
    });
    const outcome = flow.catch((error: unknown) => error);
    await started.promise;
    const { verdict } = await client.flowRuns.cancel(flow.run.id, "not today");
    expect(verdict.kind).toBe("ACCEPTED");
    const error = await outcome;
    expect(error).toBeInstanceOf(RunCancelledError);
    expect((error as RunCancelledError).reason).toBe("not today");
    expect(reasons[0]).toBeInstanceOf(RunCancelledError);
    expect(await flowHistory(flow.run.id)).toEqual([
      "1 PENDING Pending",
      "1 RUNNING Running",
      "1 CANCELLING Cancelling",
      "1 CANCELLED Cancelled",
    ]);
    const [task] = await collect(client.taskRuns.list({ parentRunId: flow.run.id }));
    expect(task?.state).toMatchObject({ type: "CANCELLED" });
  });

  test("nothing begins in a cancelled run, except what cleans up", async () => {
    const started = gate();
    const flow = client.flow("cleans", async (run) => {
      started.open();
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      await expect(run.task("more", () => 1)).rejects.toThrow(RunCancelledError);
      await run.task("cleanup", { cleanup: true }, () => 2);
      run.signal.throwIfAborted();
    });
    const outcome = flow.catch((error: unknown) => error);
    await started.promise;
    await client.flowRuns.cancel(flow.run.id);
    expect(await outcome).toBeInstanceOf(RunCancelledError);
    const tasks = await collect(client.taskRuns.list({ parentRunId: flow.run.id }));
    expect(tasks.map((task) => [task.taskName, task.state.type])).toEqual([
      ["cleanup", "COMPLETED"],
    ]);
  });

  test("ends the wait for a retry", async () => {
    const failed = gate();
    const retryIf = () => {
      failed.open();
      return true;
    };
    const options = { retries: 1, retryDelayMs: 3_600_000, retryIf };
    const flow = client.flow("waits", options, () => {
      throw new Error("no");
    });
    const outcome = flow.catch((error: unknown) => error);
    await failed.promise;
    await client.flowRuns.cancel(flow.run.id);
    expect(await outcome).toBeInstanceOf(RunCancelledError);
  });

  test("by a signal of the program", async () => {
    const controller = new AbortController();
    const flow = client.flow("external", { signal: controller.signal }, async (run) => {
      controller.abort(new Error("closed"));
      run.signal.throwIfAborted();
    });
    await expect(flow).rejects.toThrow(RunCancelledError);
    expect((await client.flowRuns.get(flow.run.id)).state).toMatchObject({
      type: "CANCELLED",
      message: "closed",
    });
  });

  test("a run that ends before it could be stopped is completed", async () => {
    const started = gate();
    const flow = client.flow("finishes", async (run) => {
      started.open();
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      return "done anyway";
    });
    await started.promise;
    await client.flowRuns.cancel(flow.run.id);
    expect(await flow).toBe("done anyway");
    expect((await flowHistory(flow.run.id)).slice(-2)).toEqual([
      "1 CANCELLING Cancelling",
      "1 COMPLETED Completed",
    ]);
  });

  test("a run that is deleted is stopped, and reports nothing more", async () => {
    const started = gate();
    const flow = client.flow("deleted", async (run) => {
      started.open();
      // The verdict comes with the next event.
      while (!run.signal.aborted) {
        run.log.info("still there");
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      run.signal.throwIfAborted();
    });
    const outcome = flow.catch((error: unknown) => error);
    await started.promise;
    await client.flowRuns.delete(flow.run.id, { force: true });
    expect(String(await outcome)).toMatch(/RunAbortedError/);
    await expect(client.flowRuns.get(flow.run.id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

test("a flow waits for the tasks that it did not await", async () => {
  const flow = client.flow("careless", (run) => {
    void run.task("left", () => new Promise((resolve) => setTimeout(resolve, 50)));
  });
  await flow;
  const [task] = await collect(client.taskRuns.list({ parentRunId: flow.run.id }));
  expect(task?.state.type).toBe("COMPLETED");
});

test("values that JSON cannot hold are left out, and a warning says so", async () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const flow = client.flow("odd", { parameters: { circle } }, () => 10n);
  expect(await flow).toBe(10n);
  const run = await client.flowRuns.get(flow.run.id);
  expect(run.parameters).toBeUndefined();
  expect(run.state).toMatchObject({ type: "COMPLETED" });
  expect(run.state.result).toBeUndefined();
  const logs = await collect(client.logs.list(run.id));
  expect(logs.map((each) => each.message)).toEqual([
    expect.stringContaining("parameters"),
    expect.stringContaining("BigInt"),
  ]);
});

test("inputs name the runs whose results were taken", async () => {
  const ids: string[] = [];
  const flow = client.flow("inputs", async (run) => {
    const parts = [run.task("a", () => 1), run.task("b", () => 2)];
    ids.push(...parts.map((part) => part.run.id));
    const values = await Promise.all(parts);
    await run.task(
      "sum",
      { inputs: { values: parts, first: parts[0]!.run } },
      () => values[0]! + values[1]!,
    );
  });
  await flow;
  const [sum] = await collect(
    client.taskRuns.list({ parentRunId: flow.run.id, functionNames: ["sum"] }),
  );
  const { inputs } = await client.taskRuns.get(sum!.id);
  expect(inputs).toEqual([
    { runId: ids[0], parameter: "values" },
    { runId: ids[1], parameter: "values" },
    { runId: ids[0], parameter: "first" },
  ]);
});

test("artifacts of a run, and progress", async () => {
  const flow = client.flow("shows", async (run) => {
    run.artifacts.markdown("# Title", { key: "summary", description: "text" });
    run.artifacts.table([{ city: "Ulm", sales: 5 }]);
    run.artifacts.link("https://example.com/a", "the [data]");
    run.artifacts.image("https://example.com/a.png");
    const progress = run.artifacts.progress(0);
    progress.update(50, "half");
    expect(() => progress.update(101)).toThrow(TypeError);
    expect(() => run.artifacts.markdown("x", { key: "Not A Key" })).toThrow(TypeError);
  });
  await flow;
  const artifacts = await collect(
    client.artifacts.list({ runId: flow.run.id }, { oldestFirst: true }),
  );
  expect(artifacts.map((each) => [each.type, each.data?.json()])).toEqual([
    ["markdown", "# Title"],
    ["table", [{ city: "Ulm", sales: 5 }]],
    ["link", "[the [data\\]](https://example.com/a)"],
    ["image", "https://example.com/a.png"],
    ["progress", 50],
  ]);
  expect(artifacts[4]?.description).toBe("half");
  expect((await client.artifacts.latest("summary")).runId).toBe(flow.run.id);
});

test("wrong options are told at once", () => {
  const code = () => 1;
  expect(() => client.flow("", code)).toThrow(TypeError);
  expect(() => client.flow("x", { retries: -1 }, code)).toThrow(/retries/);
  expect(() => client.flow("x", { retries: 1.5 }, code)).toThrow(/retries/);
  expect(() => client.flow("x", { timeoutMs: 0 }, code)).toThrow(/timeoutMs/);
  expect(() => client.flow("x", { retryDelayMs: [Number.NaN] }, code)).toThrow(/retryDelayMs/);
  expect(() => client.flow("x", {}, undefined as never)).toThrow(TypeError);
  expect(() => client.flow("x", { labels: { Team: "a" } }, code)).toThrow(/Team/);
  expect(() => client.flow("x", { labels: { team: 1 as never } }, code)).toThrow(/no text/);
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, "v"]));
  expect(() => client.flow("x", { labels: many }, code)).toThrow(/at most 64/);
  expect(() => client.flow("x", { inputs: { rows: "no id" } }, code)).toThrow(/rows/);
  expect(() => client.flow("x", { inputs: { rows: [{}] as never } }, code)).toThrow(/rows/);
});

test("a closed client refuses runs, and closing twice is no error", async () => {
  const other = await connect({ address: service.address, environ: {} });
  await other.close();
  await other.close();
  expect(() => other.flow("x", () => 1)).toThrow(FlowspanError);
  await expect(other.flowRuns.count()).rejects.toThrow("the client is closed");
});

test("the watches and calls of a client end with it", async () => {
  const other = await connect({ address: service.address, environ: {} });
  const marked = gate();
  const watch = (async () => {
    for await (const item of other.watch({ snapshot: "none" })) {
      if (item.kind === "snapshotEnd") marked.open();
    }
  })();
  const ended = expect(watch).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: "the client is closed",
  });
  await marked.promise;
  await other.close();
  await ended;
});

test("runs that are open at the close become CRASHED", async () => {
  const other = await connect({ address: service.address, environ: {} });
  const never = other.flow("open", () => new Promise(() => {}));
  await other.flush();
  await other.close();
  const stored = await until(
    () => client.flowRuns.get(never.run.id),
    (run) => run.state.type === "CRASHED",
  );
  expect(stored.state.name).toBe("Crashed");
});
