/** The options of flows and tasks, and their checks. */

import { isId } from "../core/ids.js";
import { MAX_LABEL_VALUE_BYTES, MAX_LABELS, MAX_NAME_BYTES } from "../core/limits.js";
import { truncate } from "../core/text.js";
import type { HeadersLike, SpanContext } from "./carriers.js";

const LABEL_KEY = /^[a-z0-9._/-]{1,64}$/;

/** The delay before each retry: milliseconds, a list of which the last is repeated, or a function. */
export type RetryDelay = number | readonly number[] | ((failedAttempt: number) => number);

/** A run whose result is an argument: a run, the promise of one, or the id of one. */
export type InputRun = string | { readonly id: string } | { readonly run: { readonly id: string } };

/** The options of flows and tasks. */
export interface RunOptions<P = unknown> {
  /** The name of the run, for people. One is made up if not set. */
  runName?: string;
  /** The arguments, for people: an object that JSON can hold. Also `run.parameters`. */
  parameters?: P;
  /** Words for people and filters. */
  tags?: readonly string[];
  /** What the flow or task does, for people. */
  description?: string;
  /** The version of the code, as its author defines it. */
  version?: string;
  /** Key/value pairs of the run. */
  labels?: Readonly<Record<string, string>>;
  /** The runs whose results this run takes, by parameter. */
  inputs?: Readonly<Record<string, InputRun | readonly InputRun[]>>;
  /** How many attempts may follow the first one. */
  retries?: number;
  /** The delay before each retry, in milliseconds. None if not set. */
  retryDelayMs?: RetryDelay;
  /** The largest random growth of a delay: 0.5 spreads 10 s over 10 to 15 s. */
  retryJitter?: number;
  /** Decides whether an error is retried. All are if not set. */
  retryIf?: (error: unknown, failedAttempt: number) => boolean | Promise<boolean>;
  /** How long an attempt may take, in milliseconds. Its signal is aborted then, and it failed. */
  timeoutMs?: number;
  /** False to keep the result out of the service. */
  storeResult?: boolean;
  /** True for a run that cleans up: it may begin although the run that calls it was cancelled. */
  cleanup?: boolean;
}

/** The options of flows at the top level. */
export interface FlowOptions<P = unknown> extends RunOptions<P> {
  /** The headers of the request that the flow serves: their run and trace become its parents. */
  headers?: HeadersLike;
  /** Cancels the run. */
  signal?: AbortSignal;
}

/** Waiting times of retries, doubled from a first one up to a longest one. */
export function exponentialBackoff(
  firstMs: number,
  longestMs = 60_000,
): (failedAttempt: number) => number {
  return (failedAttempt) => Math.min(firstMs * 2 ** Math.min(failedAttempt - 1, 30), longestMs);
}

/**
 * Check the options of a run.
 *
 * @throws TypeError - A name is empty, or a number is out of its range.
 */
export function checkOptions(functionName: string, options: RunOptions): void {
  if (typeof functionName !== "string" || functionName === "") {
    throw new TypeError("the name of a flow or task must be a text that is not empty");
  }
  checkNumber("retries", options.retries, Number.isInteger);
  if (options.labels !== undefined) cleanLabels(options.labels);
  if (options.inputs !== undefined) inputList(options.inputs);
  checkNumber("retryJitter", options.retryJitter, Number.isFinite);
  checkNumber("timeoutMs", options.timeoutMs, (value) => value > 0 && Number.isFinite(value));
  const { retryDelayMs } = options;
  const delays = typeof retryDelayMs === "object" ? retryDelayMs : [retryDelayMs];
  for (const each of delays) {
    if (typeof each !== "function") checkNumber("retryDelayMs", each, Number.isFinite);
  }
}

function checkNumber(name: string, value: unknown, holds: (value: number) => boolean): void {
  if (value === undefined) return;
  if (typeof value !== "number" || value < 0 || !holds(value)) {
    throw new TypeError(`${name} is ${String(value)}, which is not possible`);
  }
}

/** Return the delay before the retry that follows a failed attempt, in milliseconds. */
export function retryDelayMs(
  options: RunOptions,
  failedAttempt: number,
  random = Math.random,
): number {
  const given = options.retryDelayMs ?? 0;
  let ms: number;
  if (typeof given === "function") ms = given(failedAttempt);
  else if (typeof given === "number") ms = given;
  else ms = given[Math.min(failedAttempt, given.length) - 1] ?? 0;
  const usable = Number.isFinite(ms) && ms > 0 ? ms : 0;
  return usable * (1 + random() * (options.retryJitter ?? 0));
}

/**
 * Return the labels that the protocol allows: long values are cut.
 *
 * @throws TypeError - A key has other characters, a value is no text, or there are too many labels.
 */
export function cleanLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) {
    throw new TypeError(`a run has at most ${MAX_LABELS} labels, not ${entries.length}`);
  }
  for (const [key, value] of entries) {
    if (!LABEL_KEY.test(key)) {
      throw new TypeError(
        `the label ${JSON.stringify(key)} must have 1 to 64 of the characters a-z, 0-9, ".", "_", "/" and "-"`,
      );
    }
    if (typeof value !== "string") throw new TypeError(`the value of the label ${key} is no text`);
  }
  return Object.fromEntries(
    entries.map(([key, value]) => [key, truncate(value, MAX_LABEL_VALUE_BYTES)]),
  );
}

/** A run of `inputs`, with its span if it is of this process. */
export interface ListedInput {
  runId: string;
  parameter: string;
  span?: SpanContext;
}

/**
 * Return the runs of `inputs` with their parameters.
 *
 * @throws TypeError - An input is neither a run nor the id of one.
 */
export function inputList(inputs: RunOptions["inputs"]): ListedInput[] {
  const found: ListedInput[] = [];
  for (const [parameter, given] of Object.entries(inputs ?? {})) {
    for (const each of Array.isArray(given) ? given : [given]) {
      found.push(listed(each as InputRun, parameter));
    }
  }
  return found;
}

function listed(input: InputRun, name: string): ListedInput {
  const parameter = truncate(name, MAX_NAME_BYTES) || "?";
  const run: { id?: unknown; span?: { context: SpanContext } } =
    typeof input === "string" ? { id: input } : "run" in input ? input.run : input;
  if (typeof run.id !== "string" || !isId(run.id)) {
    throw new TypeError(`the input ${name} is neither a run nor the id of one`);
  }
  const item = { runId: run.id, parameter };
  return run.span === undefined ? item : { ...item, span: run.span.context };
}
