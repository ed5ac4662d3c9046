/** Takes a run from its creation to its terminal state (docs/states.md). */

import { nowUs } from "../core/clock.js";
import { errorSummary } from "../core/failures.js";
import { jsonPayload, NotJsonError } from "../core/json.js";
import {
  MAX_INPUTS,
  MAX_INT32,
  MAX_PARAMETERS_BYTES,
  MAX_PAYLOAD_BYTES,
  MAX_PREVIEW_BYTES,
} from "../core/limits.js";
import { delay } from "../core/waiting.js";
import { FlowspanError, RunCancelledError, RunTimeoutError } from "../errors.js";
import type { Payload } from "../gen/flowspan/v1/payload_pb.js";
import { RunKind } from "../gen/flowspan/v1/report_pb.js";
import { StateType } from "../gen/flowspan/v1/state_pb.js";
import { foreignMembers, formatTraceparent } from "./carriers.js";
import type { RunTrace } from "./encoding.js";
import {
  cleanDescription,
  cleanName,
  createdEvent,
  type EnteredState,
  stateEvent,
} from "./events.js";
import { LEVELS, writeLog } from "./logger.js";
import { cleanLabels, retryDelayMs } from "./options.js";
import type { Run } from "./run.js";

/** The code of a flow or task. */
export type RunCode<T, P = unknown> = (run: Run<P>) => T | PromiseLike<T>;

const SETTLE_MS = 2_000;

/** How an attempt ended. */
type Outcome<T> = { ok: true; value: T } | { ok: false; error: unknown };

/**
 * Run the code of a run, with its retries, and report each state on the way.
 *
 * @returns The result of the code.
 * @throws What the code threw last, or the reason for which the run was stopped.
 */
export async function execute<T, P>(typed: Run<P>, code: RunCode<T, P>): Promise<T> {
  const run = typed as Run;
  const { parent } = run;
  if (parent?.stop !== undefined && !(run.options.cleanup && parent.stop.kind === "cancelled")) {
    throw parent.stop.error;
  }
  if (!run.host.reporter.hasRoom && !(await run.host.reporter.room())) {
    throw new FlowspanError(
      `the run of ${run.functionName} did not begin, because too many events wait for the service`,
      {
        code: "RESOURCE_EXHAUSTED",
        reason: "OVERLOADED",
        advice: "Check that the service is reachable.",
      },
    );
  }
  const close = open(run);
  try {
    const outcome = await attempts(run, () => code(typed));
    await childrenEnded(run);
    return end(run, outcome);
  } catch (error) {
    // An error that nothing catches ends the process at once, and the state must not go with it.
    if (run.parent === undefined) await run.host.reporter.settle(SETTLE_MS);
    throw error;
  } finally {
    close();
  }
}

/** Report the creation of a run, and register it. Returns the function that undoes the latter. */
function open(run: Run): () => void {
  const { host, parent, options } = run;
  emitCreated(run);
  host.openRuns.set(run.id, run);
  parent?.children.add(run);
  if (parent === undefined) {
    host.reporter.runOpened();
    host.outermostChanged(true);
  }
  const { signal } = options;
  const onAbort = () => {
    const message = signal?.reason instanceof Error ? signal.reason.message : "";
    run.stopWith({ kind: "cancelled", error: new RunCancelledError(run.id, message), message });
  };
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  return () => {
    signal?.removeEventListener("abort", onAbort);
    run.hasEnded = true;
    host.openRuns.delete(run.id);
    parent?.children.delete(run);
    if (parent === undefined) {
      host.reporter.runClosed();
      host.outermostChanged(false);
    }
  };
}

async function attempts<T>(run: Run, code: () => T | PromiseLike<T>): Promise<Outcome<T>> {
  const retries = run.options.retries ?? 0;
  let name = "Running";
  let message = "";
  for (;;) {
    if (run.stop !== undefined) return { ok: false, error: run.stop.error };
    const beganUs = nowUs();
    run.beginAttempt();
    enter(run, { type: StateType.RUNNING, name, message, atUs: beganUs });
    run.span.attemptBegan(run.attempt, beganUs);
    const outcome = await attempt(run, code);
    if (outcome.ok || run.attempt > retries || !(await mayRetry(run, outcome.error)))
      return outcome;
    message = errorSummary(outcome.error);
    if (!(await awaitRetry(run, message, outcome.error))) return outcome;
    run.attempt++;
    name = "Retrying";
  }
}

async function attempt<T>(run: Run, code: () => T | PromiseLike<T>): Promise<Outcome<T>> {
  const { timeoutMs } = run.options;
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    // `async` turns what is thrown at once into a rejection.
    const result = run.host.current.with(run, () => run.span.with(async () => code()));
    if (timeoutMs === undefined) return { ok: true, value: await result };
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new RunTimeoutError(timeoutMs);
        run.abortAttempt(error);
        reject(error);
      }, timeoutMs);
    });
    return { ok: true, value: await Promise.race([result, timeout]) };
  } catch (error) {
    return { ok: false, error };
  } finally {
    clearTimeout(timer);
  }
}

async function mayRetry(run: Run, error: unknown): Promise<boolean> {
  if (run.stop !== undefined) return false;
  try {
    return (await run.options.retryIf?.(error, run.attempt)) ?? true;
  } catch (broken) {
    writeLog(
      run,
      LEVELS.error,
      "flowspan.run",
      `retryIf threw, so the run is not retried: ${errorSummary(broken)}`,
    );
    return false;
  }
}

/** Wait for the next attempt. Returns false if the run was stopped meanwhile. */
async function awaitRetry(run: Run, message: string, error: unknown): Promise<boolean> {
  const delayMs = retryDelayMs(run.options, run.attempt);
  const atUs = nowUs();
  run.span.attemptFailed(error, delayMs, atUs);
  const count = `${run.attempt}/${run.options.retries ?? 0}`;
  const when = delayMs > 0 ? `in ${Math.round(delayMs) / 1000} s` : "at once";
  writeLog(run, LEVELS.warn, "flowspan.run", `${message} | Retry ${count} begins ${when}.`);
  if (delayMs > 0) {
    const scheduledUs = atUs + Math.round(delayMs * 1000);
    enter(run, { type: StateType.SCHEDULED, name: "AwaitingRetry", message, atUs, scheduledUs });
    run.beginAttempt();
    await delay(delayMs, run.signal).catch(() => undefined);
  }
  return run.stop === undefined;
}

/** Wait for the runs below a run that it did not await itself. */
async function childrenEnded(run: Run): Promise<void> {
  while (run.children.size > 0) await Promise.all([...run.children].map((child) => child.ended));
}

/** Report the terminal state. Returns the result, or throws. */
function end<T>(run: Run, outcome: Outcome<T>): T {
  const { stop } = run;
  if (run.hasEnded) throw stop?.error ?? new Error("the run has ended");
  if (outcome.ok) {
    const result = resultPayload(run, outcome.value);
    finish(run, { type: StateType.COMPLETED, name: "Completed", atUs: nowUs(), result });
    return outcome.value;
  }
  const { error } = outcome;
  if (stop === undefined) {
    const name = error instanceof RunTimeoutError ? "TimedOut" : "Failed";
    const message = errorSummary(error);
    finish(run, { type: StateType.FAILED, name, message, atUs: nowUs(), error: { thrown: error } });
    throw error;
  }
  endStopped(run);
  throw stop.error;
}

/** Report the terminal state of a run that was stopped. @internal */
export function endStopped(run: Run): void {
  const { stop } = run;
  if (stop === undefined || run.hasEnded) return;
  const { message } = stop;
  if (stop.kind === "interrupted") {
    const error = { thrown: stop.error };
    finish(run, { type: StateType.CRASHED, name: "Crashed", message, atUs: nowUs(), error });
  } else {
    finish(run, { type: StateType.CANCELLED, name: "Cancelled", message, atUs: nowUs() });
  }
}

function finish(run: Run, state: EnteredState): void {
  if (run.droppedLogs > 0) {
    run.notes.push(
      `${run.droppedLogs} log records of this run were dropped, because too much was unsent.`,
    );
  }
  writeNotes(run);
  enter(run, state);
  run.span.end({
    type: StateType[state.type],
    name: state.name,
    attempts: run.attempt,
    endedUs: state.atUs,
    ...(state.error === undefined ? {} : { error: state.error.thrown }),
  });
  run.hasEnded = true;
}

function enter(run: Run, state: EnteredState): void {
  // The service accepts nothing more of a run that it has aborted.
  if (run.stop?.kind === "aborted" || run.hasEnded) return;
  run.host.reporter.emit(stateEvent(run.id, run.attempt, state));
}

function emitCreated(run: Run): void {
  const { options, span } = run;
  const created = {
    runId: run.id,
    kind: run.kind === "flow" ? RunKind.FLOW : RunKind.TASK,
    functionName: run.functionName,
    runName: run.name,
    parentRunId: run.parentRunId,
    rootRunId: run.rootRunId,
    flowRunId: run.kind === "flow" ? "" : run.flowRunId,
    tags: run.tags,
    parameters: parametersPayload(run),
    trace: span.isExplicit ? traceOf(run) : undefined,
    version: options.version === undefined ? "" : cleanName(options.version),
    description: options.description === undefined ? "" : cleanDescription(options.description),
    maxAttempts: Math.min((options.retries ?? 0) + 1, MAX_INT32),
    inputs: run.inputs.length > MAX_INPUTS ? run.inputs.slice(0, MAX_INPUTS) : run.inputs,
    code: run.place,
    labels: options.labels === undefined ? undefined : cleanLabels(options.labels),
  };
  run.host.reporter.emit(createdEvent(created, run.createdUs));
  writeNotes(run);
}

function traceOf(run: Run): RunTrace {
  const { context, parentSpanId, isExported } = run.span;
  return {
    traceparent: formatTraceparent(context),
    tracestate: foreignMembers(context.tracestate),
    parentSpanId,
    exportedByService: !isExported,
  };
}

function parametersPayload(run: Run): Payload | undefined {
  if (run.options.parameters === undefined) return undefined;
  const limit = run.kind === "flow" ? MAX_PARAMETERS_BYTES : MAX_PREVIEW_BYTES;
  return payloadOrWarning(run, "parameters", run.options.parameters, limit);
}

function resultPayload(run: Run, value: unknown): Payload | undefined {
  if (value === undefined || run.options.storeResult === false) return undefined;
  return payloadOrWarning(run, "result", value, MAX_PAYLOAD_BYTES);
}

function payloadOrWarning(
  run: Run,
  what: string,
  value: unknown,
  limit: number,
): Payload | undefined {
  try {
    return jsonPayload(value, limit);
  } catch (error) {
    if (!(error instanceof NotJsonError)) throw error;
    run.notes.push(`The ${what} of the run could not be stored: ${error.message}.`);
    return undefined;
  }
}

/** Log what the user should know of a run. There are few of these, so none is dropped. */
function writeNotes(run: Run): void {
  for (const note of run.notes.splice(0)) {
    writeLog(run, LEVELS.warn, "flowspan.run", note, { isKept: true });
  }
}
