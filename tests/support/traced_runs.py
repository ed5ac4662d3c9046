"""Runs whose spans are exported to memory, by flowspan's tracer or the SDK's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from flowspan.core.definition import Definition
from flowspan.core.events import RunRecord
from flowspan.telemetry.fast_tracer import FastTracer, Processors
from flowspan.telemetry.run_span import RunSpan, SpanTracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan.telemetry.parameters import ShownParameters

S = 1_000_000_000


class Traced:
    """A tracer with its own provider, and the exported spans."""

    def __init__(
        self,
        *,
        is_fast: bool,
        environ: Mapping[str, str] | None = None,
        sampler=None,
        limits: SpanLimits | None = None,
        parameters: ShownParameters | None = None,
    ) -> None:
        self.exporter = InMemorySpanExporter()
        processors, limits = Processors(), limits or SpanLimits()
        self.processors = processors
        self.provider = TracerProvider(
            sampler=sampler,
            active_span_processor=processors,
            span_limits=limits,
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        scope = InstrumentationScope("flowspan", "1")
        tracer = (
            FastTracer(self.provider, processors, limits, scope)
            if is_fast
            else self.provider.get_tracer("flowspan", "1")
        )
        self.tracer = SpanTracer(
            tracer, environ=environ or {}, provider=self.provider, parameters=parameters
        )

    def start(self, name: str = "fetch", *, at: int = 0, **fields) -> tuple[RunSpan, RunRecord]:
        record = make_record(name, **fields)
        span = self.tracer.start_run(record, make_definition(name), at * S)
        assert isinstance(span, RunSpan)
        return span, record

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """The exported spans by name; for tests in which names are unique."""
        return {span.name: span for span in self.exporter.get_finished_spans()}


def make_record(name: str, **fields) -> RunRecord:
    values = {
        "is_flow": False,
        "run_name": f"{name}-1",
        "parent_run_id": None,
        "root_run_id": "r1",
        "flow_run_id": None,
        "details": make_definition(name).details,
    }
    return RunRecord(fields.pop("id", "r1"), function_name=name, **(values | fields))


def make_definition(name: str) -> Definition:
    definition = Definition()
    definition.name, definition.fn = name, sample
    definition.description, definition.retry = None, None
    return definition


def sample() -> None:
    """Stand in for the function of every run in this module."""
