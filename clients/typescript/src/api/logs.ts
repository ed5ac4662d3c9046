/** The logs of runs. */

import { timestampOfDate } from "../core/clock.js";
import {
  LogLevel as LogLevelEnum,
  type LogRecord as LogMessage,
} from "../gen/flowspan/v1/log_pb.js";
import { LogOrder, LogService } from "../gen/flowspan/v1/log_service_pb.js";
import type { Caller, RequestOptions } from "./caller.js";
import { enumNumber, type LogLevel, type LogRecord, toLogRecord } from "./records.js";
import { type ListOptions, paged } from "./run_queries.js";

/** The records to read. */
export interface LogFilter {
  /** Include the records of the runs that this run called. */
  includeDescendants?: boolean;
  /** Records of this severity or higher. */
  minLevel?: LogLevel;
  /** Records of these loggers or their descendants: "app" matches "app.db". */
  loggers?: readonly string[];
  /** Records from this time on. */
  loggedAfter?: Date;
  /** Records whose message contains this text, case-sensitive. */
  messageContains?: string;
}

/** See the module. */
export class Logs {
  /** @internal */
  constructor(private readonly caller: Caller) {}

  private get stub() {
    return this.caller.client(LogService);
  }

  /** Iterate over the records of a run, oldest first unless `newestFirst`. */
  list(
    runId: string,
    filter: LogFilter & Omit<ListOptions, "oldestFirst"> & { newestFirst?: boolean } = {},
  ): AsyncGenerator<LogRecord> {
    const { newestFirst, limit, ...rest } = filter;
    const order = newestFirst ? LogOrder.NEWEST_FIRST : LogOrder.OLDEST_FIRST;
    const pages = paged<LogMessage>(
      async (pageToken, pageSize) => {
        const answer = await this.caller.repeatable(
          (call) =>
            this.stub.listLogs({ ...filterOf(runId, filter), order, pageSize, pageToken }, call),
          filter,
        );
        return { items: answer.logs, nextPageToken: answer.nextPageToken };
      },
      { pageSize: 1000, ...rest },
    );
    return limited(joined(pages, filter.messageContains ?? ""), limit);
  }

  /** Follow the records of a run: the existing ones, then new ones, until the run has ended. */
  async *tail(
    runId: string,
    filter: LogFilter & { afterPosition?: bigint; signal?: AbortSignal } = {},
  ): AsyncGenerator<LogRecord> {
    let afterPosition = filter.afterPosition ?? 0n;
    const request: RequestOptions = filter.signal === undefined ? {} : { signal: filter.signal };
    const frames = this.caller.follow(
      (call) => this.stub.tailLogs({ ...filterOf(runId, filter), afterPosition }, call),
      request,
    );
    const records = async function* () {
      for await (const frame of frames) {
        for (const record of frame.logs) {
          afterPosition = record.position;
          yield record;
        }
        if (frame.position > afterPosition) afterPosition = frame.position;
      }
    };
    yield* joined(records(), filter.messageContains ?? "");
  }
}

function filterOf(runId: string, filter: LogFilter) {
  return {
    runId,
    includeDescendants: filter.includeDescendants ?? false,
    loggers: [...(filter.loggers ?? [])],
    messageContains: filter.messageContains ?? "",
    ...(filter.minLevel === undefined
      ? {}
      : { minLevel: enumNumber(LogLevelEnum, filter.minLevel) }),
    ...(filter.loggedAfter === undefined
      ? {}
      : { loggedAfter: timestampOfDate(filter.loggedAfter) }),
  };
}

/** Join the pieces of long records, in whichever order they come, and filter the whole text. */
async function* joined(
  records: AsyncIterable<LogMessage>,
  contains: string,
): AsyncGenerator<LogRecord> {
  const open = new Map<string, LogMessage[]>();
  for await (const record of records) {
    const whole = record.chunkCount > 1 ? wholeOf(open, record) : record;
    if (whole?.message.includes(contains)) yield toLogRecord(whole);
  }
  // A process may have ended in the middle of a record.
  for (const pieces of open.values()) {
    const whole = join(pieces);
    if (whole.message.includes(contains)) yield toLogRecord(whole);
  }
}

function wholeOf(open: Map<string, LogMessage[]>, piece: LogMessage): LogMessage | undefined {
  const time = piece.time;
  const key = `${piece.runId} ${piece.logger} ${time?.seconds}.${time?.nanos} ${piece.chunkCount}`;
  const pieces = open.get(key) ?? [];
  pieces.push(piece);
  if (pieces.length < piece.chunkCount) {
    open.set(key, pieces);
    return undefined;
  }
  open.delete(key);
  return join(pieces);
}

function join(pieces: LogMessage[]): LogMessage {
  const last = pieces[pieces.length - 1] as LogMessage;
  const sorted = [...pieces].sort((one, other) => one.chunkIndex - other.chunkIndex);
  return { ...last, message: sorted.map((piece) => piece.message).join("") };
}

async function* limited<T>(items: AsyncIterable<T>, limit: number | undefined): AsyncGenerator<T> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  if (left <= 0) return;
  for await (const item of items) {
    yield item;
    if (--left <= 0) return;
  }
}
