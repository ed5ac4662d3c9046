/** The client of browsers, over HTTP, with the fetch of Node in place of a browser's. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type BrowserClient,
  connect,
  FlowspanError,
  RunAbortedError,
  RunCancelledError,
} from "../../src/browser.js";
import { Service } from "../support/service.js";
import { collect, gate, until } from "../support/wait.js";

const service = new Service();
let client: BrowserClient;

beforeAll(async () => {
  await service.start();
  client = await connect({ address: service.httpAddress });
});

afterAll(() => service.stop());

test("reads, lists, cancels and watches runs", async () => {
  const created = await client.flowRuns.create("planned", { parameters: { a: 1 } });
  expect((await client.flowRuns.get(created.id)).parameters?.json()).toEqual({ a: 1 });
  expect(await collect(client.flowRuns.list({ functionNames: ["planned"] }))).toHaveLength(1);
  const changes: string[] = [];
  for await (const item of client.watch({ runId: created.id })) {
    if (item.kind === "snapshotEnd") await client.flowRuns.cancel(created.id, "enough");
    if (item.kind === "change") changes.push(item.transition.state.type);
  }
  expect(changes).toEqual(["CANCELLED"]);
  await expect(client.flowRuns.get("01a202d9-d289-7000-80f1-12b060cb7443")).rejects.toMatchObject({
    code: "NOT_FOUND",
    reason: "NOT_FOUND",
    retryable: false,
  });
});

test("no service, or no address: a clear error", async () => {
  await expect(connect({ address: "http://127.0.0.1:9" })).rejects.toThrow(
    /no service answers at http:\/\/127/,
  );
  await expect(connect({ address: "127.0.0.1:4600" })).rejects.toThrow(/not an HTTP URL/);
  await expect(connect({})).rejects.toBeInstanceOf(FlowspanError);
});

describe("flows of a page", () => {
  test("result, parameters, logs and details", async () => {
    let id = "";
    const value = await client.flow(
      "checkout",
      { parameters: { items: 3 }, tags: ["web"], runName: "cart", labels: { team: "shop" } },
      async (run) => {
        id = run.id;
        run.log.info("start", { a: 1 });
        run.log.warn("nul \0");
        run.log.info("€".repeat(200_000));
        expect(run.headers()).toMatchObject({
          traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-/),
        });
        await run.flow("nested", () => "inner");
        return { total: run.parameters.items * 2 };
      },
    );
    expect(value).toEqual({ total: 6 });
    const run = await client.flowRuns.get(id);
    expect(run).toMatchObject({ name: "cart", tags: ["web"], state: { type: "COMPLETED" } });
    expect(run.state.result?.json()).toEqual({ total: 6 });
    expect(run.parameters?.json()).toEqual({ items: 3 });
    const logs = await collect(client.logs.list(id));
    expect(logs.slice(0, 2).map((each) => [each.level, each.message])).toEqual([
      ["INFO", 'start {"a":1}'],
      ["WARNING", "nul ␀"],
    ]);
    expect(
      logs
        .slice(2)
        .map((each) => each.message)
        .join(""),
    ).toBe("€".repeat(200_000));
    const [nested] = await collect(client.flowRuns.list({ functionNames: ["nested"] }));
    expect(nested).toMatchObject({ parentRunId: id, rootRunId: id, state: { type: "COMPLETED" } });
  });

  test("failures", async () => {
    let id = "";
    const flow = client.flow("broken", (run) => {
      id = run.id;
      throw new TypeError("no", { cause: new Error("because") });
    });
    await expect(flow).rejects.toThrow(TypeError);
    expect((await client.flowRuns.get(id)).state).toMatchObject({
      type: "FAILED",
      failure: { type: "TypeError", message: "no", cause: { message: "because" } },
    });
  });

  test("cancelled by the API and by the page", async () => {
    const started = gate<string>();
    const flow = client.flow("cancelled", { touchMs: 50 }, async (run) => {
      started.open(run.id);
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      run.signal.throwIfAborted();
    });
    const outcome = flow.catch((error: unknown) => error);
    const id = await started.promise;
    await client.flowRuns.cancel(id, "enough");
    expect(await outcome).toBeInstanceOf(RunCancelledError);
    expect((await client.flowRuns.get(id)).state.type).toBe("CANCELLED");

    const controller = new AbortController();
    const closed = client.flow("closed", { signal: controller.signal }, async (run) => {
      controller.abort(new Error("tab closed"));
      run.signal.throwIfAborted();
    });
    await expect(closed).rejects.toThrow("tab closed");
  });

  test("a deleted run is stopped", async () => {
    const started = gate<string>();
    const flow = client.flow("deleted", { touchMs: 50 }, async (run) => {
      started.open(run.id);
      await new Promise((resolve) => run.signal.addEventListener("abort", resolve));
      run.signal.throwIfAborted();
    });
    const outcome = flow.catch((error: unknown) => error);
    await client.flowRuns.delete(await started.promise, { force: true });
    expect(await outcome).toBeInstanceOf(RunAbortedError);
  });

  test("the service is restarted in the middle", async () => {
    const flow = client.flow("survives", async (run) => {
      run.log.info("before");
      await service.kill();
      await service.start();
      run.log.info("after");
      return run.id;
    });
    const id = await flow;
    const run = await until(
      () => client.flowRuns.get(id),
      (each) => each.state.type === "COMPLETED",
    );
    expect(run.state.result?.json()).toBe(id);
    expect((await collect(client.logs.list(id))).map((each) => each.message)).toEqual([
      "before",
      "after",
    ]);
  });
});
