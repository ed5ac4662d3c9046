"""The ids of spans are independent of the program's random numbers."""

from __future__ import annotations

import os
import random

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flowspan.telemetry.fast_tracer import Processors
from flowspan.telemetry.provider import FlowspanProvider
from flowspan.telemetry.span_ids import SpanIds


def test_tracing_leaves_the_random_numbers_of_the_program_alone() -> None:
    exporter = InMemorySpanExporter()
    provider = FlowspanProvider(Resource({}), Processors())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    drawn = []
    for _ in range(2):
        random.seed(42)
        for tracer in ("library", "flowspan"):
            provider.get_tracer(tracer).start_span("work").end()
        drawn.append(random.random())
    assert drawn[0] == drawn[1] == random.Random(42).random()
    spans = exporter.get_finished_spans()
    assert len({span.context.span_id for span in spans}) == 4
    assert len({span.context.trace_id for span in spans}) == 4, "the same seed, but other ids"
    fast = [span for span in spans if span.instrumentation_scope.name == "flowspan"]
    assert [span.context.trace_flags & 2 for span in fast] == [2, 2], "the trace id is random"


def test_ids_are_valid_and_differ() -> None:
    ids = SpanIds()
    spans = {ids.generate_span_id() for _ in range(1_000)}
    traces = {ids.generate_trace_id() for _ in range(1_000)}
    assert len(spans) == len(traces) == 1_000
    assert all(0 < number < 1 << 64 for number in spans)
    assert all(0 < number < 1 << 128 for number in traces)
    assert ids.is_trace_id_random()


def test_forked_process_chooses_other_ids() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, SpanIds().generate_span_id().to_bytes(8, "big"))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        theirs = int.from_bytes(pipe.read(), "big")
    os.waitpid(pid, 0)
    assert theirs
    assert theirs != SpanIds().generate_span_id()
