/**
 * Reports the events of this process over one stream (docs/protocol.md, "The report stream").
 *
 * The stream opens with the first event. It is opened again when it breaks, with the same session,
 * and everything that the service has not confirmed is sent again.
 */

import { DEFAULT_FRAME_BYTES, MAX_BATCH_EVENTS } from "../core/limits.js";
import { unref, Wakeup, within } from "../core/waiting.js";
import { FlowspanError, flowspanErrorOf } from "../errors.js";
import type { Command, Hello, Welcome } from "../gen/flowspan/v1/report_pb.js";
import type { ReportRequest, ReportResponse } from "../gen/flowspan/v1/report_service_pb.js";
import type { Verdict } from "../gen/flowspan/v1/verdict_pb.js";
import { Backoff } from "./backoff.js";
import { Connection } from "./connection.js";
import {
  batchFrame,
  FRAME_OVERHEAD_BYTES,
  goodbyeFrame,
  heartbeatFrame,
  helloFrame,
  placeholder,
} from "./frames.js";
import { Outbox, type OutboxEvent } from "./outbox.js";
import { divided } from "./pieces.js";
import { gathered, joined } from "./short_runs.js";

/** How the reporter reaches the service and its owner. */
export interface ReporterIO {
  /** Open the stream. Ends when the signal aborts. */
  open(frames: AsyncIterable<ReportRequest>, signal: AbortSignal): AsyncIterable<ReportResponse>;
  /** Return the access token that the last stream began with; empty if it had none. */
  usedToken(): string;
  /** Return the access token of the next stream; empty if there is none, or it cannot be read. */
  nextToken(): string;
  /** Return the first frame, with the last confirmed sequence. */
  hello(ackedSequence: number): Hello;
  /** A verdict on an event of a run. Called once for each. */
  onVerdict(verdict: Verdict): void;
  /** A command of the service. May be called again for the same command. */
  onCommand(command: Command): void;
  /** Something that the user should know. */
  warn(message: string): void;
  /** Whether the stream must keep the process alive. Called when that changes. */
  onBusy(isBusy: boolean): void;
}

/** The settings of a reporter. */
export interface ReporterOptions {
  /** The bound of the outbox, in events. */
  maxEvents: number;
  /** The bound of the outbox, in bytes. */
  maxBytes: number;
  /** How long events gather before they are sent, in milliseconds. */
  gatherMs: number;
  /** How long a state waits for room in a full outbox, in milliseconds. */
  roomTimeoutMs: number;
}

const WELCOME_TIMEOUT_MS = 15_000;
const GOODBYE_TIMEOUT_MS = 3_000;
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 10_000;
/** The longest pause while somebody waits until everything is stored. */
const EAGER_BACKOFF_MS = 500;
const SMALLEST_FRAME_BYTES = 256;
/** An event with its tag and length in a batch, and the batch in its frame, are that much larger. */
const EVENT_IN_FRAME_BYTES = FRAME_OVERHEAD_BYTES + 8;
/** Refusals that concern the access token, which may be replaced, and not the session. */
const ACCESS_REASONS = new Set(["UNAUTHENTICATED", "MISSING_SCOPE"]);
const FATAL_CODES = new Set([
  "INVALID_ARGUMENT",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "UNIMPLEMENTED",
]);
/** How often to look for another access token, after one was refused. */
const LOOK_MS = 500;
const TOO_LARGE_MESSAGE = /larger than|too large|exceeds/i;
const LOG_OVERHEAD_BYTES = 1024;

/** See the module. */
export class Reporter {
  private readonly outbox: Outbox;
  private readonly backoff = new Backoff(FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS);
  private readonly wakeup = new Wakeup();
  private waiters: { sequence: number; resolve: () => void }[] = [];
  private roomWaiters: (() => void)[] = [];
  private loop: Promise<void> | undefined;
  private connection: Connection | undefined;
  private openRuns = 0;
  private isClosing = false;
  private isClosed = false;
  private fatal: FlowspanError | undefined;
  /** Whether the last connection broke, and no other was welcomed since. */
  private isBroken = false;
  /** The largest frame, after gRPC or a proxy has refused a larger one. */
  private frameLimit = Number.POSITIVE_INFINITY;
  private hasWarnedOfAccess = false;
  /** The access token that the service refused last; undefined if it refused none. */
  private refusedToken: string | undefined;

  constructor(
    private readonly io: ReporterIO,
    private readonly options: ReporterOptions,
  ) {
    this.outbox = new Outbox(options.maxEvents, options.maxBytes);
  }

  /** The error after which nothing can be reported any more. */
  get failure(): FlowspanError | undefined {
    return this.fatal;
  }

  /** The number of events that the service has not confirmed. */
  get pendingCount(): number {
    return this.outbox.size;
  }

  /** Whether {@link room} would return at once. */
  get hasRoom(): boolean {
    return this.fatal !== undefined || this.outbox.hasRoom(0);
  }

  /** The largest message of a log record that fits into a frame. */
  get logLimit(): number {
    return Math.max(SMALLEST_FRAME_BYTES, this.frameBytes - LOG_OVERHEAD_BYTES);
  }

  /** Add an event. It is sent soon; nothing waits. */
  emit(event: OutboxEvent): void {
    if (this.fatal !== undefined || this.isClosed) return;
    this.outbox.add(event);
    if (this.loop === undefined) this.loop = this.run();
    if (this.outbox.unsent === 1) this.io.onBusy(true);
    this.wakeup.set();
  }

  /** Add an event that may be dropped if the outbox is full. Returns false if it was. */
  offer(event: OutboxEvent): boolean {
    if (!this.outbox.hasRoom(event.data.length)) return false;
    this.emit(event);
    return true;
  }

  /**
   * Wait until the outbox has room.
   *
   * @returns False if it had none in time.
   */
  async room(): Promise<boolean> {
    const deadline = performance.now() + this.options.roomTimeoutMs;
    while (!this.hasRoom) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      const signal = new Promise<void>((resolve) => this.roomWaiters.push(resolve));
      await within(signal, left);
    }
    return true;
  }

  /** Count a top-level run, which keeps the process alive while it is open. */
  runOpened(): void {
    if (this.openRuns++ === 0) this.io.onBusy(true);
  }

  /** Count the end of a top-level run. */
  runClosed(): void {
    this.openRuns--;
    this.updateBusy();
  }

  /**
   * Wait until the service has stored everything that was added so far.
   *
   * @returns False if it was not stored in time.
   * @throws FlowspanError - The service refused the session, so it never will be.
   */
  async flush(timeoutMs: number): Promise<boolean> {
    if (this.fatal !== undefined) throw this.fatal;
    if (this.outbox.size === 0) return true;
    const sequence = this.outbox.lastSequence;
    let waiter: { sequence: number; resolve: () => void } | undefined;
    const stored = new Promise<void>((resolve) => {
      waiter = { sequence, resolve };
      this.waiters.push(waiter);
    });
    this.wakeup.set();
    const isStored = await within(stored, timeoutMs);
    this.waiters = this.waiters.filter((each) => each !== waiter);
    if (this.fatal !== undefined) throw this.fatal;
    return isStored;
  }

  /** Wait a little until everything is stored, unless the service is away. Never throws. */
  async settle(timeoutMs: number): Promise<void> {
    if (this.isBroken || this.fatal !== undefined || this.isClosed) return;
    await this.flush(timeoutMs).catch(() => false);
  }

  /**
   * Deliver what is left, say goodbye and end. Idempotent.
   *
   * @returns The number of events that the service did not confirm in time.
   */
  async close(timeoutMs: number): Promise<number> {
    if (this.isClosed) return 0;
    await this.flush(timeoutMs).catch(() => false);
    const lost = this.outbox.size;
    this.isClosing = true;
    this.wakeup.set();
    if (this.loop !== undefined) {
      const ended = lost === 0 && (await within(this.loop, GOODBYE_TIMEOUT_MS));
      this.isClosed = true;
      if (!ended) this.connection?.abort();
      this.wakeup.set();
      await this.loop;
    }
    this.isClosed = true;
    this.release();
    this.io.onBusy(false);
    return lost;
  }

  private get frameBytes(): number {
    return Math.min(this.announcedFrameBytes, this.frameLimit);
  }

  private get announcedFrameBytes(): number {
    return this.connection?.frameBytes ?? DEFAULT_FRAME_BYTES;
  }

  private updateBusy(): void {
    if (this.openRuns === 0 && this.outbox.size === 0) this.io.onBusy(false);
  }

  private async run(): Promise<void> {
    while (!this.isClosed && this.fatal === undefined) {
      const retryAfterMs = await this.serveOnce();
      if (retryAfterMs === undefined) return;
      await this.pause(retryAfterMs);
      // With nothing to deliver, there is nothing to reconnect for.
      if (this.isClosing && this.outbox.size === 0) return;
    }
  }

  /**
   * Use a connection until it ends.
   *
   * @returns How long to wait before the next one at least; undefined if there is to be none.
   */
  private async serveOnce(): Promise<number | undefined> {
    const connection = new Connection();
    this.connection = connection;
    this.refusedToken = undefined;
    let error: unknown;
    try {
      await this.serve(connection);
    } catch (raw) {
      error = flowspanErrorOf(raw);
    } finally {
      connection.abort();
    }
    if (connection.saidGoodbye || this.isClosed) return undefined;
    this.isBroken = true;
    return error === undefined ? 0 : this.waitAfter(error);
  }

  private async pause(atLeastMs: number): Promise<void> {
    const began = performance.now();
    let lookAt = began + LOOK_MS;
    const longestMs = this.backoff.next(atLeastMs);
    const eagerMs = Math.min(Math.max(atLeastMs, EAGER_BACKOFF_MS), longestMs);
    while (!this.isClosed && !(this.isClosing && this.outbox.size === 0)) {
      // Somebody may start to wait meanwhile.
      const left = began + (this.waiters.length > 0 ? eagerMs : longestMs) - performance.now();
      if (left <= 0) return;
      if (this.refusedToken !== undefined && performance.now() >= lookAt) {
        if (this.hasAnotherToken(this.refusedToken)) return;
        lookAt = performance.now() + LOOK_MS;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 100));
        if (this.openRuns === 0 && this.outbox.size === 0) unref(timer);
      });
    }
  }

  private hasAnotherToken(refused: string): boolean {
    const token = this.io.nextToken();
    return token !== "" && token !== refused;
  }

  /**
   * Decide whether an error ends the session, and adapt to it if not.
   *
   * @returns How long to wait before the next connection at least; undefined if there is to be none.
   */
  private waitAfter(error: unknown): number | undefined {
    if (!(error instanceof FlowspanError)) {
      this.fail(
        new FlowspanError(`reporting failed: ${String(error)}`, { code: "INTERNAL", cause: error }),
      );
      return undefined;
    }
    if (ACCESS_REASONS.has(error.reason)) {
      if (!this.hasWarnedOfAccess) {
        this.io.warn(
          `nothing is reported until the service accepts the access token: ${error.message}`,
        );
      }
      this.hasWarnedOfAccess = true;
      this.refusedToken = this.io.usedToken();
      return LONGEST_BACKOFF_MS;
    }
    if (error.reason === "SESSION_TAKEN_OVER" || FATAL_CODES.has(error.code)) {
      this.fail(error);
      return undefined;
    }
    const isSize = error.code === "RESOURCE_EXHAUSTED" && error.reason === "";
    if (isSize && TOO_LARGE_MESSAGE.test(error.message)) this.shrink();
    return error.retryAfterMs ?? 0;
  }

  /** Send smaller frames after gRPC or a proxy refused one. */
  private shrink(): void {
    const refused = this.connection?.largestInFlight();
    if (refused === undefined) return;
    const { firstSequence, count, bytes } = refused;
    this.frameLimit = Math.max(SMALLEST_FRAME_BYTES, bytes >> 1);
    // A smaller frame may have gone before it, and nothing after it.
    this.outbox.notReceived(firstSequence);
    const event = this.outbox.get(firstSequence);
    this.divideLongTexts();
    if (count === 1 && this.outbox.get(firstSequence) === event) this.leaveOut(firstSequence);
  }

  /** Put a placeholder in the place of an event that fits into no frame. */
  private leaveOut(sequence: number): void {
    this.outbox.replace(sequence, { data: placeholder() });
    this.io.warn("an event of a run was too large for the service, and was left out");
  }

  /** Divide the texts of log records again that were divided for larger frames. */
  private divideLongTexts(): void {
    const most = this.frameBytes - EVENT_IN_FRAME_BYTES;
    const fresh = this.outbox.fresh();
    const divisions = divided(fresh, ({ data }) => data.length > most, this.logLimit);
    const offset = this.outbox.usedSequence;
    const before = fresh.length;
    for (const { start, count, pieces } of divisions.reverse()) {
      fresh.splice(start, count, ...pieces);
      for (const waiter of this.waiters) {
        if (waiter.sequence >= offset + start + count) waiter.sequence += pieces.length - count;
      }
    }
    if (divisions.length > 0) this.outbox.replaceFresh(before, fresh);
  }

  private fail(error: FlowspanError): void {
    this.fatal = error;
    const lost = this.outbox.discard();
    this.io.warn(
      `nothing more is reported, and ${lost} events are lost, because the service refused the session: ${error.message}`,
    );
    this.release();
    this.io.onBusy(false);
  }

  /** Let everything that waits go on. */
  private release(): void {
    for (const waiter of this.waiters) waiter.resolve();
    this.releaseRoom();
  }

  private releaseRoom(): void {
    const waiting = this.roomWaiters;
    this.roomWaiters = [];
    for (const resolve of waiting) resolve();
  }

  /** Use one connection until it ends. */
  private async serve(connection: Connection): Promise<void> {
    const timer = setTimeout(() => connection.abort(), WELCOME_TIMEOUT_MS);
    if (this.outbox.size === 0 && this.openRuns === 0) unref(timer);
    try {
      const responses = this.io.open(this.frames(connection), connection.signal);
      for await (const response of responses) {
        const frame = response.frame;
        if (frame.case === "welcome") {
          clearTimeout(timer);
          this.welcome(connection, frame.value);
        } else if (frame.case === "ack") {
          this.ack(connection, Number(frame.value.upToSequence), frame.value.verdicts);
        } else if (frame.case === "command") {
          this.io.onCommand(frame.value);
        }
      }
    } finally {
      clearTimeout(timer);
      connection.hasEnded = true;
      connection.welcomed.set();
      this.wakeup.set();
    }
  }

  private welcome(connection: Connection, welcome: Welcome): void {
    if (connection.isWelcome) return;
    const acked = this.outbox.ackedSequence;
    connection.use(welcome);
    this.isBroken = false;
    this.hasWarnedOfAccess = false;
    this.outbox.resume(Number(welcome.resumeAfter));
    this.divideLongTexts();
    this.backoff.reset();
    for (const verdict of welcome.verdicts) {
      if (Number(verdict.sequence) > acked) this.io.onVerdict(verdict);
    }
    this.afterStored();
    connection.welcomed.set();
  }

  private ack(connection: Connection, upTo: number, verdicts: readonly Verdict[]): void {
    this.outbox.ack(upTo);
    connection.acked(upTo);
    for (const verdict of verdicts) this.io.onVerdict(verdict);
    this.afterStored();
    this.wakeup.set();
  }

  private afterStored(): void {
    const acked = this.outbox.ackedSequence;
    for (const waiter of this.waiters) if (waiter.sequence <= acked) waiter.resolve();
    if (this.roomWaiters.length > 0 && this.outbox.hasRoom(0)) this.releaseRoom();
    this.updateBusy();
  }

  /** The frames of one connection, each made when the one before it was written. */
  private async *frames(connection: Connection): AsyncGenerator<ReportRequest> {
    yield helloFrame(this.io.hello(this.outbox.ackedSequence));
    await connection.welcomed.wait();
    let lastAt = performance.now();
    while (!connection.hasEnded) {
      const batch = this.nextBatch(connection);
      if (batch !== undefined) {
        lastAt = performance.now();
        yield batch;
        continue;
      }
      if (this.isClosing && this.outbox.size === 0) {
        connection.saidGoodbye = true;
        yield goodbyeFrame();
        return;
      }
      const heartbeatInMs = lastAt + connection.leaseMs / 3 - performance.now();
      if (heartbeatInMs <= 0) {
        lastAt = performance.now();
        yield heartbeatFrame();
        continue;
      }
      const wasIdle = this.outbox.unsent === 0;
      if ((await this.wakeup.wait(heartbeatInMs)) && wasIdle) await this.gather();
    }
  }

  private nextBatch(connection: Connection): ReportRequest | undefined {
    const count = this.outbox.nextCount({
      maxBytes: this.frameBytes - FRAME_OVERHEAD_BYTES,
      maxEvents: MAX_BATCH_EVENTS,
      window: connection.window,
    });
    if (count === 0) return undefined;
    if (connection.joinsShortRuns) this.gatherShortRuns(count);
    const firstSequence = this.outbox.take(count);
    if (count === 1 && this.isOversized(firstSequence)) this.leaveOut(firstSequence);
    const events = this.outbox.range(firstSequence, count);
    const parts = connection.joinsShortRuns ? joined(events) : events.map(({ data }) => data);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    connection.sent({ firstSequence, count, bytes });
    return batchFrame(firstSequence, parts);
  }

  /** Whether an event exceeds a frame on its own; then its batch has no other one. */
  private isOversized(sequence: number): boolean {
    return this.outbox.get(sequence).data.length > this.announcedFrameBytes - EVENT_IN_FRAME_BYTES;
  }

  /** Move the events of short runs together, in those of the next batch that no service knows. */
  private gatherShortRuns(count: number): void {
    const offset = this.outbox.usedSequence;
    const last = this.outbox.sentSequence + count;
    const events = this.outbox.range(offset + 1, last - offset);
    const ordered = gathered(events);
    if (ordered === undefined) return;
    this.outbox.replaceFresh(ordered.length, ordered);
    // The batch is stored as a whole, so what waits for an event in it waits for all of it.
    for (const waiter of this.waiters) {
      if (waiter.sequence > offset && waiter.sequence < last) waiter.sequence = last;
    }
  }

  /** Wait a little, so that a batch takes more than the first event. */
  private async gather(): Promise<void> {
    const isUrgent = this.isClosing || this.waiters.length > 0;
    if (this.outbox.unsent === 0 || this.outbox.unsent >= MAX_BATCH_EVENTS || isUrgent) return;
    await new Promise((resolve) => setTimeout(resolve, this.options.gatherMs));
  }
}
