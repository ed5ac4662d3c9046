/** The frames of the report stream. Events are encoded once, when they arise. */

import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Event, EventSchema, type Hello } from "../gen/flowspan/v1/report_pb.js";
import { type ReportRequest, ReportRequestSchema } from "../gen/flowspan/v1/report_service_pb.js";
import { putVarint, varintSize } from "./wire.js";

/** The tag, length and first_sequence of a batch in its frame. */
export const FRAME_OVERHEAD_BYTES = 24;

const BATCH_FIELD = 2;
const FIRST_SEQUENCE_TAG = (1 << 3) | WireType.Varint;
const EVENT_TAG = (2 << 3) | WireType.LengthDelimited;
// A field that no service knows: the service skips the event with a verdict.
const UNKNOWN_FIELD = 1999;

/** Encode an event. */
export function encodeEvent(event: Event["event"]): Uint8Array {
  return toBinary(EventSchema, create(EventSchema, { event }));
}

/** Return an event that stands for one that is too large. The service answers with a verdict. */
export function placeholder(): Uint8Array {
  return new BinaryWriter().tag(UNKNOWN_FIELD, WireType.Varint).uint32(1).finish();
}

/**
 * Return the frame of a batch. Its events are copied once, and not encoded again.
 *
 * @param firstSequence - The sequence of the first event.
 * @param events - Encoded events; at least one.
 */
export function batchFrame(firstSequence: number, events: readonly Uint8Array[]): ReportRequest {
  let size = 1 + varintSize(firstSequence);
  for (const event of events) size += 1 + varintSize(event.length) + event.length;
  const data = new Uint8Array(varintSize(size) + size);
  let at = putVarint(data, 0, size);
  data[at++] = FIRST_SEQUENCE_TAG;
  at = putVarint(data, at, firstSequence);
  for (const event of events) {
    data[at++] = EVENT_TAG;
    at = putVarint(data, at, event.length);
    data.set(event, at);
    at += event.length;
  }
  const frame = create(ReportRequestSchema);
  // An unknown field is written as it is, so the encoded batch needs no message.
  frame.$unknown = [{ no: BATCH_FIELD, wireType: WireType.LengthDelimited, data }];
  return frame;
}

/** Return the first frame. */
export function helloFrame(hello: Hello): ReportRequest {
  return create(ReportRequestSchema, { frame: { case: "hello", value: hello } });
}

/** Return a frame that only renews the lease. */
export function heartbeatFrame(): ReportRequest {
  return create(ReportRequestSchema, { frame: { case: "heartbeat", value: {} } });
}

/** Return the last frame. */
export function goodbyeFrame(): ReportRequest {
  return create(ReportRequestSchema, { frame: { case: "goodbye", value: {} } });
}
