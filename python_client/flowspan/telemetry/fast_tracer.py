"""The tracer of fast spans.

If flowspan creates the provider itself, it uses this tracer for the spans of runs, with the
provider's sampler, ids, limits, resource and processors. The spans of libraries, and all spans of a
provider that the program installed, are the SDK's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import (
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind

from flowspan import clock
from flowspan.core.run_context import MEMBER
from flowspan.telemetry.attributes import run_attributes
from flowspan.telemetry.exporter import ExportingProcessor
from flowspan.telemetry.fast_span import FastRunSpan, FastSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, TraceState
    from opentelemetry.util.types import Attributes

    from flowspan.core.events import RunRecord

_SAMPLED = 1
_RANDOM_TRACE_ID = 2
_KNOWN_FLAGS = _SAMPLED | _RANDOM_TRACE_ID
(SPAN_KEY,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())
"""The key of the current span in a context. Its name in the API is private."""


class Processors(SynchronousMultiSpanProcessor):
    """The span processors of flowspan's provider: its exporter, and those the program adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the SDK's
        self._added: list[SpanProcessor] = []
        self.only: ExportingProcessor | None = None
        """The exporter, while it is the only processor: it accepts fast spans directly."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor."""
        super().add_span_processor(span_processor)
        self._added.append(span_processor)
        if len(self._added) == 1 and isinstance(span_processor, ExportingProcessor):
            self.only = span_processor
        else:
            self.only = None

    @property
    def dropped_count(self) -> int:
        """The number of spans that flowspan's exporters did not deliver."""
        exporters = [each for each in self._added if isinstance(each, ExportingProcessor)]
        return sum(each.dropped_count for each in exporters)

    def end(self, span: FastSpan) -> None:
        """Pass an ended fast span to all processors."""
        # The hook is experimental and has a private name; older versions of the SDK lack it.
        on_ending = getattr(self, "_on_ending", None)
        if on_ending is not None:
            on_ending(span)
        self.on_end(span.readable())

    def send_soon(self) -> None:
        """Make the exporters send the ended spans, without the usual delay."""
        for processor in self._added:
            if isinstance(processor, ExportingProcessor):
                processor.send_soon()


class FastTracer(trace.Tracer):
    """A tracer that creates fast spans for a provider.

    Args:
        provider: The provider.
        processors: Its processors.
        limits: Its limits.
        scope: The instrumentation scope of the spans.
    """

    def __init__(
        self,
        provider: TracerProvider,
        processors: Processors,
        limits: SpanLimits,
        scope: InstrumentationScope,
    ) -> None:
        self.provider = provider
        self.processors = processors
        self.limits = limits
        self.scope = scope
        self._ids = provider.id_generator
        self._sampler = provider.sampler
        # Sampling costs more than the rest of a span, and the answer is mostly known.
        self._asks_for_root = provider.sampler is not DEFAULT_ON
        self._asks_for_child = not _follows_parent(provider.sampler)
        # Older versions of the SDK lack this method.
        is_random = getattr(self._ids, "is_trace_id_random", None)
        self._root_flags = _RANDOM_TRACE_ID if is_random is not None and is_random() else 0

    def start_run(
        self,
        record: RunRecord,
        flow: RunRecord | None,
        start_ns: int,
        context: Context,
        above: trace.Span,
    ) -> FastRunSpan:
        """Start the span of a run.

        Args:
            record: The run.
            flow: The flow run that it belongs to; None outside of flows.
            start_ns: The time of its creation, in nanoseconds since 1970 UTC.
            context: The context.
            above: The current span in the context.

        Returns:
            The span, which has ended already if the sampler says no.
        """
        parent, trace_id, flags, state = self._place(above)
        given = sampled = None
        if self._asks_for_root if parent is None else self._asks_for_child:
            given = run_attributes(record, flow)
            is_recording, flags, state, sampled = self._sample(
                context, trace_id, flags, record.function_name, SpanKind.INTERNAL, given, ()
            )
        else:
            is_recording = bool(flags & _SAMPLED)
        span_id = self._ids.generate_span_id()
        span = FastRunSpan(self, record, flow, trace_id, span_id, flags, state, parent, start_ns)
        if not is_recording:
            span.end_time = start_ns
            return span
        if given is not None:
            span.sampled_with(given, sampled)
        if self.processors.only is None:
            # They use only the attributes and methods that it shares with an SDK span.
            self.processors.on_start(span, parent_context=context)  # type: ignore[arg-type]
        return span

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002 - OpenTelemetry's signature
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002 - OpenTelemetry's signature
    ) -> trace.Span:
        """Start a span, as `opentelemetry.trace.Tracer` does."""

        def prepare(span: FastSpan, sampled: Attributes) -> None:
            span.begin_rarely(
                kind,
                sampled,
                links,
                records_exception=record_exception,
                sets_status=set_status_on_exception,
            )

        span = self._start(name, context, kind, attributes, links, start_time, prepare)
        return span if span.is_recording() else NonRecordingSpan(span.context)

    def start_own(
        self,
        name: str,
        context: Context | None,
        attributes: Attributes,
        start_time: int,
        span_id: int | None = None,
    ) -> FastSpan:
        """Start one of flowspan's own spans, whose attributes need no checks and no limits.

        Args:
            name: As in `start_span`.
            context: As in `start_span`.
            attributes: As in `start_span`.
            start_time: As in `start_span`.
            span_id: Its id; a random one by default.

        Returns:
            The span, which has ended already if the sampler says no.
        """

        def prepare(span: FastSpan, sampled: Attributes) -> None:
            span.put(sampled or {})
            if span_id is not None:
                span.span_id = span_id

        return self._start(name, context, SpanKind.INTERNAL, attributes, (), start_time, prepare)

    def adopt(
        self,
        record: RunRecord,
        flow: RunRecord | None,
        own: SpanContext,
        parent: SpanContext | None,
        start_ns: int,
    ) -> FastRunSpan:
        """Return the span of a run that another process started, which ended before the span.

        Args:
            record: The run.
            flow: As in `start_run`.
            own: The ids of its span.
            parent: The ids of the parent's span.
            start_ns: As in `start_run`.
        """
        flags = own.trace_flags & _KNOWN_FLAGS
        return FastRunSpan(
            self, record, flow, own.trace_id, own.span_id, flags, None, parent, start_ns
        )

    # The SDK's uses only `start_span`, and is a decorator as well.
    start_as_current_span = SdkTracer.start_as_current_span

    def send_soon(self) -> None:
        """Send the ended spans, without the usual delay."""
        self.processors.send_soon()

    def _start(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
        start_ns: int | None,
        prepare: Callable[[FastSpan, Attributes], None],
    ) -> FastSpan:
        """Start a span; it has ended already if the sampler says no.

        Args:
            name: As in `start_span`.
            context: As in `start_span`.
            kind: As in `start_span`.
            attributes: As in `start_span`.
            links: As in `start_span`.
            start_ns: The start; None for now.
            prepare: Is called with the new span and the attributes that the sampler returned.
        """
        parent, trace_id, flags, state = self._place(trace.get_current_span(context))
        if self._asks_for_root if parent is None else self._asks_for_child:
            is_recording, flags, state, attributes = self._sample(
                context, trace_id, flags, name, kind, attributes, links
            )
        else:
            is_recording = bool(flags & _SAMPLED)
        span_id = self._ids.generate_span_id()
        start_ns = clock.now_ns() if start_ns is None else start_ns
        span = FastSpan(self, name, trace_id, span_id, flags, state, parent, start_ns)
        prepare(span, attributes)
        if not is_recording:
            span.end_time = start_ns
        elif self.processors.only is None:
            self.processors.on_start(span, parent_context=context)  # type: ignore[arg-type] # above
        return span

    def _place(
        self, above: trace.Span
    ) -> tuple[FastSpan | SpanContext | None, int, int, TraceState | None]:
        """Return parent, trace id, flags and tracestate of a span below the current one."""
        if type(above) is FastRunSpan or type(above) is FastSpan:
            above.is_used = True
            return above, above.trace_id, above.flags, above.trace_state
        parent = above.get_span_context()
        if not parent.is_valid:
            return None, self._ids.generate_trace_id(), self._root_flags | _SAMPLED, None
        flags = parent.trace_flags & _KNOWN_FLAGS
        return parent, parent.trace_id, flags, _without_run(parent.trace_state)

    def _sample(
        self,
        context: Context | None,
        trace_id: int,
        flags: int,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
    ) -> tuple[bool, int, TraceState | None, Attributes]:
        """Ask the sampler; return whether to record, the flags, the tracestate and attributes."""
        result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
        decision = result.decision
        is_sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = flags | _SAMPLED if is_sampled else flags & ~_SAMPLED
        is_recording = decision is not Decision.DROP
        return is_recording, flags, _without_run(result.trace_state), result.attributes


def adopting_tracer(provider: object, scope: InstrumentationScope) -> FastTracer | None:
    """Return a tracer that adopts spans for a provider that the program installed.

    The ids of such spans are given, which the tracers of the SDK do not allow. They pass through
    the provider's processors, as its own spans do.

    Args:
        provider: The provider.
        scope: The instrumentation scope of the spans.

    Returns:
        The tracer; None if the provider is not one of the SDK.
    """
    if not isinstance(provider, TracerProvider):
        return None
    # Private, but all releases from 1.36 to 1.45 have it.
    own = getattr(provider, "_active_span_processor", None)
    if own is None:
        return None
    processors = Processors()
    processors.add_span_processor(own)
    limits = getattr(provider, "_span_limits", None) or SpanLimits()
    return FastTracer(provider, processors, limits, scope)


def _without_run(state: TraceState | None) -> TraceState | None:
    """Return a tracestate without the run context, which names the run above; None if empty."""
    if state and MEMBER in state:
        state = state.delete(MEMBER)
    return state or None


def _follows_parent(sampler: Sampler) -> bool:
    """Return True if spans below others are sampled exactly if their parents are.

    The SDK's samplers that respect parents do. They have no public attributes; if a release names
    them otherwise, the sampler is asked for each span.
    """
    if type(sampler).should_sample is not ParentBased.should_sample:
        return False
    return all(
        getattr(sampler, f"_{place}_parent_{decision}", None) is delegate
        for place in ("local", "remote")
        for decision, delegate in (("sampled", ALWAYS_ON), ("not_sampled", ALWAYS_OFF))
    )
