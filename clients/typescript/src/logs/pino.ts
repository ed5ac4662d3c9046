/**
 * pino: its records are stored with the run whose code logs them.
 *
 * ```ts
 * import pino from "pino";
 * import { pinoMixin, pinoStream } from "flowspan/pino";
 *
 * const logger = pino(
 *   { mixin: pinoMixin },
 *   pino.multistream([{ stream: process.stdout }, { stream: pinoStream() }]),
 * );
 * ```
 *
 * It is a stream and not a transport: transports are worker threads, which do not know the current
 * run.
 *
 * @module
 */

import { currentRun } from "../runs/current.js";
import { writeLog } from "../runs/logger.js";

// The levels of pino are those of flowspan plus ten: 30 is INFO.
const OFFSET = 10;
const INFO = 20;
const OWN_MEMBERS = new Set([
  "level",
  "time",
  "pid",
  "hostname",
  "name",
  "msg",
  "flowspan_run_id",
  "flowspan.run.id",
  "flowspan.run.name",
  "flowspan.flow.name",
  "flowspan.flow_run.id",
  "flowspan.root_run.id",
  "flowspan.attempt",
  "trace_id",
  "span_id",
]);

/**
 * Return the names and ids of the current run, for the option `mixin` of pino. They are named as the
 * attributes of spans are.
 */
export function pinoMixin(): Record<string, string | number> {
  const run = currentRun();
  if (run === undefined) return {};
  const span = run.span.current();
  return {
    flowspan_run_id: run.id, // the name of earlier versions
    "flowspan.run.id": run.id,
    "flowspan.run.name": run.name,
    ...(run.flowName ? { "flowspan.flow.name": run.flowName } : {}),
    ...(run.flowRunId ? { "flowspan.flow_run.id": run.flowRunId } : {}),
    "flowspan.root_run.id": run.rootRunId,
    "flowspan.attempt": run.attempt,
    trace_id: span.traceId,
    span_id: span.spanId,
  };
}

/** Return a stream for pino that stores records with the current run. Outside runs it does nothing. */
export function pinoStream(): { write(line: string): void } {
  return { write: store };
}

function store(line: string): void {
  const run = currentRun();
  if (run === undefined || run.hasEnded) return;
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    writeLog(run, INFO, "pino", line.trimEnd());
    return;
  }
  const level = typeof record.level === "number" ? record.level - OFFSET : INFO;
  const logger = typeof record.name === "string" ? record.name : "pino";
  const time = typeof record.time === "number" ? { atUs: record.time * 1000 } : {};
  writeLog(run, level, logger, textOf(record), time);
}

function textOf(record: Record<string, unknown>): string {
  const message = typeof record.msg === "string" ? record.msg : "";
  const error = record.err as { stack?: unknown } | undefined;
  const rest = Object.entries(record).filter(([name]) => !OWN_MEMBERS.has(name) && name !== "err");
  const parts = [message];
  if (rest.length > 0) parts.push(JSON.stringify(Object.fromEntries(rest)));
  const text = parts.filter((part) => part !== "").join(" ");
  return typeof error?.stack === "string" ? `${text}\n${error.stack}` : text;
}
