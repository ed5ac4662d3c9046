"""Fast spans against the SDK's spans: the same calls, and the same exported bytes.

Each case runs on both tracers, with the same ids. The exported spans are then compared as OTLP
messages, which contain everything that a receiver sees.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace import get_current_span as current_span
from tests.support.traced_runs import make_definition, make_record

from flowspan.core.states import COMPLETED
from flowspan.telemetry.fast_tracer import FastTracer, Processors
from flowspan.telemetry.run_span import SpanTracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

OTHER = SpanContext(1, 2, is_remote=True, trace_state=TraceState([("a", "b")]))
STATE_ALONE = SpanContext(0, 0, is_remote=True, trace_state=TraceState([("a", "b")]))
START_NS, END_NS = 1_700_000_000_000_000_000, 1_700_000_001_000_000_000


class Counted(IdGenerator):
    """Ids in sequence, the same in each test."""

    def __init__(self) -> None:
        self._span_ids, self._trace_ids = itertools.count(1), itertools.count(1 << 60, 1 << 55)

    def generate_span_id(self) -> int:
        return next(self._span_ids)

    def generate_trace_id(self) -> int:
        return next(self._trace_ids)


class Watcher(SpanProcessor):
    """Records what a processor is called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        span.set_attribute("watched", True)
        above = trace.get_current_span(parent_context).get_span_context()
        self.calls.append(("start", span.is_recording(), above, *facts(span)))

    def _on_ending(self, span: Any) -> None:
        span.set_attribute("too late", True)
        self.calls.append(("ending", span.is_recording(), *facts(span)))

    def on_end(self, span: ReadableSpan) -> None:
        self.calls.append(("end", *facts(span)))


def facts(span: Any) -> tuple[Any, ...]:
    """Return what a processor can read of a span."""
    try:
        read = json.loads(span.to_json())
    except TypeError as error:  # bytes
        read = str(error)
    assert span.resource.attributes["service.name"] == "shop"
    assert span.instrumentation_scope.name == "flowspan"
    counts = span.dropped_attributes, span.dropped_events, span.dropped_links
    return span.name, span.kind, span.context, span.parent, dict(span.attributes), read, counts


class Tracing:
    """A tracer of either kind with a provider of its own, and a log of its processors' calls.

    Args:
        is_fast: True for flowspan's tracer, False for the SDK's.
        sampler: The sampler of the provider.
        limits: The limits of the provider.
    """

    def __init__(
        self, *, is_fast: bool, sampler: Sampler = DEFAULT_ON, limits: SpanLimits | None = None
    ) -> None:
        self._exporter = InMemorySpanExporter()
        limits, processors = limits or SpanLimits(), Processors()
        provider = TracerProvider(
            sampler=sampler,
            resource=Resource({"service.name": "shop"}),
            active_span_processor=processors,
            id_generator=Counted(),
            span_limits=limits,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.watcher = Watcher()
        provider.add_span_processor(self.watcher)
        scope = InstrumentationScope("flowspan", "1")
        self.tracer: trace.Tracer = (
            FastTracer(provider, processors, limits, scope)
            if is_fast
            else provider.get_tracer("flowspan", "1")
        )

    def exported(self) -> ExportTraceServiceRequest:
        """Return the exported spans; attributes are sorted, as their order has no meaning."""
        request = encode_spans(self._exporter.get_finished_spans())
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    span.attributes.sort(key=lambda pair: pair.key)
        return request


def both(case: Callable[[trace.Tracer], Any], **options: Any) -> ExportTraceServiceRequest:
    """Run a case on both tracers; return what they exported, which must be equal."""
    fast, sdk = (Tracing(is_fast=is_fast, **options) for is_fast in (True, False))
    assert case(fast.tracer) == case(sdk.tracer)
    assert fast.exported() == sdk.exported()
    assert fast.watcher.calls == sdk.watcher.calls
    return fast.exported()


def raised() -> BaseException:
    try:
        raise KeyError("k")
    except KeyError as error:
        return error


def caused() -> BaseException:
    try:
        raise ValueError("v") from ERROR
    except ValueError as error:
        return error


ERROR = raised()


def set_twice(span: trace.Span) -> None:
    span.set_attribute("own", 2)
    span.set_attribute("own", 3)


def set_statuses(*statuses: Status) -> Callable[[trace.Span], None]:
    def operation(span: trace.Span) -> None:
        for status in statuses:
            span.set_status(status)

    return operation


OK, UNSET, BAD = Status(StatusCode.OK), Status(StatusCode.UNSET), Status(StatusCode.ERROR, "bad")

# User code may pass values of any type, including wrong ones.
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda span: None,
    "text": lambda span: span.set_attribute("text", "é"),
    "numbers": lambda span: span.set_attributes({"a": 1, "b": 2.5, "c": True, "d": -(1 << 62)}),
    "sequences": lambda span: span.set_attributes({"a": ["x", "y"], "b": (1, 2), "c": []}),
    "bytes": lambda span: span.set_attribute("raw", b"\x00text"),
    "no attribute type": lambda span: span.set_attribute("object", object()),
    "mixed sequence": lambda span: span.set_attribute("mixed", [1, "a"]),
    "empty key": lambda span: span.set_attribute("", 1),
    "overwritten": set_twice,
    "event": lambda span: span.add_event("at", {"n": 1}, 5),
    "event without attributes": lambda span: span.add_event("at", None, 5),
    "event of a wrong type": lambda span: span.add_event("at", {"o": object()}, 5),
    "exception": lambda span: span.record_exception(ERROR, {"exception.escaped": "False"}, 6),
    "link": lambda span: span.add_link(OTHER, {"why": "because"}),
    "exception that escapes": lambda span: span.record_exception(ERROR, timestamp=6, escaped=True),
    "exception with a cause": lambda span: span.record_exception(caused(), timestamp=6),
    "link without attributes": lambda span: span.add_link(OTHER),
    "link without ids": lambda span: span.add_link(trace.INVALID_SPAN_CONTEXT, {"why": "b"}),
    "link with a tracestate alone": lambda span: span.add_link(STATE_ALONE),
    "link with nothing": lambda span: span.add_link(trace.INVALID_SPAN_CONTEXT),
    "status and description": lambda span: span.set_status(BAD, "ignored"),
    "status by code, unset": lambda span: span.set_status(StatusCode.UNSET, "x"),
    "status by code": lambda span: span.set_status(StatusCode.ERROR, "bad"),
    "status ok": set_statuses(OK),
    "status error": set_statuses(BAD),
    "ok is final": set_statuses(OK, BAD),
    "unset is ignored": set_statuses(BAD, UNSET),
    "error replaced by ok": set_statuses(BAD, OK),
    "new name": lambda span: span.update_name("better"),
    "context": lambda span: span.get_span_context(),
    "is recording": lambda span: span.is_recording(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_exports_the_same(name: str) -> None:
    def case(tracer: trace.Tracer) -> Any:
        span = tracer.start_span("fetch", attributes={"own": 1}, start_time=START_NS)
        seen = OPERATIONS[name](span)
        span.end(END_NS)
        return seen, span.is_recording()

    exported = both(case)
    assert len(exported.resource_spans[0].scope_spans[0].spans) == 1


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "nothing"])
def test_operations_after_the_end_change_nothing(name: str) -> None:
    def case(tracer: trace.Tracer) -> Any:
        span = tracer.start_span("fetch", attributes={"own": 1}, start_time=START_NS)
        span.end(END_NS)
        seen = OPERATIONS[name](span)
        span.end(END_NS + 1)
        return seen

    (span,) = both(case).resource_spans[0].scope_spans[0].spans
    assert (span.name, span.end_time_unix_nano, len(span.attributes)) == ("fetch", END_NS, 2)


def parent(*, is_sampled: bool = True, is_remote: bool = True, flags: int = 0) -> Context:
    flags |= TraceFlags.SAMPLED if is_sampled else 0
    state = TraceState([("vendor", "x")])
    span = SpanContext(
        0xABC, 0xDEF, is_remote=is_remote, trace_flags=TraceFlags(flags), trace_state=state
    )
    return trace.set_span_in_context(NonRecordingSpan(span))


PARENTS: dict[str, Context] = {
    "none": contexts.Context(),
    "remote": parent(),
    "local": parent(is_remote=False),
    "not sampled": parent(is_sampled=False),
    "invalid": trace.set_span_in_context(trace.INVALID_SPAN),
}
if hasattr(TraceFlags, "RANDOM_TRACE_ID"):  # older SDKs drop the flag
    PARENTS["random trace id"] = parent(flags=2)


class Picky(Sampler):
    """A sampler that reads all arguments, and adds attributes and a trace state."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        seen = {
            "name": name,
            "kind": str(kind),
            "links": str(list(links or ())),
            "trace_id": str(trace_id),
        }
        parent = trace.get_current_span(parent_context).get_span_context()
        attributes = {**(attributes or {}), **seen, "parent": str(parent)}
        return SamplingResult(self._decision, attributes, TraceState([("picky", "1")]))

    def get_description(self) -> str:
        return "picky"


SAMPLERS: dict[str, Sampler] = {
    "default on": DEFAULT_ON,
    "default off": DEFAULT_OFF,
    "always on": ALWAYS_ON,
    "always off": ALWAYS_OFF,
    "ratio": TraceIdRatioBased(0.5),
    "parent based ratio": ParentBased(TraceIdRatioBased(0.5)),
    "picky": Picky(Decision.RECORD_AND_SAMPLE),
    "picky drop": Picky(Decision.DROP),
    "picky record only": Picky(Decision.RECORD_ONLY),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("above", PARENTS)
def test_sampling_and_parents_are_the_same(sampler: str, above: str) -> None:
    def case(tracer: trace.Tracer) -> Any:
        seen = []
        for number in range(8):
            span = tracer.start_span(
                f"fetch {number}", PARENTS[above], attributes={"own": 1}, start_time=START_NS
            )
            inner = tracer.start_span("inner", trace.set_span_in_context(span), start_time=START_NS)
            inner.end(END_NS)
            span.end(END_NS)
            seen += [span.get_span_context(), inner.get_span_context()]
        return [(context, context.trace_state, context.is_remote) for context in seen]

    both(case, sampler=SAMPLERS[sampler])


@pytest.mark.parametrize("sampler", [*SAMPLERS, "picky parent", "follows no parent"])
@pytest.mark.parametrize("above", PARENTS)
def test_runs_are_sampled_the_same(sampler: str, above: str) -> None:
    """For runs, the fast tracer asks the sampler only if it does not know the answer."""
    samplers = SAMPLERS | {
        "picky parent": ParentBased(ALWAYS_ON, local_parent_sampled=Picky(Decision.DROP)),
        "follows no parent": ParentBased(ALWAYS_OFF, remote_parent_not_sampled=ALWAYS_ON),
    }

    def case(tracer: trace.Tracer) -> Any:
        runs, seen = SpanTracer(tracer, environ={}), []
        for number in range(4):
            outer, inner = make_record(f"outer {number}"), make_record(f"inner {number}", id="r2")
            token = contexts.attach(PARENTS[above])
            span = runs.start_run(outer, make_definition("outer"), START_NS)
            inside = span.enter()
            seen.append((current_span().is_recording(), current_span().get_span_context()))
            child = runs.start_run(inner, make_definition("inner"), START_NS)
            child.end(COMPLETED.number, "Completed", "", None, END_NS)
            span.leave(inside)
            span.end(COMPLETED.number, "Completed", "", None, END_NS)
            contexts.detach(token)
            seen += [(r.traceparent, r.tracestate, r.parent_span_id) for r in (outer, inner)]
        return [(each, getattr(each[-1], "trace_state", None)) for each in seen]

    fast, sdk = (Tracing(is_fast=is_fast, sampler=samplers[sampler]) for is_fast in (True, False))
    assert case(fast.tracer) == case(sdk.tracer)
    exported = [[span.name for span in spans_of(each.exported())] for each in (fast, sdk)]
    assert exported[0] == exported[1]


@pytest.mark.parametrize("decision", Decision)
def test_span_records_if_the_sampler_says_so(decision: Decision) -> None:
    def case(tracer: trace.Tracer) -> Any:
        span = tracer.start_span("fetch", start_time=START_NS)
        span.add_event("at", None, 5)
        seen = span.is_recording(), span.get_span_context()
        span.end(END_NS)
        return seen

    exported = both(case, sampler=Picky(decision))
    assert bool(exported.resource_spans) is (decision is Decision.RECORD_AND_SAMPLE)


STARTS: dict[str, dict[str, Any]] = {
    "kind": {"kind": SpanKind.CLIENT},
    "link": {"links": [Link(OTHER, {"why": "because"})]},
    "links": {"links": (Link(OTHER, {"a": object()}), Link(trace.INVALID_SPAN_CONTEXT))},
    "attributes": {"attributes": {"a": 1, "b": object(), "c": [1, "x"], "": 2}},
    "no attributes": {"attributes": {}, "links": ()},
    "no exception": {"record_exception": False},
    "no status": {"set_status_on_exception": False},
    "neither": {"record_exception": False, "set_status_on_exception": False},
}


@pytest.mark.parametrize("limits", [None, SpanLimits(max_links=1, max_span_attribute_length=2)])
@pytest.mark.parametrize("options", STARTS)
def test_options_at_the_start_are_honoured(options: str, limits: SpanLimits | None) -> None:
    def case(tracer: trace.Tracer) -> Any:
        span = tracer.start_span("fetch", start_time=START_NS, **STARTS[options])
        span.add_link(OTHER, {"second": "link"})
        span.end(END_NS)

    both(case, limits=limits)


class FrozenTime:
    """A clock that stands still: `with` blocks end their spans now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("opentelemetry.sdk.trace.time_ns", "flowspan.clock.now_ns"):
            monkeypatch.setattr(module, lambda: END_NS)


@pytest.mark.parametrize("error", [None, ValueError("no"), asyncio.CancelledError(), SystemExit(1)])
@pytest.mark.parametrize("options", STARTS)
@pytest.mark.parametrize("way", ["span", "current span", "kept open", "function", "coroutine"])
def test_with_blocks_are_the_same(
    monkeypatch: pytest.MonkeyPatch, options: str, error: BaseException | None, way: str
) -> None:
    FrozenTime(monkeypatch)

    def work() -> trace.Span:
        if error is not None:
            raise error.with_traceback(None)
        return trace.get_current_span()

    def case(tracer: trace.Tracer) -> Any:
        given = {"start_time": START_NS, **STARTS[options]}
        seen = caught = None
        try:
            if way == "span":
                with tracer.start_span("fetch", **given):
                    work()
            elif way in {"current span", "kept open"}:
                ends = {"end_on_exit": way == "current span"}
                with tracer.start_as_current_span("fetch", **given, **ends) as seen:
                    assert work() is seen
            elif way == "function":
                decorated = tracer.start_as_current_span("fetch", **given)(work)
                for _ in range(2):
                    seen = decorated()
            else:

                @tracer.start_as_current_span("fetch", **given)
                async def coroutine() -> trace.Span:
                    return work()

                seen = asyncio.run(coroutine())
        except BaseException as raised:  # noqa: BLE001 - any error can be passed
            caught = raised
        assert caught is error
        after = trace.get_current_span() is trace.INVALID_SPAN
        return after, seen is None or (seen.get_span_context(), seen.is_recording())

    request = spans_of(both(case))
    assert len(request) == {"kept open": 0, "function": 2 if error is None else 1}.get(way, 1)


def spans_of(request: ExportTraceServiceRequest) -> list[Any]:
    return [
        span
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


LIMITS = {
    "events": SpanLimits(max_events=2),
    "links": SpanLimits(max_links=1),
    "attributes of events": SpanLimits(max_event_attributes=1),
    "attributes of links": SpanLimits(max_link_attributes=1),
    "length of span attributes": SpanLimits(max_span_attribute_length=3),
    "length of all attributes": SpanLimits(max_attribute_length=4),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_the_same(name: str) -> None:
    def case(tracer: trace.Tracer) -> None:
        span = tracer.start_span("fetch", start_time=START_NS)
        for number in range(4):
            attributes = {"a": "x" * 10, "b": ["y" * 10], "c": number}
            span.set_attributes({f"{key}{number}": each for key, each in attributes.items()})
            span.add_event(f"event {number}", attributes, number)
            span.add_link(OTHER, attributes)
        span.end(END_NS)

    both(case, limits=LIMITS[name])


def test_nested_spans_and_the_current_span_are_the_same() -> None:
    def case(tracer: trace.Tracer) -> Any:
        with tracer.start_as_current_span("outer", start_time=START_NS) as outer:
            current = trace.get_current_span() is outer
            inner = tracer.start_span("inner", start_time=START_NS)
            inner.end(END_NS)
            outer.end(END_NS)
        return current, trace.get_current_span() is trace.INVALID_SPAN

    both(case)
