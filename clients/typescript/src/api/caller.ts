/** Calls with deadlines, retries and typed errors, the same for Node and browsers. */

import type { DescService } from "@bufbuild/protobuf";
import { type CallOptions, type Client, createClient, type Transport } from "@connectrpc/connect";
import { delay } from "../core/waiting.js";
import { FlowspanError, flowspanErrorOf } from "../errors.js";
import { Backoff } from "../reporter/backoff.js";

/** The settings of calls. */
export interface CallerOptions {
  /** The address, for messages of errors. */
  address: string;
  /** How long a call with one answer may take, with all its attempts, in milliseconds. */
  timeoutMs: number;
  /** How long a stream tries to continue after its connection broke, in milliseconds. */
  reconnectMs: number;
  /** Awaited before each call, so that it sees what this process has reported. */
  beforeCall: () => Promise<void>;
}

/** What a method of the API takes in addition. */
export interface RequestOptions {
  /** Ends the call; its reason is thrown. */
  signal?: AbortSignal;
  /** How long the call may take, in milliseconds, in place of the client's setting. */
  timeoutMs?: number;
}

const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;

/** See the module. */
export class Caller {
  private readonly clients = new Map<DescService, unknown>();
  private readonly closing = new AbortController();

  constructor(
    private readonly transport: Transport,
    private readonly options: CallerOptions,
  ) {}

  /** Return the stub of a service. */
  client<S extends DescService>(service: S): Client<S> {
    let client = this.clients.get(service);
    if (client === undefined) {
      client = createClient(service, this.transport);
      this.clients.set(service, client);
    }
    return client as Client<S>;
  }

  /** Let calls fail that are in progress, and all later ones. */
  close(): void {
    this.closing.abort();
  }

  private checkOpen(): void {
    if (this.closing.signal.aborted) throw closedError();
  }

  /** Wait before the next attempt, but not beyond the end of the client or of the request. */
  private async pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const signals = [this.closing.signal, ...(signal === undefined ? [] : [signal])];
    await delay(ms, AbortSignal.any(signals)).catch(() => undefined);
  }

  /**
   * Call a method that can be repeated: it only reads, or is idempotent. Retried while the service
   * is unavailable, until the timeout.
   */
  repeatable<T>(
    call: (options: CallOptions) => Promise<T>,
    request: RequestOptions = {},
  ): Promise<T> {
    return this.unary(call, request, true);
  }

  /** Call a method once. */
  once<T>(call: (options: CallOptions) => Promise<T>, request: RequestOptions = {}): Promise<T> {
    return this.unary(call, request, false);
  }

  private async unary<T>(
    call: (options: CallOptions) => Promise<T>,
    request: RequestOptions,
    isRepeatable: boolean,
  ): Promise<T> {
    await this.options.beforeCall();
    const deadline = performance.now() + (request.timeoutMs ?? this.options.timeoutMs);
    const backoff = new Backoff(FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS);
    for (;;) {
      request.signal?.throwIfAborted();
      this.checkOpen();
      const timeoutMs = Math.max(1, Math.ceil(deadline - performance.now()));
      try {
        return await call(callOptions(timeoutMs, request.signal));
      } catch (raw) {
        request.signal?.throwIfAborted();
        this.checkOpen();
        const error = flowspanErrorOf(raw, this.options.address);
        if (!isRepeatable || !isPassing(error)) throw error;
        const waitMs = backoff.next(error.retryAfterMs);
        if (performance.now() + waitMs >= deadline) throw error;
        await this.pause(waitMs, request.signal);
      }
    }
  }

  /**
   * Follow a stream, and continue it where it stopped if its connection breaks.
   *
   * @param open - Opens the stream; called again after a break, and continues by itself.
   * @param request - The signal ends the stream without an error.
   */
  async *follow<T>(
    open: (options: CallOptions) => AsyncIterable<T>,
    request: RequestOptions = {},
  ): AsyncGenerator<T> {
    await this.options.beforeCall();
    const backoff = new Backoff(FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS);
    let brokenAt: number | undefined;
    while (!request.signal?.aborted) {
      this.checkOpen();
      const ending = new AbortController();
      const onAbort = () => ending.abort(request.signal?.reason);
      request.signal?.addEventListener("abort", onAbort, { once: true });
      try {
        for await (const frame of open(callOptions(0, ending.signal))) {
          brokenAt = undefined;
          backoff.reset();
          yield frame;
        }
        return;
      } catch (raw) {
        if (request.signal?.aborted) return;
        this.checkOpen();
        const error = flowspanErrorOf(raw, this.options.address);
        const now = performance.now();
        brokenAt ??= now;
        if (!isPassing(error) || now - brokenAt > this.options.reconnectMs) throw error;
        await this.pause(backoff.next(error.retryAfterMs), request.signal);
      } finally {
        request.signal?.removeEventListener("abort", onAbort);
        ending.abort();
      }
    }
  }
}

/** Return the error of a call of a client that is closed. */
export function closedError(): FlowspanError {
  return new FlowspanError("the client is closed", {
    code: "FAILED_PRECONDITION",
    advice: "Connect again.",
  });
}

function callOptions(timeoutMs: number, signal: AbortSignal | undefined): CallOptions {
  return signal === undefined ? { timeoutMs } : { timeoutMs, signal };
}

/** Whether an error passes with time: the service is away, or has too much to do. */
function isPassing(error: unknown): error is FlowspanError {
  return error instanceof FlowspanError && error.retryable && error.code !== "DEADLINE_EXCEEDED";
}
