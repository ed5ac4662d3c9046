/** One run of a browser, reported with a few calls (flowspan.v1.SingleRunService). */

import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import type { Caller } from "../api/caller.js";
import { nowUs, timestamp } from "../core/clock.js";
import { failureOf } from "../core/failures.js";
import { logText } from "../core/format.js";
import { newId } from "../core/ids.js";
import { jsonPayload, NotJsonError } from "../core/json.js";
import { MAX_PARAMETERS_BYTES, MAX_PAYLOAD_BYTES } from "../core/limits.js";
import { byteLength, chunks, clean } from "../core/text.js";
import { unref, Wakeup } from "../core/waiting.js";
import { FlowspanError, RunAbortedError, RunCancelledError } from "../errors.js";
import type { LogLevel } from "../gen/flowspan/v1/log_pb.js";
import {
  type FinishRunRequest,
  RunCancelledSchema,
  type RunLog,
  RunLogSchema,
  SingleRunService,
  type StartRunResponse,
} from "../gen/flowspan/v1/single_run_service_pb.js";
import { cleanDescription, cleanName, cleanTags } from "../runs/events.js";
import { petName } from "../runs/names.js";

/** The options of a flow in a browser. */
export interface BrowserFlowOptions<P = unknown> {
  /** The name of the run, for people. One is made up if not set. */
  runName?: string;
  /** The arguments, for people: an object that JSON can hold. Also `run.parameters`. */
  parameters?: P;
  /** Words for people and filters. */
  tags?: readonly string[];
  /** What the flow does, for people. */
  description?: string;
  /** The version of the code. */
  version?: string;
  /** Key/value pairs of the run. */
  labels?: Readonly<Record<string, string>>;
  /** How long the run lives after the page is gone, in milliseconds: 1 s to 1 h. Default: 30 s. */
  leaseMs?: number;
  /** How often the run asks whether it was cancelled, in milliseconds. Default: 3 s. */
  touchMs?: number;
  /** Cancels the run. */
  signal?: AbortSignal;
  /** False to keep the result out of the service. */
  storeResult?: boolean;
}

/** The code of a flow in a browser. */
export type BrowserRunCode<T, P = unknown> = (run: BrowserRun<P>) => T | PromiseLike<T>;

const DEFAULT_LEASE_MS = 30_000;
const DEFAULT_TOUCH_MS = 3_000;
const GATHER_MS = 200;
const MAX_LOGS = 1000;
const MAX_LOGS_BYTES = 900 << 10;
const MAX_LOG_BYTES = 200 << 10;
const MAX_PENDING_LOGS = 10_000;
const WARN = 30;

interface LogBatch {
  token: string;
  logs: RunLog[];
  number: bigint;
}

type Outcome<T> = { ok: true; value: T } | { ok: false; error: unknown };

async function outcomeOf<T, P>(
  run: BrowserRun<P>,
  code: BrowserRunCode<T, P>,
): Promise<Outcome<T>> {
  try {
    return { ok: true, value: await code(run) };
  } catch (error) {
    return { ok: false, error };
  }
}

/** One execution of a flow in a browser. */
export class BrowserRun<P = unknown> {
  /** A UUIDv7. */
  readonly id = newId();
  /** The name of the run. */
  readonly name: string;
  /** The arguments, as given. */
  readonly parameters: P;
  /** Logs records that are stored with the run. */
  readonly log = new BrowserLogger((level, text) => this.addLog(level, text));

  private readonly controller = new AbortController();
  private readonly wakeup = new Wakeup();
  private pending: RunLog[] = [];
  private dropped = 0;
  private number = 0n;
  private unanswered: LogBatch | undefined;
  private hasEnded = false;
  private isSilent = false;
  private started: StartRunResponse | undefined;

  /** @internal */
  constructor(
    private readonly caller: Caller,
    /** The name of the flow. */
    readonly functionName: string,
    private readonly options: BrowserFlowOptions<P>,
    private readonly parentContext: string,
    private readonly parentTrace: string,
    private readonly warn: (message: string) => void,
  ) {
    this.name = cleanName(options.runName ?? petName());
    this.parameters = (options.parameters ?? {}) as P;
  }

  /** Aborts when the run is cancelled. Pass it on to what the run waits for. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Headers for a request whose server reports its runs below this one. */
  headers(): Record<string, string> {
    if (this.started === undefined) return {};
    const { runContext, traceparent } = this.started;
    return { "flowspan-run": runContext, traceparent, tracestate: `flowspan=${runContext}` };
  }

  /** Run a flow below this run. */
  flow<T>(name: string, code: BrowserRunCode<T>): Promise<T>;
  /** Run a flow below this run, with options. */
  flow<T, Q>(name: string, options: BrowserFlowOptions<Q>, code: BrowserRunCode<T, Q>): Promise<T>;
  async flow<T, Q>(
    name: string,
    second: BrowserFlowOptions<Q> | BrowserRunCode<T, Q>,
    third?: BrowserRunCode<T, Q>,
  ): Promise<T> {
    const [options, code] = splitArguments(name, second, third);
    this.signal.throwIfAborted();
    const context = this.started?.runContext ?? "";
    const trace = this.started?.traceparent ?? "";
    const child = new BrowserRun<Q>(this.caller, name, options, context, trace, this.warn);
    const onAbort = () => child.cancel(this.signal.reason);
    this.signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await child.execute(code);
    } finally {
      this.signal.removeEventListener("abort", onAbort);
    }
  }

  /** @internal Run the code, and report how it ends. */
  async execute<T>(code: BrowserRunCode<T, P>): Promise<T> {
    const { signal } = this.options;
    signal?.throwIfAborted();
    this.started = await this.start();
    const onAbort = () => {
      const reason = signal?.reason instanceof Error ? signal.reason.message : "";
      this.cancel(new RunCancelledError(this.id, reason));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const touching = this.touch();
    const outcome = await outcomeOf(this, code);
    signal?.removeEventListener("abort", onAbort);
    this.hasEnded = true;
    this.wakeup.set();
    await touching;
    try {
      await this.finish(this.reportedOutcome(outcome));
    } catch (error) {
      // The code has ended, whether the service knows it or not.
      this.warn(`the end of the run ${this.name} was not stored: ${String(error)}`);
    }
    if (outcome.ok) return outcome.value;
    throw this.signal.aborted ? this.signal.reason : outcome.error;
  }

  private reportedOutcome(outcome: Outcome<unknown>): FinishRunRequest["outcome"] {
    if (outcome.ok) return this.resultOf(outcome.value);
    if (this.signal.aborted) return { case: "cancelled", value: create(RunCancelledSchema) };
    return { case: "failure", value: failureOf(outcome.error) };
  }

  private get stub() {
    return this.caller.client(SingleRunService);
  }

  private start(): Promise<StartRunResponse> {
    const { options } = this;
    const leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    const request = {
      id: this.id,
      flowName: cleanName(this.functionName),
      runName: this.name,
      runContext: this.parentContext,
      traceparent: this.parentTrace,
      tags: cleanTags(options.tags ?? []),
      description: cleanDescription(options.description ?? ""),
      version: cleanName(options.version ?? ""),
      labels: { ...options.labels },
      lease: { seconds: BigInt(Math.ceil(leaseMs / 1000)), nanos: 0 },
      ...(options.parameters === undefined
        ? {}
        : { parameters: jsonPayload(options.parameters, MAX_PARAMETERS_BYTES) }),
    };
    return this.caller.repeatable((call) => this.stub.startRun(request, call));
  }

  private cancel(reason: unknown): void {
    if (!this.hasEnded) this.controller.abort(reason);
  }

  private resultOf(value: unknown): FinishRunRequest["outcome"] {
    if (value === undefined || this.options.storeResult === false) return { case: undefined };
    try {
      return { case: "result", value: jsonPayload(value, MAX_PAYLOAD_BYTES) };
    } catch (error) {
      if (!(error instanceof NotJsonError)) throw error;
      this.addLog(WARN, `The result of the run could not be stored: ${error.message}.`);
      return { case: undefined };
    }
  }

  private addLog(level: number, text: string): void {
    if (this.pending.length >= MAX_PENDING_LOGS) {
      this.dropped++;
      return;
    }
    for (const message of chunks(clean(text), MAX_LOG_BYTES)) {
      const time = timestamp(nowUs());
      this.pending.push(
        create(RunLogSchema, { message, level: level as LogLevel, time, logger: "flowspan.run" }),
      );
    }
    this.wakeup.set();
  }

  /** Take log records for one call, within its limits. */
  private takeLogs(): RunLog[] {
    if (this.dropped > 0 && this.pending.length < MAX_LOGS) {
      const message = `${this.dropped} log records of this run were dropped, because too much was unsent.`;
      this.dropped = 0;
      this.pending.push(
        create(RunLogSchema, { message, level: WARN as LogLevel, time: timestamp(nowUs()) }),
      );
    }
    let bytes = 0;
    let count = 0;
    while (count < Math.min(this.pending.length, MAX_LOGS)) {
      bytes += byteLength((this.pending[count] as RunLog).message) + 64;
      if (bytes > MAX_LOGS_BYTES && count > 0) break;
      count++;
    }
    return this.pending.splice(0, count);
  }

  /** Renew the lease, send logs and ask for a cancellation, until the code has ended. */
  private async touch(): Promise<void> {
    const leaseMs =
      this.started?.lease === undefined ? DEFAULT_LEASE_MS : durationMs(this.started.lease);
    const touchMs = Math.min(this.options.touchMs ?? DEFAULT_TOUCH_MS, leaseMs / 3);
    while (!this.hasEnded && !this.isSilent) {
      if (await this.wakeup.wait(touchMs)) {
        if (this.hasEnded) return;
        await new Promise((resolve) => unref(setTimeout(resolve, GATHER_MS)));
      }
      if (!this.hasEnded) await this.touchOnce();
    }
  }

  private async touchOnce(): Promise<void> {
    try {
      const answer = await this.send((request, call) => this.stub.touchRun(request, call));
      if (answer.cancelRequested) this.cancel(new RunCancelledError(this.id, answer.cancelReason));
    } catch (error) {
      this.touchFailed(error);
    }
  }

  private touchFailed(error: unknown): void {
    // What was not answered is sent again with the next call.
    if (error instanceof FlowspanError && error.retryable) return;
    if (error instanceof FlowspanError && error.reason === "STATE_CONFLICT") {
      // The page was asleep, and the service took it for dead. Its end overrules that.
      this.isSilent = true;
      return;
    }
    const reason = error instanceof FlowspanError ? error.reason : "";
    this.cancel(new RunAbortedError(this.id, reason, String(error)));
  }

  /** Call a method with the next log records. They keep their number until it has answered. */
  private async send<T>(call: (request: LogBatch, options: CallOptions) => Promise<T>): Promise<T> {
    if (this.unanswered === undefined) {
      const logs = this.takeLogs();
      const number = logs.length === 0 ? 0n : ++this.number;
      this.unanswered = { token: this.started?.token ?? "", logs, number };
    }
    const batch = this.unanswered;
    const answer = await this.caller.repeatable((options) => call(batch, options));
    this.unanswered = undefined;
    return answer;
  }

  private async finish(outcome: FinishRunRequest["outcome"]): Promise<void> {
    if (this.signal.reason instanceof RunAbortedError) return;
    if (this.isSilent) {
      this.pending = [];
      this.unanswered = undefined;
    }
    while (this.unanswered !== undefined || this.pending.length > 0) {
      await this.send((request, options) => this.stub.touchRun(request, options));
    }
    await this.send((request, options) => this.stub.finishRun({ ...request, outcome }, options));
  }
}

/** The logger of a run in a browser. */
export class BrowserLogger {
  /** @internal */
  constructor(private readonly add: (level: number, text: string) => void) {}

  /** Log details for debugging. */
  debug(...values: unknown[]): void {
    this.add(10, logText(values));
  }

  /** Log normal operation. */
  info(...values: unknown[]): void {
    this.add(20, logText(values));
  }

  /** Log something unexpected that the code could handle. */
  warn(...values: unknown[]): void {
    this.add(WARN, logText(values));
  }

  /** Log that something failed. */
  error(...values: unknown[]): void {
    this.add(40, logText(values));
  }
}

/** @internal Return the options and the code of a call. */
export function splitArguments<T, P>(
  name: string,
  second: BrowserFlowOptions<P> | BrowserRunCode<T, P>,
  third: BrowserRunCode<T, P> | undefined,
): [BrowserFlowOptions<P>, BrowserRunCode<T, P>] {
  const [options, code] = typeof second === "function" ? [{}, second] : [second, third];
  if (typeof name !== "string" || name === "" || typeof code !== "function") {
    throw new TypeError("a flow has a name that is not empty, and a function to call");
  }
  return [options, code];
}
