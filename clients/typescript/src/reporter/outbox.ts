/**
 * The events of a session that the service has not yet stored, encoded, in order.
 *
 * The outbox is bounded in events and bytes. Who adds to a full one decides: logs are dropped, and
 * states wait for room (see {@link Outbox.hasRoom}).
 */

/** Consecutive events, to be sent in one frame. */
export interface EncodedBatch {
  /** The sequence of the first event. */
  firstSequence: number;
  /** The encoded events; never empty. */
  events: readonly Uint8Array[];
}

/** What limits the next batch. */
export interface BatchLimits {
  /** The largest sum of the sizes of the events, with {@link EVENT_OVERHEAD_BYTES} for each. */
  maxBytes: number;
  /** The largest number of events in a batch. */
  maxEvents: number;
  /** The largest number of events that are sent but not acknowledged. */
  window: number;
}

/** The tag and length of an event in its batch. */
export const EVENT_OVERHEAD_BYTES = 6;

const COMPACT_AT = 1024;

/** See the module. */
export class Outbox {
  /** Events from `head` on are not acknowledged; the first has the sequence `acked + 1`. */
  private events: Uint8Array[] = [];
  private head = 0;
  private acked = 0;
  private sent = 0;
  private bytes = 0;

  /**
   * @param maxEvents - The bound in events.
   * @param maxBytes - The bound in bytes.
   */
  constructor(
    private readonly maxEvents: number,
    private readonly maxBytes: number,
  ) {}

  /** The number of events that are not acknowledged. */
  get size(): number {
    return this.events.length - this.head;
  }

  /** The number of events that are not sent on this connection. */
  get unsent(): number {
    return this.lastSequence - this.sent;
  }

  /** The sequence of the last event that was added. */
  get lastSequence(): number {
    return this.acked + this.size;
  }

  /** The last sequence that the service confirmed. */
  get ackedSequence(): number {
    return this.acked;
  }

  /** Whether an event of a size fits. An empty outbox takes any event. */
  hasRoom(bytes: number): boolean {
    return this.size === 0 || (this.size < this.maxEvents && this.bytes + bytes <= this.maxBytes);
  }

  /** Add an event, also beyond the bounds. Returns its sequence. */
  add(event: Uint8Array): number {
    this.events.push(event);
    this.bytes += event.length;
    return this.lastSequence;
  }

  /** Take the next batch to send; undefined if there is none, or the window is full. */
  next(limits: BatchLimits): EncodedBatch | undefined {
    const start = this.head + (this.sent - this.acked);
    const inFlight = this.sent - this.acked;
    const most = Math.min(limits.maxEvents, limits.window - inFlight, this.events.length - start);
    if (most <= 0) return undefined;
    let bytes = 0;
    let count = 0;
    while (count < most) {
      bytes += (this.events[start + count] as Uint8Array).length + EVENT_OVERHEAD_BYTES;
      if (count > 0 && bytes > limits.maxBytes) break;
      count++;
    }
    const firstSequence = this.sent + 1;
    this.sent += count;
    return { firstSequence, events: this.events.slice(start, start + count) };
  }

  /** Put another event in the place of one that is not acknowledged. */
  replace(sequence: number, event: Uint8Array): void {
    const index = this.head + (sequence - this.acked) - 1;
    this.bytes += event.length - (this.events[index] as Uint8Array).length;
    this.events[index] = event;
  }

  /** Forget the events up to a sequence, because the service has stored them. */
  ack(upTo: number): void {
    const sequence = Math.min(upTo, this.lastSequence);
    for (let count = sequence - this.acked; count > 0; count--) {
      this.bytes -= (this.events[this.head] as Uint8Array).length;
      this.events[this.head++] = EMPTY;
      this.acked++;
    }
    this.sent = Math.max(this.sent, this.acked);
    if (this.head >= COMPACT_AT && this.head * 2 >= this.events.length) {
      this.events = this.events.slice(this.head);
      this.head = 0;
    }
  }

  /** Begin a new connection: everything after `resumeAfter` is sent again. */
  resume(resumeAfter: number): void {
    this.ack(resumeAfter);
    this.sent = this.acked;
  }

  /** Forget everything, because it can never be sent. Returns the number of events lost. */
  discard(): number {
    const lost = this.size;
    this.ack(this.lastSequence);
    return lost;
  }
}

const EMPTY = new Uint8Array(0);
