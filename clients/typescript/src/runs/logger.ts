/** The logger of a run. */

import { nowUs } from "../core/clock.js";
import { logText } from "../core/format.js";
import { MAX_LOG_BYTES, MAX_TIME_US } from "../core/limits.js";
import { chunks, clean } from "../core/text.js";
import type { OutboxEvent } from "../reporter/outbox.js";
import { cleanName, logEvent } from "./events.js";
import type { Run } from "./run.js";

/** The numbers of the levels. Numbers in between are allowed. */
export const LEVELS = { debug: 10, info: 20, warn: 30, error: 40, critical: 50 } as const;

/** Logs records that are stored with a run. */
export class RunLogger {
  /** @internal */
  constructor(
    private readonly run: Run,
    /** The name of the logger. */
    readonly name: string,
  ) {}

  /** Return a logger of the same run with another name. */
  child(name: string): RunLogger {
    return new RunLogger(this.run, name);
  }

  /** Log details for debugging. */
  debug(message: unknown, ...values: unknown[]): void {
    this.log(LEVELS.debug, message, ...values);
  }

  /** Log normal operation. */
  info(message: unknown, ...values: unknown[]): void {
    this.log(LEVELS.info, message, ...values);
  }

  /** Log something unexpected that the code could handle. */
  warn(message: unknown, ...values: unknown[]): void {
    this.log(LEVELS.warn, message, ...values);
  }

  /** Log that something failed. */
  error(message: unknown, ...values: unknown[]): void {
    this.log(LEVELS.error, message, ...values);
  }

  /** Log that the program cannot continue. */
  critical(message: unknown, ...values: unknown[]): void {
    this.log(LEVELS.critical, message, ...values);
  }

  /**
   * Log a record. Never throws, and never waits: if too much is unsent, the record is dropped, and
   * the run gets one warning with the number of dropped records.
   *
   * @param level - The severity as a number: 20 is INFO.
   * @param values - Texts stay as they are, errors have their stack trace, and others are JSON.
   */
  log(level: number, ...values: unknown[]): void {
    writeLog(this.run, level, this.name, logText(values));
  }
}

/** Return a time that the protocol allows. Loggers of programs can be configured to have others. */
function timeOf(us: number | undefined): number | undefined {
  return us !== undefined && us > 0 && us < MAX_TIME_US ? Math.floor(us) : undefined;
}

/**
 * Store a record with a run; see {@link RunLogger.log}.
 *
 * @param options - `isKept` for a record that is never dropped, `atUs` for the time of the record.
 */
export function writeLog(
  run: Run,
  level: number,
  logger: string,
  message: string,
  options: { isKept?: boolean; atUs?: number } = {},
): void {
  const { reporter } = run.host;
  const atUs = timeOf(options.atUs) ?? nowUs();
  const span = run.span.current();
  const limit = Math.min(MAX_LOG_BYTES, reporter.logLimit);
  const pieces = chunks(clean(message), limit);
  const loggerName = cleanName(logger);
  const chunkCount = pieces.length > 1 ? pieces.length : 0;
  const events = pieces.map((piece, chunkIndex) =>
    logEvent({
      runId: run.id,
      attempt: run.attempt,
      level: Math.round(Math.min(Math.max(level, 1), 1000)),
      atUs,
      logger: loggerName,
      message: piece,
      traceId: span.traceId,
      spanId: span.spanId,
      chunkIndex,
      chunkCount,
    }),
  );
  const [first, ...rest] = events as [OutboxEvent, ...OutboxEvent[]];
  if (options.isKept) reporter.emit(first);
  else if (!reporter.offer(first)) {
    run.droppedLogs++;
    return;
  }
  // The rest of a record is not dropped: half a record is worth nothing.
  for (const event of rest) reporter.emit(event);
}
