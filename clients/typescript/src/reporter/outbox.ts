/**
 * The events of a session that the service has not yet stored, encoded, in order.
 *
 * The outbox is bounded in events and bytes. Who adds to a full one decides: logs are dropped, and
 * states wait for room (see {@link Outbox.hasRoom}).
 */

import type { Step } from "./short_runs.js";

/** An encoded event. */
export interface OutboxEvent {
  /** The encoded flowspan.v1.Event. */
  readonly data: Uint8Array;
  /** Its part in the life of a run. Log records, which may follow the end of their run, have none. */
  readonly step?: Step;
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
  private events: OutboxEvent[] = [];
  private head = 0;
  private acked = 0;
  private sent = 0;
  /** The last sequence that may have reached a service, on any connection. */
  private used = 0;
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

  /** The last sequence that was sent on this connection. */
  get sentSequence(): number {
    return this.sent;
  }

  /** The last sequence whose event must stay as it is, because a service may know it. */
  get usedSequence(): number {
    return this.used;
  }

  /** Whether an event of a size fits. An empty outbox takes any event. */
  hasRoom(bytes: number): boolean {
    return this.size === 0 || (this.size < this.maxEvents && this.bytes + bytes <= this.maxBytes);
  }

  /** Add an event, also beyond the bounds. Returns its sequence. */
  add(event: OutboxEvent): number {
    this.events.push(event);
    this.bytes += event.data.length;
    return this.lastSequence;
  }

  /**
   * Return the number of events of the next batch; 0 if there is none, or the window is full. A
   * batch has at least one event, however large.
   */
  nextCount(limits: BatchLimits): number {
    const start = this.indexOf(this.sent + 1);
    const inFlight = this.sent - this.acked;
    const most = Math.min(limits.maxEvents, limits.window - inFlight, this.events.length - start);
    let bytes = 0;
    let count = 0;
    while (count < most) {
      bytes += this.at(start + count).data.length + EVENT_OVERHEAD_BYTES;
      if (count > 0 && bytes > limits.maxBytes) break;
      count++;
    }
    return count;
  }

  /** Mark the next events as sent. Returns the sequence of the first one. */
  take(count: number): number {
    const first = this.sent + 1;
    this.sent += count;
    this.used = Math.max(this.used, this.sent);
    return first;
  }

  /** Return consecutive events that are not acknowledged. */
  range(firstSequence: number, count: number): OutboxEvent[] {
    const start = this.indexOf(firstSequence);
    return this.events.slice(start, start + count);
  }

  /** Return the events that no service knows: those after `usedSequence`. */
  fresh(): OutboxEvent[] {
    return this.events.slice(this.indexOf(this.used + 1));
  }

  /**
   * Put other events in the place of the first ones that no service knows.
   *
   * @param count - The number of events to replace.
   * @param events - The events in their place; they may be more.
   */
  replaceFresh(count: number, events: readonly OutboxEvent[]): void {
    const start = this.indexOf(this.used + 1);
    for (let index = start; index < start + count; index++) {
      this.bytes -= this.at(index).data.length;
    }
    for (const event of events) this.bytes += event.data.length;
    if (events.length === count) {
      for (let index = 0; index < count; index++) {
        this.events[start + index] = events[index] as OutboxEvent;
      }
    } else {
      this.events = [
        ...this.events.slice(0, start),
        ...events,
        ...this.events.slice(start + count),
      ];
    }
  }

  /** Return the event with a sequence that is not acknowledged. */
  get(sequence: number): OutboxEvent {
    return this.at(this.indexOf(sequence));
  }

  /** Put another event in the place of one that is not acknowledged. */
  replace(sequence: number, event: OutboxEvent): void {
    const index = this.indexOf(sequence);
    this.bytes += event.data.length - this.at(index).data.length;
    this.events[index] = event;
  }

  /** Forget the events up to a sequence, because the service has stored them. */
  ack(upTo: number): void {
    const sequence = Math.min(upTo, this.lastSequence);
    for (let count = sequence - this.acked; count > 0; count--) {
      this.bytes -= this.at(this.head).data.length;
      this.events[this.head++] = NOTHING;
      this.acked++;
    }
    this.sent = Math.max(this.sent, this.acked);
    this.used = Math.max(this.used, this.sent);
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

  /** Note that no service has received the events from a sequence on. */
  notReceived(sequence: number): void {
    this.used = Math.max(this.acked, Math.min(this.used, sequence - 1));
  }

  /** Forget everything, because it can never be sent. Returns the number of events lost. */
  discard(): number {
    const lost = this.size;
    this.ack(this.lastSequence);
    return lost;
  }

  private indexOf(sequence: number): number {
    return this.head + (sequence - this.acked) - 1;
  }

  private at(index: number): OutboxEvent {
    return this.events[index] as OutboxEvent;
  }
}

const NOTHING: OutboxEvent = { data: new Uint8Array(0) };
