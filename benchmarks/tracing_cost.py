"""CPU time of one task's span with three implementations: `python -m benchmarks.tracing_cost`.

It covers the start of the span to its encoded bytes, without the network. The figure is CPU
time of all threads, the minimum of several runs, so that other load on the machine hardly
matters.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from flowspan.core.definition import Definition
from flowspan.core.events import RunRecord
from flowspan.core.states import StateType
from flowspan.telemetry.exporter import ExportingProcessor
from flowspan.telemetry.fast_tracer import FastTracer, Processors
from flowspan.telemetry.run_span import SpanTracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

RUNS = 5
SPANS = 3_000
WAIT_MS = 60_000
MIN_SPAN_BYTES = 300


class Nowhere(SpanExporter):
    """Exporter that encodes with the official encoder, and transport. Neither sends anything."""

    encoded_bytes = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.send(encode_spans(spans).SerializeToString(), 0.0)
        return SpanExportResult.SUCCESS

    def send(self, body: bytes, timeout_s: float) -> bytes:
        Nowhere.encoded_bytes += len(body)
        return b""

    def reset(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def official() -> tuple[SpanTracer, Callable[[], object]]:
    provider = TracerProvider(shutdown_on_exit=False)
    batches = BatchSpanProcessor(Nowhere(), max_queue_size=100_000)
    provider.add_span_processor(batches)
    return SpanTracer(provider.get_tracer("flowspan"), environ={}), batches.force_flush


def own_exporter() -> tuple[SpanTracer, Callable[[], object]]:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = ExportingProcessor(Nowhere(), place="nowhere")
    provider.add_span_processor(exporter)
    tracer = SpanTracer(provider.get_tracer("flowspan"), environ={})
    return tracer, lambda: exporter.force_flush(WAIT_MS)


def fast() -> tuple[SpanTracer, Callable[[], object]]:
    processors, exporter = Processors(), ExportingProcessor(Nowhere(), place="nowhere")
    processors.add_span_processor(exporter)
    provider = TracerProvider(active_span_processor=processors, shutdown_on_exit=False)
    tracer = FastTracer(provider, processors, SpanLimits(), InstrumentationScope("flowspan"))
    return SpanTracer(tracer, environ={}), lambda: exporter.force_flush(WAIT_MS)


def trace_tasks(tracer: SpanTracer, task: Definition, count: int) -> None:
    """Do the same with spans as the drivers do for `count` successful tasks."""
    for _ in range(count):
        record = RunRecord(
            "01990000-0000-7000-8000-000000000000",
            is_flow=False,
            function_name=task.name,
            run_name="noop-12",
            parent_run_id="p",
            root_run_id="p",
            flow_run_id="p",
            details=task.details,
        )
        now = time.time_ns()
        span = tracer.start_run(record, task, now)
        assert span is not None
        span.attempt(1, now)
        token = span.enter()
        span.leave(token)
        span.end(StateType.COMPLETED.number, "Completed", "", None, time.time_ns())


def main() -> None:
    """Print a line for each implementation."""
    task = Definition()
    task.name, task.fn, task.description, task.retry = "noop", main, None, None
    print("CPU time of one task's span, from its start to its bytes")
    for title, make in (
        ("SDK span, BatchSpanProcessor, official encoder (a provider of your own)", official),
        ("SDK span, flowspan's exporter (what libraries trace)", own_exporter),
        ("flowspan's span and exporter (what flowspan traces)", fast),
    ):
        tracer, flush = make()
        trace_tasks(tracer, task, 300)
        flush()
        best_s = float("inf")
        for _ in range(RUNS):
            Nowhere.encoded_bytes = 0
            began = time.process_time()
            trace_tasks(tracer, task, SPANS)
            flush()
            assert Nowhere.encoded_bytes > SPANS * MIN_SPAN_BYTES, "spans are missing"
            best_s = min(best_s, (time.process_time() - began) / SPANS)
        print(f"  {best_s * 1e6:6.1f} µs  {title}")


if __name__ == "__main__":
    main()
