/** A run: what its code sees, and its place in the tree. */

import { nowUs } from "../core/clock.js";
import { newId } from "../core/ids.js";
import type { RunSpan } from "../trace/spans.js";
import { traceUrl } from "../trace/trace_url.js";
import { RunArtifacts } from "./artifacts.js";
import {
  formatRunContext,
  formatTraceparent,
  formatTracestate,
  type Incoming,
  incomingFromHeaders,
  parseRunContext,
  type SpanContext,
} from "./carriers.js";
import { callerPlace, type Place } from "./code.js";
import { execute, type RunCode } from "./engine.js";
import { cleanName, cleanTags } from "./events.js";
import type { RunHost } from "./host.js";
import { RunLogger } from "./logger.js";
import { petName } from "./names.js";
import {
  checkOptions,
  type FlowOptions,
  inputList,
  type ListedInput,
  type RunOptions,
} from "./options.js";

/** The promise of the result of a run. */
export interface RunPromise<T, P = unknown> extends Promise<T> {
  /** The run, for `inputs` of other runs. */
  readonly run: Run<P>;
}

/** Why a run must stop. */
export interface Stop {
  kind: "cancelled" | "aborted" | "interrupted";
  /** The reason of the signal of the run. */
  error: Error;
  /** For people. */
  message: string;
}

/** What a run is made of. */
export interface RunSpec<P> {
  kind: "flow" | "task";
  functionName: string;
  options: FlowOptions<P>;
  parent?: Run;
  /** At the top level: what called the process or the request. */
  incoming?: Incoming;
}

const MAX_PLACES = 10_000;

/** One execution of a flow or task. */
export class Run<P = unknown> {
  /** A UUIDv7. */
  readonly id: string = newId();
  readonly kind: "flow" | "task";
  /** The name of the flow or task. */
  readonly functionName: string;
  /** The name of this run. */
  readonly name: string;
  /** The arguments, as given. */
  readonly parameters: P;
  readonly tags: readonly string[];
  /** The run that called it; empty at the top level. */
  readonly parentRunId: string;
  /** The run at the top of the tree. */
  readonly rootRunId: string;
  /** The flow run that it belongs to: itself, or the one that called it; empty outside flows. */
  readonly flowRunId: string;
  /** The name of that flow; empty outside flows, and if it runs in another process. */
  readonly flowName: string;
  /** Logs records that are stored with the run. */
  readonly log: RunLogger;
  /** Creates artifacts of the run. */
  readonly artifacts: RunArtifacts;

  /** The current attempt, from 1. */
  attempt = 1;

  /** @internal */
  readonly host: RunHost;
  /** @internal */
  readonly options: FlowOptions<P>;
  /** @internal */
  readonly parent: Run | undefined;
  /** @internal */
  readonly span: RunSpan;
  /** @internal */
  readonly createdUs = nowUs();
  /** @internal */
  readonly inputs: readonly ListedInput[];
  /** @internal */
  readonly place: Place | undefined;
  /** @internal */
  droppedLogs = 0;
  /** @internal Warnings to log with the next state. */
  readonly notes: string[] = [];
  /** @internal */
  stop: Stop | undefined;
  /** @internal */
  hasEnded = false;
  /** @internal */
  readonly children = new Set<Run>();
  /** @internal Settles when the run has ended; never rejects. */
  ended: Promise<unknown> = Promise.resolve();

  private controller: AbortController | undefined;
  private childCount = 0;

  /** @internal */
  constructor(host: RunHost, spec: RunSpec<P>) {
    const { kind, options, parent, incoming } = spec;
    this.host = host;
    this.kind = kind;
    this.options = options;
    this.parent = parent;
    this.functionName = cleanName(spec.functionName);
    this.parameters = (options.parameters ?? {}) as P;
    this.tags = options.tags === undefined ? [] : cleanTags(options.tags);
    this.parentRunId = parent?.id ?? incoming?.run?.runId ?? "";
    this.rootRunId = parent?.rootRunId ?? incoming?.run?.rootRunId ?? this.id;
    this.flowRunId = kind === "flow" ? this.id : (parent?.flowRunId ?? "");
    this.flowName = kind === "flow" ? this.functionName : (parent?.flowName ?? "");
    this.name = cleanName(options.runName ?? this.defaultName());
    this.place = host.has("run_details.v1") ? this.findPlace() : undefined;
    this.inputs = options.inputs === undefined ? [] : inputList(options.inputs);
    const facts = {
      id: this.id,
      rootId: this.rootRunId,
      kind,
      flowRunId: this.flowRunId,
      flowName: this.flowName,
      functionName: this.functionName,
      name: this.name,
      tags: this.tags,
      createdUs: this.createdUs,
      inputs: this.inputs,
      ...(this.place === undefined ? {} : { code: this.place }),
    };
    this.span = host.tracer.start(facts, parent?.span, incoming?.span);
    this.log = new RunLogger(this as Run, "flowspan.run");
    this.artifacts = new RunArtifacts(this as Run);
  }

  /**
   * Return the place of the call. A stack trace costs more than all the rest of a run, so the place
   * is that of the first call of this name below a flow or task of that name.
   */
  private findPlace(): Place | undefined {
    const { places } = this.host;
    const key = `${this.parent?.functionName ?? ""}\n${this.kind}\n${this.functionName}`;
    let place = places.get(key);
    if (place === undefined) {
      place = callerPlace(this.functionName);
      if (place !== undefined && places.size < MAX_PLACES) places.set(key, place);
    }
    return place;
  }

  private defaultName(): string {
    if (this.kind === "flow") return petName();
    return this.parent === undefined
      ? this.functionName
      : `${this.functionName}-${this.parent.childCount++}`;
  }

  /**
   * Aborts when the run is cancelled, when the service or the process stops it, and when its
   * attempt exceeds its timeout. Pass it on to what the run waits for.
   */
  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.stop !== undefined && !this.controller.signal.aborted)
      this.controller.abort(this.stop.error);
    return this.controller.signal;
  }

  /** The ids of the run's span: 32 and 16 hex digits. */
  get traceId(): string {
    return this.span.context.traceId;
  }

  /**
   * The address of the run's trace in the page of a trace viewer, by `FLOWSPAN_TRACE_URL`, or as the
   * service told it; undefined if neither names one, or if the trace is not sampled.
   */
  get traceUrl(): string | undefined {
    const { traceId, flags } = this.span.context;
    const isSampled = (Number.parseInt(flags, 16) & 1) === 1;
    return isSampled ? traceUrl(this.host.tracePage(), traceId) : undefined;
  }

  /** Run a task below this run. */
  task<T>(name: string, code: RunCode<T, unknown>): RunPromise<T>;
  /** Run a task below this run, with options. */
  task<T, Q>(name: string, options: RunOptions<Q>, code: RunCode<T, Q>): RunPromise<T, Q>;
  task<T, Q>(
    name: string,
    second: RunOptions<Q> | RunCode<T, Q>,
    third?: RunCode<T, Q>,
  ): RunPromise<T, Q> {
    return this.call("task", name, second, third);
  }

  /** Run a flow below this run. */
  flow<T>(name: string, code: RunCode<T, unknown>): RunPromise<T>;
  /** Run a flow below this run, with options. */
  flow<T, Q>(name: string, options: RunOptions<Q>, code: RunCode<T, Q>): RunPromise<T, Q>;
  flow<T, Q>(
    name: string,
    second: RunOptions<Q> | RunCode<T, Q>,
    third?: RunCode<T, Q>,
  ): RunPromise<T, Q> {
    return this.call("flow", name, second, third);
  }

  private call<T, Q>(
    kind: "flow" | "task",
    name: string,
    second: RunOptions<Q> | RunCode<T, Q>,
    third?: RunCode<T, Q>,
  ): RunPromise<T, Q> {
    return startRun(this.host, kind, name, this as Run, second, third);
  }

  /** Headers for a request whose server reports its runs below this one. */
  headers(): Record<string, string> {
    const span = this.innermostSpan();
    return {
      "flowspan-run": formatRunContext(this.context),
      traceparent: formatTraceparent(span),
      tracestate: formatTracestate(span, this.context),
    };
  }

  /** Environment variables for a process that reports its runs below this one. */
  environ(): Record<string, string> {
    const span = this.innermostSpan();
    return {
      FLOWSPAN_RUN: formatRunContext(this.context),
      TRACEPARENT: formatTraceparent(span),
      TRACESTATE: formatTracestate(span, this.context),
    };
  }

  /** The current span in the code of the run, such as that of an attempt; elsewhere its own. */
  private innermostSpan(): SpanContext {
    return this.host.current.get() === (this as Run) ? this.span.current() : this.span.context;
  }

  private get context() {
    return { runId: this.id, rootRunId: this.rootRunId };
  }

  /** @internal Stop the run and all runs below it. The first reason counts. */
  stopWith(stop: Stop): void {
    if (this.hasEnded || this.stop !== undefined) return;
    this.stop = stop;
    this.controller?.abort(stop.error);
    for (const child of [...this.children]) {
      // The service refuses what is below an aborted run, too; but the runs end by themselves.
      child.stopWith(stop);
    }
  }

  /** @internal Begin an attempt. Its signal can be aborted without stopping the run. */
  beginAttempt(): void {
    if (this.controller?.signal.aborted && this.stop === undefined) this.controller = undefined;
  }

  /** @internal End an attempt early. */
  abortAttempt(error: Error): void {
    this.controller ??= new AbortController();
    this.controller.abort(error);
    for (const child of [...this.children]) {
      child.stopWith({ kind: "cancelled", error, message: error.message });
    }
  }
}

/**
 * Start a run. Options may be left out.
 *
 * @internal
 */
export function startRun<T, P>(
  host: RunHost,
  kind: "flow" | "task",
  functionName: string,
  parent: Run | undefined,
  second: FlowOptions<P> | RunCode<T, P>,
  third?: RunCode<T, P>,
): RunPromise<T, P> {
  const [options, code] =
    typeof second === "function" ? [{} as FlowOptions<P>, second] : [second, third];
  checkOptions(functionName, options);
  if (typeof code !== "function")
    throw new TypeError(`the ${kind} ${functionName} has no function to call`);
  const spec: RunSpec<P> = { kind, functionName, options };
  if (parent !== undefined) spec.parent = parent;
  else spec.incoming = incomingOf(host, options);
  const run = new Run<P>(host, spec);
  const promise = execute(run, code);
  run.ended = promise.catch(() => undefined);
  return Object.assign(promise, { run });
}

/** Return what called a run at the top level: a request, the current span, or the process. */
function incomingOf(host: RunHost, options: FlowOptions): Incoming {
  if (options.headers !== undefined) return incomingFromHeaders(options.headers);
  const { span, runContext } = host.tracer.current();
  if (span === undefined) return host.incoming;
  const run = parseRunContext(runContext ?? "") ?? host.incoming.run;
  return run === undefined ? { span } : { run, span };
}
