/** The clock of the process: microseconds since 1970 UTC that never go back. */

import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";

const LARGEST_DRIFT_MS = 20;

let offsetMs = 0;
let lastUs = 0;

/**
 * Return the current time in microseconds since 1970 UTC.
 *
 * `Date.now()` has milliseconds only, and `performance.now()` does not follow corrections of the
 * wall clock. So the fine clock is used until the two differ noticeably.
 */
export function nowUs(): number {
  const fine = performance.timeOrigin + performance.now();
  const wall = Date.now();
  if (Math.abs(fine + offsetMs - wall) > LARGEST_DRIFT_MS) offsetMs = wall - fine;
  lastUs = Math.max(lastUs, Math.round((fine + offsetMs) * 1000));
  return lastUs;
}

/** Return the Timestamp message of a time in microseconds. */
export function timestamp(us: number): Timestamp {
  const seconds = Math.floor(us / 1_000_000);
  return create(TimestampSchema, {
    seconds: BigInt(seconds),
    nanos: (us - seconds * 1_000_000) * 1000,
  });
}

/** Return the Timestamp message of a date. */
export function timestampOfDate(date: Date): Timestamp {
  return timestamp(date.getTime() * 1000);
}

/** Return the date of a Timestamp message, in milliseconds: finer digits are dropped. */
export function dateOf(time: Timestamp | undefined): Date | undefined {
  if (time === undefined) return undefined;
  return new Date(Number(time.seconds) * 1000 + Math.floor(time.nanos / 1_000_000));
}
