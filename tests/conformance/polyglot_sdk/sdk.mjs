/**
 * Loaded before the program `render` in tests: an OpenTelemetry SDK makes its spans, and appends them
 * to the file SPANS.
 */

import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../../clients/typescript/package.json", import.meta.url));
const { NodeTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-node");

const exporter = {
  export(spans, done) {
    for (const span of spans) {
      const line = {
        name: span.name,
        run_id: span.attributes["flowspan.run.id"] ?? "",
        trace_id: span.spanContext().traceId,
        span_id: span.spanContext().spanId,
        parent_id: span.parentSpanContext?.spanId ?? "",
      };
      appendFileSync(process.env.SPANS, `${JSON.stringify(line)}\n`);
    }
    done({ code: 0 });
  },
  async forceFlush() {},
  async shutdown() {},
};

new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
