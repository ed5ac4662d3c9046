/** The errors of this package. */

import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** The facts of a {@link FlowspanError}. */
export interface FlowspanErrorDetails {
  /** The gRPC status: "NOT_FOUND". */
  code: string;
  /** The reason of the service: "WRONG_SECRET". Empty if the error is not the service's. */
  reason?: string;
  /** A sentence that says what to do. May be empty. */
  advice?: string;
  /** Further facts, such as the field or the run concerned. */
  metadata?: Readonly<Record<string, string>>;
  /** The time to wait before the next attempt, if the service says one. */
  retryAfterMs?: number;
  /** The error below this one. */
  cause?: unknown;
}

/** A call that failed, or a service that does not answer. */
export class FlowspanError extends Error {
  override readonly name: string = "FlowspanError";
  /** The gRPC status: "NOT_FOUND". */
  readonly code: string;
  /** The reason of the service, as listed in docs/protocol.md. Empty if the error is not its own. */
  readonly reason: string;
  /** A sentence that says what to do. May be empty. */
  readonly advice: string;
  /** Further facts, such as the field or the run concerned. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The time to wait before the next attempt in milliseconds, if the service says one. */
  readonly retryAfterMs: number | undefined;

  /** @param message - What happened, as a sentence for people. */
  constructor(message: string, details: FlowspanErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.reason = details.reason ?? "";
    this.advice = details.advice ?? "";
    this.metadata = details.metadata ?? {};
    this.retryAfterMs = details.retryAfterMs;
  }

  /** True if the same call may succeed later. */
  get retryable(): boolean {
    return (
      this.code === "UNAVAILABLE" ||
      this.code === "DEADLINE_EXCEEDED" ||
      this.reason === "OVERLOADED"
    );
  }
}

/** The reason of the signal of a run that was cancelled, and the error of its promise. */
export class RunCancelledError extends Error {
  override readonly name = "RunCancelledError";

  /** @param reason - Why, for people. May be empty. */
  constructor(
    readonly runId: string,
    readonly reason: string,
  ) {
    super(reason ? `the run was cancelled: ${reason}` : "the run was cancelled");
  }
}

/**
 * The service accepts nothing more from this attempt of a run, because it was deleted, its parent
 * was cancelled, or another process runs it. The reason of the run's signal.
 */
export class RunAbortedError extends Error {
  override readonly name = "RunAbortedError";

  /** @param rule - The rule that decided, as listed in docs/states.md. */
  constructor(
    readonly runId: string,
    readonly rule: string,
    reason: string,
  ) {
    super(`the service stopped the run: ${reason || rule}`);
  }
}

/** The process is ending because of a signal. The reason of the signals of its runs. */
export class InterruptedError extends Error {
  override readonly name = "InterruptedError";

  /** @param signalName - "SIGINT" or "SIGTERM". */
  constructor(readonly signalName: string) {
    super(`interrupted by ${signalName}`);
  }
}

/** An attempt of a run that took longer than its `timeoutMs`. */
export class RunTimeoutError extends Error {
  override readonly name = "RunTimeoutError";

  /** @param timeoutMs - The limit. */
  constructor(readonly timeoutMs: number) {
    super(`exceeded its timeout of ${timeoutMs / 1000} s`);
  }
}

/** Return the error of a call as a FlowspanError; other errors stay as they are. */
export function flowspanErrorOf(error: unknown, address = ""): unknown {
  if (!(error instanceof ConnectError)) return error;
  const info = error.findDetails(ErrorInfoSchema).find((each) => each.domain === "flowspan.v1");
  const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const metadata: Record<string, string> = { ...info?.metadata };
  const isOwn = info !== undefined;
  // A browser does not say why a request failed.
  const isFetch =
    !isOwn && /failed to fetch|fetch failed|networkerror|load failed/i.test(error.rawMessage);
  const code = isFetch ? "UNAVAILABLE" : codeName(error.code);
  const advice = metadata.advice ?? "";
  const unanswered = !isOwn && code === "UNAVAILABLE" && address !== "";
  return new FlowspanError(
    unanswered
      ? `no service answers at ${address} (${error.rawMessage}); start one with \`flowspan server start\``
      : error.rawMessage || code,
    {
      code,
      reason: info?.reason ?? "",
      advice: unanswered ? "Start a service with `flowspan server start`." : advice,
      metadata,
      cause: error,
      ...(retry === undefined ? {} : { retryAfterMs: Math.max(0, durationMs(retry)) }),
    },
  );
}

function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED"; // Connect spells it with one L
  return (Code[code] ?? "Unknown").replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();
}
