/** Programs that tests start as processes. The first argument names one. */

import { connect } from "../../src/index.js";

const programs: Record<string, () => Promise<void>> = {
  /** Prints the id of a flow that never ends by itself, with a task in it. */
  async waits() {
    const client = await connect();
    const flow = client.flow("waits", async (run) => {
      await run.task("inner", () => new Promise(() => {}));
    });
    await client.flush();
    console.log(flow.run.id);
    await flow;
  },
  /** Cleans up when it is interrupted. */
  async tidies() {
    const client = await connect();
    const flow = client.flow("tidies", async (run) => {
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      run.log.info("tidied up");
      run.signal.throwIfAborted();
    });
    await client.flush();
    console.log(flow.run.id);
    await flow.catch(() => undefined);
  },
  /** Has a handler of its own, which lets the flow end. */
  async handles() {
    const client = await connect();
    let proceed: () => void = () => {};
    process.on("SIGTERM", () => proceed());
    const flow = client.flow("handles", () => new Promise<void>((resolve) => (proceed = resolve)));
    await client.flush();
    console.log(flow.run.id);
    await flow;
  },
  /** Forgets to close its client. */
  async forgets() {
    const client = await connect();
    const flow = client.flow("forgets", () => "done");
    console.log(flow.run.id);
    await flow;
  },
  /** Prints what is left after it has used and closed its client. */
  async closes() {
    const client = await connect();
    await client.flow("closes", (run) =>
      run.task("part", { timeoutMs: 60_000, retries: 1 }, () => 1),
    );
    await client.flowRuns.count();
    for await (const item of client.watch()) if (item.kind === "snapshotEnd") break;
    await client.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const resources = process
      .getActiveResourcesInfo()
      .filter((each) => /TCP|Timeout|TLS/.test(each));
    const names = ["SIGINT", "SIGTERM", "beforeExit"];
    const listeners = names.map((name) => process.listenerCount(name));
    console.log(JSON.stringify({ resources, listeners }));
  },
  /** Throws without closing its client. */
  async throws() {
    const client = await connect();
    const flow = client.flow("throws", () => {
      throw new Error("no");
    });
    console.log(flow.run.id);
    await flow;
  },
  /** Calls itself in another process, below its task. */
  async parent() {
    await using client = await connect();
    const { execFileSync } = await import("node:child_process");
    const flow = client.flow("parent", async (run) => {
      await run.task("calls", (task) => {
        const output = execFileSync(
          process.execPath,
          [...process.execArgv, process.argv[1] ?? "", "forgets"],
          {
            env: { ...process.env, ...task.environ() },
          },
        );
        console.log(task.id, String(output).trim());
      });
    });
    await flow;
    console.log(flow.run.id);
  },
};

await programs[process.argv[2] ?? ""]?.();
