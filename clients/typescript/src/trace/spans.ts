/** The span of a run: derived from its ids, or made by an OpenTelemetry SDK. */

import { idToHex } from "../core/ids.js";
import type { SpanContext } from "../runs/carriers.js";

/** What is known of a run when its span starts. */
export interface SpanFacts {
  readonly id: string;
  readonly rootId: string;
  readonly kind: "flow" | "task";
  /** The flow run that it belongs to; empty outside flows. */
  readonly flowRunId: string;
  /** The name of that flow; empty if it is not known. */
  readonly flowName: string;
  readonly functionName: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly createdUs: number;
  /** The runs whose results the run takes. */
  readonly inputs: readonly { runId: string; parameter: string; span?: SpanContext }[];
  readonly code?: { filePath: string; line: number; function: string };
}

/** How a run ended. */
export interface SpanEnd {
  readonly type: string;
  readonly name: string;
  readonly attempts: number;
  readonly endedUs: number;
  readonly error?: unknown;
}

/** The span of a run. */
export interface RunSpan {
  /** The ids of the run's span, for logs and for what the run calls. */
  readonly context: SpanContext;
  /** The id of the parent span; empty at the root of a trace. */
  readonly parentSpanId: string;
  /** Whether the service must be told the ids, because it cannot derive them. */
  readonly isExplicit: boolean;
  /** Whether this process exports the span. */
  readonly isExported: boolean;
  /** Call code with this span as the current one. */
  with<T>(code: () => T): T;
  /** The ids of the innermost current span of the run, which may be a library's. */
  current(): SpanContext;
  /** An attempt began. */
  attemptBegan(attempt: number, atUs: number): void;
  /** An attempt failed, and another one follows after a delay. */
  attemptFailed(error: unknown, delayMs: number, atUs: number): void;
  /** The run created an artifact. */
  artifact(id: string, type: string, key: string): void;
  /** The run ended. */
  end(end: SpanEnd): void;
}

/** Makes the spans of runs. */
export interface Tracer {
  /** Whether an SDK of this process exports spans. */
  readonly hasSdk: boolean;
  /** The current span outside runs, such as that of an HTTP request. */
  current(): { span?: SpanContext; runContext?: string };
  /** Start the span of a run. */
  start(facts: SpanFacts, parent: RunSpan | undefined, remote: SpanContext | undefined): RunSpan;
}

/** Sampled, and the trace id is random. */
const FLAGS = "03";

/**
 * Spans of a process without an SDK: their ids follow from the ids of the runs, and the service
 * exports them (flowspan.v1.TraceContext).
 */
export class DerivedTracer implements Tracer {
  readonly hasSdk = false;

  /** @param derivesItself - Whether the service derives the same ids if it is told none. */
  constructor(private readonly derivesItself: boolean) {}

  current(): { span?: SpanContext } {
    return {};
  }

  start(facts: SpanFacts, parent: RunSpan | undefined, remote: SpanContext | undefined): RunSpan {
    const above = parent?.context ?? remote;
    const context = {
      traceId: above?.traceId ?? idToHex(facts.rootId),
      spanId: idToHex(facts.id).slice(16),
      flags: above?.flags ?? FLAGS,
      tracestate: above?.tracestate ?? "",
    };
    // Below a span of another process, only the process knows the trace.
    const isExplicit = !this.derivesItself || remote !== undefined || (parent?.isExplicit ?? false);
    return new DerivedSpan(context, above?.spanId ?? "", isExplicit);
  }
}

class DerivedSpan implements RunSpan {
  readonly isExported = false;

  constructor(
    readonly context: SpanContext,
    readonly parentSpanId: string,
    readonly isExplicit: boolean,
  ) {}

  with<T>(code: () => T): T {
    return code();
  }

  current(): SpanContext {
    return this.context;
  }

  attemptBegan(): void {}
  attemptFailed(): void {}
  artifact(): void {}
  end(): void {}
}
