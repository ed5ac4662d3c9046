/**
 * The run context and the W3C trace context that processes hand on to each other
 * (docs/protocol.md, "The run context between processes").
 */

import { hexToId, idToHex } from "../core/ids.js";
import { MAX_TRACESTATE_BYTES } from "../core/limits.js";

/** A run of another process that called this one. */
export interface RunContext {
  readonly runId: string;
  readonly rootRunId: string;
}

/** A span of another process, or of another library. */
export interface SpanContext {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  /** 2 hex digits. */
  readonly flags: string;
  /** The W3C tracestate, without the member `flowspan`. */
  readonly tracestate: string;
}

/** What came in from the caller of a process or a request. */
export interface Incoming {
  readonly run?: RunContext;
  readonly span?: SpanContext;
}

/** Headers of a request: of the Fetch API, or of Node. */
export type HeadersLike = Headers | Readonly<Record<string, string | string[] | undefined>>;

const DIGITS = /^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/;
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const MEMBER = "flowspan";
const MAX_CHARACTERS = 512;

/** Return the run context in a text; undefined if it is malformed. Unknown fields are ignored. */
export function parseRunContext(text: string): RunContext | undefined {
  const trimmed = text.trim();
  if (trimmed.length > MAX_CHARACTERS) return undefined;
  const fields = new Map<string, string>();
  for (const field of trimmed.split(";")) {
    const colon = field.indexOf(":");
    const name = field.slice(0, colon);
    if (colon < 1 || fields.has(name)) return undefined;
    fields.set(name, field.slice(colon + 1));
  }
  const run = fields.get("r");
  const root = fields.get("t") ?? run;
  if (run === undefined || root === undefined || !DIGITS.test(run) || !DIGITS.test(root))
    return undefined;
  return { runId: hexToId(run), rootRunId: hexToId(root) };
}

/** Return the text of a run context. */
export function formatRunContext(context: RunContext): string {
  const run = `r:${idToHex(context.runId)}`;
  return context.rootRunId === context.runId ? run : `${run};t:${idToHex(context.rootRunId)}`;
}

/** Return the W3C traceparent of a span. */
export function formatTraceparent(span: SpanContext): string {
  return `00-${span.traceId}-${span.spanId}-${span.flags}`;
}

/** Return the tracestate of a span, with the run context as its first member. */
export function formatTracestate(span: SpanContext, run: RunContext): string {
  let text = `${MEMBER}=${formatRunContext(run)}`;
  for (const member of membersOf(span.tracestate)) {
    if (text.length + 1 + member.length > MAX_TRACESTATE_BYTES) break;
    text += `,${member}`;
  }
  return text;
}

/** Return what a process got in its environment: FLOWSPAN_RUN, TRACEPARENT and TRACESTATE. */
export function incomingFromEnviron(
  environ: Readonly<Record<string, string | undefined>>,
): Incoming {
  return incoming(environ.FLOWSPAN_RUN, environ.TRACEPARENT, environ.TRACESTATE);
}

/** Return what a request has in its headers: flowspan-run, traceparent and tracestate. */
export function incomingFromHeaders(headers: HeadersLike): Incoming {
  const get = (name: string) => headerOf(headers, name);
  return incoming(get("flowspan-run"), get("traceparent"), get("tracestate"));
}

function headerOf(headers: HeadersLike, name: string): string | undefined {
  if (typeof (headers as Headers).get === "function")
    return (headers as Headers).get(name) ?? undefined;
  for (const [key, value] of Object.entries(
    headers as Record<string, string | string[] | undefined>,
  )) {
    if (key.toLowerCase() === name) return Array.isArray(value) ? value.join(",") : value;
  }
  return undefined;
}

function incoming(
  runText: string | undefined,
  traceparent: string | undefined,
  tracestate: string | undefined,
): Incoming {
  const span = parseSpan(traceparent ?? "", tracestate ?? "");
  // A malformed context is no reason to ignore the other carrier.
  const run = parseRunContext(runText ?? "") ?? parseRunContext(runContextIn(tracestate ?? ""));
  return { ...(run === undefined ? {} : { run }), ...(span === undefined ? {} : { span }) };
}

/** Return the run context in the member `flowspan` of a tracestate; empty without one. */
export function runContextIn(tracestate: string): string {
  for (const member of tracestate.split(",")) {
    const [key, ...value] = member.trim().split("=");
    if (key === MEMBER) return value.join("=");
  }
  return "";
}

/** Return the span in a traceparent; undefined if it is malformed, as W3C requires. */
export function parseSpan(traceparent: string, tracestate: string): SpanContext | undefined {
  const match = TRACEPARENT.exec(traceparent.trim());
  if (match === null) return undefined;
  const [, version, traceId, spanId, flags, rest] = match as unknown as string[];
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId as string) || /^0+$/.test(spanId as string)) return undefined;
  return {
    traceId: traceId as string,
    spanId: spanId as string,
    flags: flags as string,
    tracestate: foreignMembers(tracestate),
  };
}

/** Return a tracestate without the member `flowspan`; empty if it is too long. */
export function foreignMembers(tracestate: string): string {
  const members = membersOf(tracestate).join(",");
  return members.length > MAX_TRACESTATE_BYTES ? "" : members;
}

function membersOf(tracestate: string): string[] {
  return tracestate
    .split(",")
    .map((member) => member.trim())
    .filter(
      (member) =>
        member !== "" && !member.startsWith(`${MEMBER}=`) && /^[\x20-\x7e]*$/.test(member),
    );
}
