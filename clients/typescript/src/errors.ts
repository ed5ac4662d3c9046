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

const TOO_MUCH = new Set(["OVERLOADED", "RATE_LIMITED"]);

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
      this.code === "UNAVAILABLE" || this.code === "DEADLINE_EXCEEDED" || TOO_MUCH.has(this.reason)
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

// The certificate of the peer is not trusted, or the peer does not speak TLS or HTTP/2 at all.
const OTHER_PEER =
  /^(ERR_SSL_|ERR_TLS_|CERT_|ERR_HTTP2_ERROR$)|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH/;
const LOST_CODES = new Set([
  Code.Canceled,
  Code.Aborted,
  Code.Internal,
  Code.Unknown,
  Code.Unavailable,
]);
// What the fetch of browsers says of a service that it does not reach: it does not tell why.
const UNREACHABLE_MESSAGE = /failed to fetch|fetch failed|networkerror|load failed/i;
// What Connect and browsers say of a connection that broke, without an error of Node below it.
const CUT_MESSAGE =
  /stream closed with error code|missing (status|output|trailer|EndStream)|premature|network/i;

/** How a call failed without an answer; undefined if the service, or a proxy, did answer. */
export type LostCall =
  /** There was no connection. */
  | "unreachable"
  /** There is a peer, but not one that this client can talk to. */
  | "other peer"
  /** The connection broke. */
  | "cut";

/**
 * Tell how a call failed without an answer.
 *
 * The codes of Connect do not say it: for a connection that broke, they depend on the moment and on
 * who noticed it first.
 */
export function lostCallOf(error: unknown): LostCall | undefined {
  if (!(error instanceof ConnectError) || !LOST_CODES.has(error.code)) return undefined;
  const hasAnswer = error.details.length > 0 || error.metadata.keys().next().done !== true;
  if (hasAnswer) return undefined;
  if (UNREACHABLE_MESSAGE.test(error.rawMessage)) return "unreachable";
  const below = causesOf(error);
  const codes = below.flatMap(({ code }) => (typeof code === "string" ? [code] : []));
  if (codes.length === 0) return CUT_MESSAGE.test(error.rawMessage) ? "cut" : undefined;
  if (codes.some((code) => OTHER_PEER.test(code))) return "other peer";
  const isConnecting = ({ syscall }: NodeError) =>
    syscall === "connect" || syscall === "getaddrinfo";
  return below.some(isConnecting) ? "unreachable" : "cut";
}

interface NodeError {
  code?: unknown;
  syscall?: unknown;
}

function causesOf(error: Error): NodeError[] {
  const found: Error[] = [];
  for (let cause = error.cause; cause instanceof Error && !found.includes(cause); ) {
    found.push(cause);
    cause = cause.cause;
  }
  return found as NodeError[];
}

/** Return the error of a call as a FlowspanError; other errors stay as they are. */
export function flowspanErrorOf(error: unknown, address = ""): unknown {
  if (!(error instanceof ConnectError)) return error;
  const info = error.findDetails(ErrorInfoSchema).find((each) => each.domain === "flowspan.v1");
  const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const metadata: Record<string, string> = { ...info?.metadata };
  const lost = info === undefined ? lostCallOf(error) : undefined;
  const code = lost === "cut" || lost === "unreachable" ? "UNAVAILABLE" : codeName(error.code);
  const isAway = info === undefined && code === "UNAVAILABLE" && address !== "";
  const details = {
    code,
    reason: info?.reason ?? "",
    advice: metadata.advice ?? "",
    metadata,
    cause: error,
    ...(retry === undefined ? {} : { retryAfterMs: Math.max(0, durationMs(retry)) }),
  };
  if (isAway && lost === "cut") {
    const message = `the connection to the service at ${address} broke (${error.rawMessage})`;
    return new FlowspanError(message, { ...details, advice: "Try again." });
  }
  if (isAway) {
    const advice = "Start a service with `flowspan server start`.";
    const message = `no service answers at ${address} (${error.rawMessage}); start one with \`flowspan server start\``;
    return new FlowspanError(message, { ...details, advice });
  }
  return new FlowspanError(error.rawMessage || code, details);
}

function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED"; // Connect spells it with one L
  return (Code[code] ?? "Unknown").replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();
}
