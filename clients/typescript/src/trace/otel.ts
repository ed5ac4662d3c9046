/** Spans by the OpenTelemetry SDK of the process, named and attributed as docs/tracing.md says. */

import type * as Api from "@opentelemetry/api";
import { errorMessage, errorType, stackTrace } from "../core/failures.js";
import { runContextIn, type SpanContext } from "../runs/carriers.js";
import type { RunSpan, SpanEnd, SpanFacts, Tracer } from "./spans.js";

type OpenTelemetry = typeof Api;

const LEAST_WAIT_US = 1_000;
/** A wait that is worth a span. */
const VISIBLE_WAIT_US = 10_000;
/** More inputs of one parameter are one link, with their number. */
const MAX_LINKS = 10;

/**
 * Return a tracer over the SDK that the program has set up; undefined if it has set up none, or
 * if the package `@opentelemetry/api` is not installed.
 */
export async function sdkTracer(version: string): Promise<Tracer | undefined> {
  let api: OpenTelemetry;
  try {
    api = await import("@opentelemetry/api");
  } catch {
    return undefined;
  }
  const provider = api.trace.getTracerProvider() as Api.TracerProvider & {
    getDelegateTracer?: (name: string) => Api.Tracer | undefined;
  };
  // The provider of the API stands for the one that the program registers, or for none.
  const isProxy = typeof provider.getDelegateTracer === "function";
  if (isProxy && provider.getDelegateTracer?.("flowspan") === undefined) return undefined;
  return new SdkTracer(api, provider.getTracer("flowspan", version));
}

class SdkTracer implements Tracer {
  readonly hasSdk = true;

  constructor(
    private readonly api: OpenTelemetry,
    private readonly tracer: Api.Tracer,
  ) {}

  current(): { span?: SpanContext; runContext?: string } {
    const context = this.api.trace.getSpanContext(this.api.context.active());
    if (context === undefined || !this.api.isSpanContextValid(context)) return {};
    return {
      span: spanContext(context),
      runContext: runContextIn(context.traceState?.serialize() ?? ""),
    };
  }

  start(facts: SpanFacts, parent: RunSpan | undefined, remote: SpanContext | undefined): RunSpan {
    const { api } = this;
    let context = api.context.active();
    const active = api.trace.getSpanContext(context);
    const isInside = active !== undefined && api.isSpanContextValid(active);
    if (parent instanceof SdkSpan && (!isInside || active.traceId !== parent.context.traceId)) {
      context = api.trace.setSpan(context, parent.span);
    } else if (!isInside && parent === undefined && remote !== undefined) {
      context = api.trace.setSpanContext(context, {
        ...remoteContext(api, remote),
        isRemote: true,
      });
    }
    const parentSpanId = api.trace.getSpanContext(context)?.spanId ?? "";
    const options = {
      startTime: hrTime(facts.createdUs),
      attributes: attributesOf(facts),
      links: linksOf(api, facts),
    };
    const span = this.tracer.startSpan(facts.functionName, options, context);
    return new SdkSpan(api, this.tracer, span, facts, context, parentSpanId);
  }
}

class SdkSpan implements RunSpan {
  readonly isExplicit = true;
  readonly isExported = true;
  readonly context: SpanContext;
  private readonly inside: Api.Context;
  private attempt: Api.Span | undefined;
  private attempts = 0;
  private attemptBeganUs = 0;
  /** The begin of the wait before the next attempt; undefined while the code runs. */
  private idleUs: number | undefined;
  /** The time of the attempts that have ended. */
  private ranUs = 0;

  constructor(
    private readonly api: OpenTelemetry,
    private readonly tracer: Api.Tracer,
    readonly span: Api.Span,
    private readonly facts: SpanFacts,
    outside: Api.Context,
    readonly parentSpanId: string,
  ) {
    this.idleUs = facts.createdUs;
    this.context = spanContext(span.spanContext());
    this.inside = api.trace.setSpan(outside, span);
  }

  with<T>(code: () => T): T {
    const inside =
      this.attempt === undefined ? this.inside : this.api.trace.setSpan(this.inside, this.attempt);
    return this.api.context.with(inside, code);
  }

  current(): SpanContext {
    const active = this.api.trace.getSpanContext(this.api.context.active());
    return active?.traceId === this.context.traceId ? spanContext(active) : this.context;
  }

  attemptBegan(attempt: number, atUs: number): void {
    this.waited(atUs);
    this.attempts = attempt;
    this.attemptBeganUs = atUs;
    const waitedUs = atUs - this.facts.createdUs;
    if (attempt === 1) {
      if (waitedUs < LEAST_WAIT_US) return;
      this.span.addEvent("flowspan.running", { "flowspan.waited_s": waitedUs / 1e6 }, hrTime(atUs));
      return;
    }
    this.span.addEvent("flowspan.retrying", {}, hrTime(atUs));
    this.attempt = this.startAttempt(atUs);
  }

  attemptFailed(error: unknown, delayMs: number, atUs: number): void {
    // The span of the first attempt is made afterwards, because most runs need none.
    const span = this.attempt ?? this.startAttempt(this.attemptBeganUs);
    this.fail(span, error, errorType(error), atUs);
    span.end(hrTime(atUs));
    this.attempt = undefined;
    this.ranUs += Math.max(atUs - this.attemptBeganUs, 0);
    this.idleUs = atUs;
    if (delayMs > 0) {
      this.span.addEvent(
        "flowspan.awaiting_retry",
        { "flowspan.delay_s": delayMs / 1000 },
        hrTime(atUs),
      );
    }
  }

  artifact(id: string, type: string, key: string): void {
    this.span.addEvent("flowspan.artifact", {
      "flowspan.artifact.id": id,
      "flowspan.artifact.type": type,
      ...(key ? { "flowspan.artifact.key": key } : {}),
    });
  }

  end(end: SpanEnd): void {
    const { span } = this;
    if (this.idleUs === undefined) this.ranUs += Math.max(end.endedUs - this.attemptBeganUs, 0);
    else this.waited(end.endedUs);
    const queuedUs = Math.max(end.endedUs - this.facts.createdUs - this.ranUs, 0);
    span.setAttributes({
      "flowspan.run_s": this.ranUs / 1e6,
      "flowspan.queued_s": queuedUs / 1e6,
      "flowspan.state.type": end.type,
      "flowspan.state.name": end.name,
      "flowspan.attempts": end.attempts,
    });
    if (end.type === "CANCELLED") span.setAttribute("flowspan.cancelled", true);
    if (end.type === "FAILED" || end.type === "CRASHED") {
      const type = end.error === undefined ? end.name : errorType(end.error);
      this.fail(span, end.error, type, end.endedUs);
      if (this.attempt !== undefined) this.fail(this.attempt, end.error, type, end.endedUs);
    }
    this.attempt?.end(hrTime(end.endedUs));
    span.end(hrTime(end.endedUs));
  }

  /** Record a wait that has ended: before the first attempt, or before a retry. */
  private waited(untilUs: number): void {
    const beganUs = this.idleUs;
    this.idleUs = undefined;
    if (beganUs === undefined || untilUs - beganUs < VISIBLE_WAIT_US) return;
    const options = {
      startTime: hrTime(beganUs),
      attributes: this.attempts > 0 ? { "flowspan.wait.reason": "retry" } : {},
    };
    this.tracer.startSpan("waiting", options, this.inside).end(hrTime(untilUs));
  }

  private startAttempt(beganUs: number): Api.Span {
    const options = {
      startTime: hrTime(beganUs),
      attributes: { "flowspan.attempt": this.attempts },
    };
    return this.tracer.startSpan(`${this.facts.functionName} attempt`, options, this.inside);
  }

  private fail(span: Api.Span, error: unknown, type: string, atUs: number): void {
    const message = error === undefined ? type : errorMessage(error);
    if (error !== undefined) {
      const attributes = { "exception.type": type, "exception.message": message };
      const trace = stackTrace(error);
      const traced = trace ? { ...attributes, "exception.stacktrace": trace } : attributes;
      span.addEvent("exception", traced, hrTime(atUs));
    }
    span.setAttribute("error.type", type);
    span.setStatus({ code: this.api.SpanStatusCode.ERROR, message });
  }
}

function attributesOf(facts: SpanFacts): Api.Attributes {
  const attributes: Api.Attributes = {
    "flowspan.run.id": facts.id,
    "flowspan.run.kind": facts.kind,
    "flowspan.root_run.id": facts.rootId,
  };
  if (facts.flowRunId) attributes["flowspan.flow_run.id"] = facts.flowRunId;
  if (facts.flowName) attributes["flowspan.flow.name"] = facts.flowName;
  if (facts.name) attributes["flowspan.run.name"] = facts.name;
  if (facts.tags.length > 0) attributes["flowspan.tags"] = [...facts.tags];
  if (facts.code !== undefined) {
    attributes["code.function.name"] = facts.code.function;
    attributes["code.file.path"] = facts.code.filePath;
    attributes["code.line.number"] = facts.code.line;
  }
  return attributes;
}

function linksOf(api: OpenTelemetry, facts: SpanFacts): Api.Link[] {
  const inputs = facts.inputs.filter((input) => input.span !== undefined);
  const counts = new Map<string, number>();
  for (const { parameter } of inputs) counts.set(parameter, (counts.get(parameter) ?? 0) + 1);
  const links: Api.Link[] = [];
  for (const { runId, parameter, span } of inputs) {
    const count = counts.get(parameter) ?? 0;
    if (count === 0) continue; // the first one stands for it
    const attributes: Api.Attributes = {
      "flowspan.input.name": parameter,
      "flowspan.run.id": runId,
    };
    if (count > MAX_LINKS) {
      attributes["flowspan.input.count"] = count;
      counts.set(parameter, 0);
    }
    links.push({ context: remoteContext(api, span as SpanContext), attributes });
  }
  return links;
}

function spanContext(context: Api.SpanContext): SpanContext {
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    flags: context.traceFlags.toString(16).padStart(2, "0"),
    tracestate: context.traceState?.serialize() ?? "",
  };
}

function remoteContext(api: OpenTelemetry, span: SpanContext): Api.SpanContext {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    traceFlags: Number.parseInt(span.flags, 16),
    ...(span.tracestate ? { traceState: api.createTraceState(span.tracestate) } : {}),
  };
}

function hrTime(us: number): Api.HrTime {
  const seconds = Math.floor(us / 1e6);
  return [seconds, Math.round((us - seconds * 1e6) * 1000)];
}
