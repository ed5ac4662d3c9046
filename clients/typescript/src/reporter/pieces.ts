/**
 * Log records whose pieces are larger than a frame.
 *
 * A long text is divided when it is logged, often before the service has said how large its frames
 * may be. It is divided again when the limit is known, as long as none of it was sent: then its
 * pieces have sequences, and numbers, that must not change.
 */

import { fromBinary } from "@bufbuild/protobuf";
import { chunks } from "../core/text.js";
import type { LogRecord } from "../gen/flowspan/v1/log_pb.js";
import { EventSchema } from "../gen/flowspan/v1/report_pb.js";
import { encodeEvent } from "./frames.js";
import type { OutboxEvent } from "./outbox.js";

/** A text that was divided again. */
export interface Division {
  /** The index of its first piece. */
  start: number;
  /** The former number of its pieces. */
  count: number;
  /** The new pieces. */
  pieces: OutboxEvent[];
}

/**
 * Divide texts again whose pieces are too large.
 *
 * @param events - Events that no service knows. The rest of a text whose beginning was sent stays.
 * @param isTooLarge - Whether an event does not fit into a frame.
 * @param maxBytes - The largest size of the text of a piece, in UTF-8.
 * @returns The texts that were divided, in order.
 */
export function divided(
  events: readonly OutboxEvent[],
  isTooLarge: (event: OutboxEvent) => boolean,
  maxBytes: number,
): Division[] {
  const found: Division[] = [];
  for (let index = 0; index < events.length; index++) {
    const event = events[index] as OutboxEvent;
    // Only log records have no step.
    if (event.step !== undefined || !isTooLarge(event)) continue;
    const record = recordIn(event);
    const start = index - (record?.chunkIndex ?? 0);
    if (record === undefined || start < 0) continue;
    const count = Math.max(record.chunkCount, 1);
    // The pieces of a text are added together, so they stand next to each other.
    const texts = events.slice(start, start + count).map((piece) => recordIn(piece)?.message ?? "");
    found.push({ start, count, pieces: piecesOf(record, chunks(texts.join(""), maxBytes)) });
    index = start + count - 1;
  }
  return found;
}

function piecesOf(record: LogRecord, texts: readonly string[]): OutboxEvent[] {
  return texts.map((message, chunkIndex) => {
    const chunkCount = texts.length > 1 ? texts.length : 0;
    const value = { ...record, message, chunkIndex, chunkCount };
    return { data: encodeEvent({ case: "log", value }) };
  });
}

function recordIn(event: OutboxEvent): LogRecord | undefined {
  const { event: content } = fromBinary(EventSchema, event.data);
  return content.case === "log" ? content.value : undefined;
}
