"""CPU time that tracing adds to one task: `python -m benchmarks.tracing_cost`.

A flow calls a task that does nothing, with tracing and without; its events are discarded. The
figures are the differences: in the thread of the flow, and in all threads until the spans are
encoded (nothing is sent). They are CPU time, the minimum of several rounds, so that other load on
the machine hardly matters.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from flowspan import flow, task, telemetry
from flowspan.drivers.process import ProcessContext, set_process
from flowspan.telemetry.exporter import ExportingProcessor
from flowspan.telemetry.fast_tracer import FastTracer, Processors
from flowspan.telemetry.run_span import SpanTracer
from flowspan.telemetry.span_ids import SpanIds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

ROUNDS = 7
SPANS = 3_000
WARM_UP = 300
WAIT_MS = 60_000
MIN_SPAN_BYTES = 300


class Cost(NamedTuple):
    """CPU time of a task, in seconds: in the flow's thread, and in all threads."""

    thread_s: float
    total_s: float


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


def untraced() -> tuple[None, Callable[[], object]]:
    return None, lambda: None


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
    provider = TracerProvider(
        active_span_processor=processors, id_generator=SpanIds(), shutdown_on_exit=False
    )
    tracer = FastTracer(provider, processors, SpanLimits(), InstrumentationScope("flowspan"))
    return SpanTracer(tracer, environ={}), lambda: exporter.force_flush(WAIT_MS)


flushes: list[Callable[[], object]] = []


@task
def noop() -> None:
    """Do nothing."""


@flow
def many(count: int) -> Cost:
    """Call the task repeatedly, and return the CPU time of one call."""
    flush = flushes[-1]
    thread_s, total_s = time.thread_time(), time.process_time()
    for _ in range(count):
        noop()
    thread_s = time.thread_time() - thread_s
    flush()
    return Cost(thread_s / count, (time.process_time() - total_s) / count)


def measure(make: Callable[[], tuple[SpanTracer | None, Callable[[], object]]]) -> Cost:
    """Return the CPU time of a task whose spans a tracer creates."""
    telemetry.configure()
    # The decision is made here instead of by settings.
    telemetry._tracer, flush = make()  # noqa: SLF001 - there is no other way to choose
    telemetry._final = True  # noqa: SLF001 - as above
    flushes.append(flush)
    many(WARM_UP)
    costs = []
    for _ in range(ROUNDS):
        Nowhere.encoded_bytes = 0
        gc.collect()
        costs.append(many(SPANS))
        if telemetry._tracer is not None:  # noqa: SLF001 - as above
            assert Nowhere.encoded_bytes > SPANS * MIN_SPAN_BYTES, "spans are missing"
    return Cost(min(cost.thread_s for cost in costs), min(cost.total_s for cost in costs))


def main() -> None:
    """Print a line for each implementation."""
    process = ProcessContext(
        lambda event: None,
        flush=lambda: None,
        watch_commands=lambda run_id, inbox: None,
        forget=lambda run_id: None,
    )
    before = set_process(process)
    try:
        base = measure(untraced)
        print("CPU time that tracing adds to a task, in µs: in the flow's thread, in all threads")
        for title, make in (
            ("SDK span, BatchSpanProcessor, official encoder (a provider of your own)", official),
            ("SDK span, flowspan's exporter (what libraries trace)", own_exporter),
            ("flowspan's span and exporter (what flowspan traces)", fast),
        ):
            cost = measure(make)
            thread_us = (cost.thread_s - base.thread_s) * 1e6
            total_us = (cost.total_s - base.total_s) * 1e6
            print(f"  {thread_us:6.1f} {total_us:6.1f}  {title}")
    finally:
        telemetry.configure()
        set_process(before)


if __name__ == "__main__":
    main()
