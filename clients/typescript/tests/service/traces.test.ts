/** Traces: by an OpenTelemetry SDK of the program, and derived without one. */

import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Client, connect } from "../../src/index.js";
import { Service } from "../support/service.js";
import { collect } from "../support/wait.js";

const service = new Service();
const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
let plain: Client;
let client: Client;

beforeAll(async () => {
  await service.start();
  plain = await connect({ address: service.address, environ: {} });
  provider.register({ contextManager: new AsyncLocalStorageContextManager().enable() });
  client = await connect({ address: service.address, environ: {} });
});

afterEach(() => exporter.reset());

afterAll(async () => {
  await Promise.all([client.close(), plain.close()]);
  trace.disable();
  context.disable();
  propagation.disable();
  await provider.shutdown();
  await service.stop();
});

function spanNamed(name: string) {
  const found = exporter.getFinishedSpans().filter((span) => span.name === name);
  expect(found).toHaveLength(1);
  return found[0]!;
}

test("runs are spans that nest with those of libraries", async () => {
  const tracer = trace.getTracer("library");
  const flow = client.flow("etl", { tags: ["a"], runName: "monday" }, async (run) => {
    await run.task("load", async (task) => {
      await tracer.startActiveSpan("query", async (span) => {
        task.log.info("inside");
        span.end();
      });
      task.artifacts.markdown("x", { key: "k" });
    });
  });
  await tracer.startActiveSpan("request", async (span) => {
    await flow;
    span.end();
  });
  const [etl, load, query] = ["etl", "load", "query"].map(spanNamed) as [
    never,
    never,
    never,
  ] as ReturnType<typeof spanNamed>[];
  expect(etl!.attributes).toMatchObject({
    "flowspan.run.id": flow.run.id,
    "flowspan.run.name": "monday",
    "flowspan.run.kind": "flow",
    "flowspan.tags": ["a"],
    "flowspan.state.type": "COMPLETED",
    "flowspan.state.name": "Completed",
    "flowspan.attempts": 1,
    "code.function.name": "etl",
  });
  expect(load!.parentSpanContext?.spanId).toBe(etl!.spanContext().spanId);
  expect(query!.parentSpanContext?.spanId).toBe(load!.spanContext().spanId);
  expect(load!.events.map((event) => event.name)).toContain("flowspan.artifact");
  const stored = await client.flowRuns.get(flow.run.id);
  expect(stored.traceparent).toContain(
    `${etl!.spanContext().traceId}-${etl!.spanContext().spanId}`,
  );
  const [log] = await collect(client.logs.list(flow.run.id, { includeDescendants: true }));
  expect(log).toMatchObject({
    traceId: query!.spanContext().traceId,
    spanId: query!.spanContext().spanId,
  });
});

test("attempts have spans of their own, and failures are recorded", async () => {
  const flow = client.flow("flaky", { retries: 2, retryDelayMs: [1, 0] }, (run) => {
    throw new RangeError(`no ${run.attempt}`);
  });
  await expect(flow).rejects.toThrow("no 3");
  const flaky = spanNamed("flaky");
  const attempts = exporter.getFinishedSpans().filter((span) => span.name === "flaky attempt");
  expect(attempts.map((span) => span.attributes["flowspan.attempt"])).toEqual([1, 2, 3]);
  for (const attempt of attempts) {
    expect(attempt.parentSpanContext?.spanId).toBe(flaky.spanContext().spanId);
    expect(attempt.attributes["error.type"]).toBe("RangeError");
    expect(attempt.events[0]?.attributes).toMatchObject({ "exception.type": "RangeError" });
  }
  expect(flaky.attributes).toMatchObject({
    "error.type": "RangeError",
    "flowspan.state.type": "FAILED",
    "flowspan.attempts": 3,
  });
  expect(flaky.status.code).toBe(2);
  // A machine under load may wait before the code starts, which is an event, too.
  const events = flaky.events
    .map((event) => event.name)
    .filter((name) => name !== "flowspan.running");
  expect(events).toEqual([
    "flowspan.awaiting_retry",
    "flowspan.retrying",
    "flowspan.retrying",
    "exception",
  ]);
});

test("a run links to the runs whose results it takes", async () => {
  await client.flow("linked", async (run) => {
    const part = run.task("part", () => 1);
    await part;
    await run.task("sum", { inputs: { value: part } }, () => 1);
  });
  const [link] = spanNamed("sum").links;
  expect(link?.context.spanId).toBe(spanNamed("part").spanContext().spanId);
  expect(link?.attributes).toMatchObject({ "flowspan.input.name": "value" });
  expect(link?.attributes?.["flowspan.run.id"]).toBe(
    spanNamed("part").attributes["flowspan.run.id"],
  );
});

test("many inputs of one parameter are one link", async () => {
  await client.flow("reduced", async (run) => {
    const part = run.task("part", () => 1);
    const parts = Array.from({ length: 11 }, () => run.task("many", () => 1));
    await Promise.all([part, ...parts]);
    await run.task("reduce", { inputs: { one: part, all: parts } }, () => 1);
  });
  const { links } = spanNamed("reduce");
  expect(links.map((link) => link.attributes?.["flowspan.input.name"])).toEqual(["one", "all"]);
  expect(links.map((link) => link.attributes?.["flowspan.input.count"])).toEqual([undefined, 11]);
});

test("spans say what they belong to, and how long they waited", async () => {
  const outer = client.flow("outer", (run) =>
    run.flow("inner", async (inner) => {
      await inner.task("patient", { retries: 1, retryDelayMs: 30 }, (task) => {
        if (task.attempt === 1) throw new Error("not yet");
        return task.task("innermost", () => 1);
      });
      return inner.id;
    }),
  );
  const innerId = await outer;
  const flows = { outer: outer.run.id, inner: innerId, patient: innerId, innermost: innerId };
  for (const [name, flowRunId] of Object.entries(flows)) {
    const { attributes, duration } = spanNamed(name);
    expect(attributes).toMatchObject({
      "flowspan.flow.name": name === "outer" ? "outer" : "inner",
      "flowspan.flow_run.id": flowRunId,
      "flowspan.root_run.id": outer.run.id,
    });
    const ran = attributes["flowspan.run_s"] as number;
    const queued = attributes["flowspan.queued_s"] as number;
    expect(ran).toBeGreaterThanOrEqual(0);
    expect(ran + queued).toBeCloseTo(duration[0] + duration[1] / 1e9, 5);
  }
  const patient = spanNamed("patient");
  expect(patient.attributes["flowspan.queued_s"]).toBeGreaterThan(0.028);
  // A machine under load may wait elsewhere as well.
  const waits = exporter
    .getFinishedSpans()
    .filter((span) => span.attributes["flowspan.wait.reason"] === "retry");
  expect(waits.map((span) => span.name)).toEqual(["waiting"]);
  expect(waits[0]?.parentSpanContext?.spanId).toBe(patient.spanContext().spanId);
  expect(waits[0]?.duration[1]).toBeGreaterThan(28e6);
});

test("a run knows the address of its trace", async () => {
  const FLOWSPAN_TRACE_URL = "http://localhost:16686/trace/{trace_id}";
  const environ = { FLOWSPAN_TRACE_URL };
  const linked = await connect({ address: service.address, environ });
  const flow = linked.flow("linked", (run) => run.traceUrl);
  expect(await flow).toBe(`http://localhost:16686/trace/${flow.run.traceId}`);
  await linked.close();
  expect(await client.flow("unlinked", (run) => run.traceUrl)).toBeUndefined();
  const headers = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-00` };
  const other = await connect({ address: service.address, environ });
  const unsampled = other.flow("unsampled", { headers }, (run) => run.traceUrl);
  expect(await unsampled).toBeUndefined();
  await other.close();
});

test("the span of a request, and its tracestate, become the parents of a flow", async () => {
  const caller = client.flow("caller", (run) => run.headers());
  const headers = await caller;
  const served = client.flow("served", { headers }, (run) => run.headers());
  const again = await served;
  expect(await client.flowRuns.get(served.run.id)).toMatchObject({
    parentRunId: caller.run.id,
    rootRunId: caller.run.id,
  });
  expect(spanNamed("served").parentSpanContext?.spanId).toBe(
    spanNamed("caller").spanContext().spanId,
  );
  expect(again.traceparent?.split("-")[1]).toBe(headers.traceparent?.split("-")[1]);
});

test("what a run calls is below its innermost span", async () => {
  const tracer = trace.getTracer("library");
  const flow = client.flow("calls", (run) =>
    tracer.startActiveSpan("library", (span) => {
      span.end();
      return [run.headers().traceparent, run.environ().TRACEPARENT];
    }),
  );
  const called = await flow;
  const { spanId } = spanNamed("library").spanContext();
  expect(called.map((each) => each?.split("-")[2])).toEqual([spanId, spanId]);
  // Outside its code, the run has only its own span.
  const own = spanNamed("calls").spanContext().spanId;
  expect(flow.run.headers().traceparent?.split("-")[2]).toBe(own);
});

test("a malformed FLOWSPAN_RUN is a warning", async () => {
  const warnings: string[] = [];
  const environ = { FLOWSPAN_RUN: "r:nonsense" };
  const onWarning = (message: string) => warnings.push(message);
  const other = await connect({ address: service.address, environ, onWarning });
  const flow = other.flow("alone", () => 1);
  await flow;
  expect(flow.run.parentRunId).toBe("");
  expect(warnings).toEqual([expect.stringContaining("r:nonsense")]);
  await other.close();
});

test("without an SDK, the ids follow from the runs", async () => {
  const flow = plain.flow("plain", async (run) => {
    await run.task("inner", (task) => task.log.info("x"));
  });
  await flow;
  const hex = flow.run.id.replaceAll("-", "");
  expect(flow.run.headers().traceparent).toBe(`00-${hex}-${hex.slice(16)}-03`);
  const [log] = await collect(plain.logs.list(flow.run.id, { includeDescendants: true }));
  expect(log).toMatchObject({ traceId: hex, spanId: log?.runId.replaceAll("-", "").slice(16) });
  const stored = await plain.flowRuns.get(flow.run.id);
  expect(stored.traceparent).toBe(`00-${hex}-${hex.slice(16)}-03`);
});

test("without an SDK, a flow joins the trace of a request", async () => {
  const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
  const flow = plain.flow("joined", { headers: { traceparent } }, async (run) => {
    await run.task("inner", () => 1);
  });
  await flow;
  const stored = await plain.flowRuns.get(flow.run.id);
  expect(stored.traceparent).toBe(
    `00-${"a".repeat(32)}-${flow.run.id.replaceAll("-", "").slice(16)}-01`,
  );
  const [task] = await collect(plain.taskRuns.list({ parentRunId: flow.run.id }));
  expect(task?.traceparent.split("-")[1]).toBe("a".repeat(32));
});
