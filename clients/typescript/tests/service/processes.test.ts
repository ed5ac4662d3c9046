/** What happens to runs when processes are signalled, killed, or end, and when the service does. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, connect, type Run } from "../../src/index.js";
import { Program } from "../support/program.js";
import { Service } from "../support/service.js";
import { collect, gate, until } from "../support/wait.js";

const service = new Service(["--grace", "1", "--lease", "5"]);
let client: Client;
let environ: Record<string, string>;

beforeAll(async () => {
  await service.start();
  client = await connect({ address: service.address, environ: {} });
  environ = { FLOWSPAN_ADDRESS: service.address };
});

afterAll(async () => {
  await client.close();
  await service.stop();
});

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s: open runs become CRASHED, then the signal ends it",
  async (signal) => {
    const program = new Program("waits", environ);
    const id = await program.firstLine();
    program.kill(signal);
    expect(await program.ended).toEqual({ code: null, signal });
    const run = await client.flowRuns.get(id);
    expect(run.state).toMatchObject({ type: "CRASHED", message: `interrupted by ${signal}` });
    expect(run.state.failure?.type).toBe("InterruptedError");
    const [task] = await collect(client.taskRuns.list({ parentRunId: id }));
    expect(task?.state.type).toBe("CRASHED");
    const causes = (await collect(client.flowRuns.transitions(id))).map((each) => each.cause);
    expect(causes.at(-1)).toBe("REPORTED");
  },
);

test("code that listens to its signal cleans up before", async () => {
  const program = new Program("tidies", environ);
  const id = await program.firstLine();
  program.kill("SIGTERM");
  expect((await program.ended).signal).toBe("SIGTERM");
  expect((await client.flowRuns.get(id)).state.type).toBe("CRASHED");
  expect((await collect(client.logs.list(id))).map((each) => each.message)).toEqual(["tidied up"]);
});

test("a handler of the program decides", async () => {
  const program = new Program("handles", environ);
  const id = await program.firstLine();
  program.kill("SIGTERM");
  expect(await program.ended).toEqual({ code: 0, signal: null });
  expect((await client.flowRuns.get(id)).state.type).toBe("COMPLETED");
});

test("a killed process: the service finds its runs CRASHED", async () => {
  const program = new Program("waits", environ);
  const id = await program.firstLine();
  program.kill("SIGKILL");
  await program.ended;
  const run = await until(
    () => client.flowRuns.get(id),
    (each) => each.state.type === "CRASHED",
  );
  expect(run.state.type).toBe("CRASHED");
});

test("a program that forgets to close its client ends by itself, and loses nothing", async () => {
  const program = new Program("forgets", environ);
  const id = await program.firstLine();
  expect(await program.ended).toEqual({ code: 0, signal: null });
  expect((await client.flowRuns.get(id)).state.type).toBe("COMPLETED");
});

test("closing leaves no socket, no timer and no listener", async () => {
  const program = new Program("closes", environ);
  expect(JSON.parse(await program.firstLine())).toEqual({ resources: [], listeners: [0, 0, 0] });
  expect(await program.ended).toEqual({ code: 0, signal: null });
});

test("a program that ends with the error of its flow, without closing its client", async () => {
  const program = new Program("throws", environ);
  const id = await program.firstLine();
  expect((await program.ended).code).toBe(1);
  expect(program.errors).toContain("Error: no");
  const run = await client.flowRuns.get(id);
  expect(run.state).toMatchObject({ type: "FAILED", message: "Error: no" });
});

test("a run in another process is below the run that started it", async () => {
  const program = new Program("parent", environ);
  expect(await program.ended).toEqual({ code: 0, signal: null });
  const [line, root] = program.output.trim().split("\n") as [string, string];
  const [taskId, childId] = line.split(" ") as [string, string];
  const child = await client.flowRuns.get(childId);
  expect(child).toMatchObject({ parentRunId: taskId, rootRunId: root, flowName: "forgets" });
  const task = await client.taskRuns.get(taskId);
  // One trace: the id of the root, and the span of the task as the parent.
  expect(child.traceparent.split("-")[1]).toBe(root.replaceAll("-", ""));
  expect(task.traceparent.split("-")[1] ?? root.replaceAll("-", "")).toBe(root.replaceAll("-", ""));
});

test("below a cancelled run of another process, nothing begins", async () => {
  const other = await connect({ address: service.address, environ: {} });
  const started = gate<Record<string, string>>();
  const above = other.flow("above", async (run) => {
    started.open(run.headers());
    await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
    run.signal.throwIfAborted();
  });
  const outcome = above.catch((error: unknown) => String(error));
  const headers = await started.promise;
  const waits = (run: Run) =>
    new Promise((resolve) => run.signal.addEventListener("abort", resolve));
  const below = client.flow("below", { headers }, async (run) => {
    await waits(run as Run);
    run.signal.throwIfAborted();
  });
  const belowOutcome = below.catch((error: unknown) => String(error));
  await client.flush();
  await client.flowRuns.cancel(above.run.id, "all of it");
  expect(await outcome).toMatch(/all of it/);
  // The run below is in another session, which gets a command of its own.
  expect(await belowOutcome).toMatch(/RunCancelledError/);
  expect((await client.flowRuns.get(below.run.id)).state.type).toBe("CANCELLED");

  const late = client.flow("late", { headers }, async (run) => {
    await waits(run as Run);
    throw run.signal.reason;
  });
  await expect(late).rejects.toMatchObject({
    name: "RunAbortedError",
    rule: "parent_is_cancelled",
  });
  await other.close();
});

test("the service is killed and restarted in the middle: the history is whole", async () => {
  const other = await connect({ address: service.address, environ: {} });
  const flow = other.flow("survives", async (run) => {
    for (let index = 0; index < 40; index++) {
      if (index === 10) await service.kill();
      if (index === 25) await service.start();
      await run.task("step", { parameters: { index } }, (task) => {
        task.log.info(`step ${index}`);
        return new Promise((resolve) => setTimeout(resolve, 2));
      });
    }
  });
  await flow;
  await other.flush(40_000);
  const tasks = await collect(
    client.taskRuns.list({ parentRunId: flow.run.id }, { oldestFirst: true }),
  );
  expect(tasks.map((task) => task.parameters?.json())).toEqual(
    Array.from({ length: 40 }, (_, index) => ({ index })),
  );
  expect(new Set(tasks.map((task) => task.state.type))).toEqual(new Set(["COMPLETED"]));
  const logs = await collect(client.logs.list(flow.run.id, { includeDescendants: true }));
  expect(logs.map((each) => each.message)).toEqual(
    Array.from({ length: 40 }, (_, index) => `step ${index}`),
  );
  for (const task of tasks) {
    const states = (await collect(client.taskRuns.transitions(task.id))).map(
      (each) => each.state.type,
    );
    expect(states).toEqual(["PENDING", "RUNNING", "COMPLETED"]);
  }
  await other.close();
});

test("a watch continues after the service was restarted, without gaps or duplicates", async () => {
  const seen: string[] = [];
  const flow = client.flow("watched", async (run) => {
    const begun = gate();
    const watching = (async () => {
      for await (const item of client.watch({ runId: run.id })) {
        if (item.kind === "snapshotEnd") begun.open();
        if (item.kind === "change") {
          seen.push(`${item.transition.runId} ${item.transition.ordinal}`);
        }
      }
    })();
    await begun.promise;
    for (let index = 0; index < 10; index++) {
      if (index === 5) {
        await client.flush();
        await service.kill();
        await service.start();
      }
      await run.task("step", () => 1);
      await client.flush(40_000);
    }
    return { watching };
  });
  const { watching } = await flow;
  await watching;
  expect(new Set(seen).size).toBe(seen.length);
  // Three transitions of each task, and the end of the flow.
  expect(seen.length).toBe(31);
});
