/** The state of one connection of the report stream. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { DEFAULT_FRAME_BYTES, MAX_BATCH_EVENTS } from "../core/limits.js";
import { Wakeup } from "../core/waiting.js";
import type { Welcome } from "../gen/flowspan/v1/report_pb.js";
import { CAPABILITY as SHORT_RUNS } from "./short_runs.js";

const DEFAULT_LEASE_MS = 30_000;
const SHORTEST_LEASE_MS = 30;

/** A batch that was sent. */
export interface SentBatch {
  firstSequence: number;
  /** The number of its sequences. */
  count: number;
  /** The size of its events. */
  bytes: number;
}

/** See the module. */
export class Connection {
  private readonly controller = new AbortController();
  private batches: SentBatch[] = [];
  readonly welcomed = new Wakeup();
  isWelcome = false;
  hasEnded = false;
  saidGoodbye = false;
  /** The largest frame that the service accepts. */
  frameBytes = DEFAULT_FRAME_BYTES;
  window = 1;
  leaseMs = DEFAULT_LEASE_MS;
  joinsShortRuns = false;

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  abort(): void {
    this.hasEnded = true;
    this.controller.abort();
  }

  /** Take over what the service said. */
  use(welcome: Welcome): void {
    this.isWelcome = true;
    this.frameBytes = Number(welcome.maxFrameBytes || welcome.maxBatchBytes) || DEFAULT_FRAME_BYTES;
    this.window = Math.max(1, Number(welcome.maxUnackedEvents) || MAX_BATCH_EVENTS);
    if (welcome.lease !== undefined) {
      this.leaseMs = Math.max(SHORTEST_LEASE_MS, durationMs(welcome.lease));
    }
    this.joinsShortRuns = welcome.capabilities.includes(SHORT_RUNS);
  }

  /** Note a batch. */
  sent(batch: SentBatch): void {
    this.batches.push(batch);
  }

  /** Forget the batches that the service has stored. */
  acked(upTo: number): void {
    let stored = 0;
    for (; stored < this.batches.length; stored++) {
      const { firstSequence, count } = this.batches[stored] as SentBatch;
      if (firstSequence + count - 1 > upTo) break;
    }
    this.batches.splice(0, stored);
  }

  /**
   * Return the largest of the batches that the service has not stored: if it refused one for its
   * size, then this one or one before it.
   */
  largestInFlight(): SentBatch | undefined {
    let largest: SentBatch | undefined;
    for (const batch of this.batches) if (batch.bytes > (largest?.bytes ?? 0)) largest = batch;
    return largest;
  }
}
