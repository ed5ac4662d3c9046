"""Fast spans: a tracer for runs that takes a third of the time of the SDK's.

The SDK's span locks, copies and checks its arguments, which takes most of the time that tracing
costs a short task. If flowspan creates the provider itself, it uses this tracer for the spans of
runs, with the provider's sampler, ids, limits, resource and processors. The spans of libraries, and
all spans of a provider that the program installed, are the SDK's.

Data that user code puts on the current span passes the SDK's own checks and limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import (
    Event,
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from flowspan import clock
from flowspan.core.run_context import MEMBER
from flowspan.telemetry.attributes import EXCEPTION_EVENT, exception_attributes
from flowspan.telemetry.exporter import ExportingProcessor
from flowspan.telemetry.propagation import naming_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.util.types import AnyValue, Attributes

    from flowspan.core.events import RunRecord

_UNSET = Status(StatusCode.UNSET)
_SAMPLED = 1
_RANDOM_TRACE_ID = 2
_FLAGS = tuple(TraceFlags(number) for number in range(4))


class Processors(SynchronousMultiSpanProcessor):
    """The span processors of flowspan's provider: its exporter, and those the program adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the SDK's
        self._count = 0
        self.only: ExportingProcessor | None = None
        """The exporter, while it is the only processor: it accepts fast spans directly."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor."""
        super().add_span_processor(span_processor)
        self._count += 1
        if self._count == 1 and isinstance(span_processor, ExportingProcessor):
            self.only = span_processor
        else:
            self.only = None


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
        # Older versions of the SDK lack this method.
        is_random = getattr(self._ids, "is_trace_id_random", None)
        self._root_flags = _RANDOM_TRACE_ID if is_random is not None and is_random() else 0

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
        """Start a span, as `opentelemetry.trace.Tracer` does; the last two arguments do nothing."""
        above = trace.get_current_span(context)
        parent: SpanContext | None = (
            above.context if type(above) is FastSpan else above.get_span_context()
        )
        if parent is not None and parent.is_valid:
            trace_id, flags, state = parent.trace_id, parent.trace_flags & 3, parent.trace_state
            is_sampled = bool(flags & _SAMPLED)
        else:
            parent, trace_id, state = None, self._ids.generate_trace_id(), None
            flags, is_sampled = self._root_flags, True
        if self._sampler is not DEFAULT_ON:
            result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links)
            is_sampled = result.decision is Decision.RECORD_AND_SAMPLE
            state, attributes = result.trace_state, result.attributes
        if state and MEMBER in state:
            state = state.delete(MEMBER)  # it names the run above
        own = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=_FLAGS[flags | _SAMPLED if is_sampled else flags & ~_SAMPLED],
            trace_state=state,
        )
        if not is_sampled:
            return trace.NonRecordingSpan(own)
        start_ns = clock.now_ns() if start_time is None else start_time
        span = FastSpan(self, name, own, parent, attributes, start_ns)
        if self.processors.only is None:
            # They use only the attributes and methods that it shares with an SDK span.
            self.processors.on_start(span, parent_context=context)  # type: ignore[arg-type]
        return span

    def adopt(
        self,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        start_ns: int,
    ) -> trace.Span:
        """Return a span that was started by another process, which ended before the span did."""
        return FastSpan(self, name, own, parent, attributes, start_ns)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        """Start a span and make it the current one, as `opentelemetry.trace.Tracer` does."""
        return trace.use_span(self.start_span(*args, **kwargs), end_on_exit=True)


class FastSpan(trace.Span):
    """A fast span of a run. It needs no lock: it changes in single steps of lists and dicts."""

    __slots__ = (
        "_events",
        "_links",
        "_naming_run",
        "_own",
        "_tracer",
        "_users",
        "context",
        "end_time",
        "name",
        "parent",
        "run",
        "start_time",
        "status",
    )

    def __init__(
        self,
        tracer: FastTracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        start_ns: int,
    ) -> None:
        self._tracer = tracer
        self.name = name
        self.context = context
        self.parent = parent
        self.start_time = start_ns
        self.end_time: int | None = None
        self.status = _UNSET
        self.run: RunRecord | None = None
        """The run that the tracestate names; None before it is known."""
        self._naming_run: SpanContext | None = None
        self._own: dict[str, Any] = dict(attributes) if attributes else {}
        """flowspan's own attributes, which are few and of valid types."""
        self._users: BoundedAttributes | None = None
        """The attributes set by user code."""
        self._events: BoundedList[Event] | None = None
        self._links: BoundedList[Link] | None = None

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Set flowspan's own attributes, which need no checks."""
        self._own.update(attributes)

    def get_span_context(self) -> SpanContext:
        """Return the span's context, with the run context in its tracestate.

        It is created on demand, because most spans need it never. `context` is without.
        """
        if self._naming_run is None:
            if self.run is None:
                return self.context
            self._naming_run = naming_run(self.context, self.run)
        return self._naming_run

    def is_recording(self) -> bool:
        """Return True if the span has not ended."""
        return self.end_time is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Set an attribute, on behalf of user code."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Set attributes, on behalf of user code."""
        if self.end_time is not None:
            return
        if self._users is None:
            limits = self._tracer.limits
            self._users = BoundedAttributes(
                limits.max_span_attributes,
                immutable=False,
                max_value_len=limits.max_span_attribute_length,
            )
        for key, value in attributes.items():
            self._users[key] = value

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event."""
        if self.end_time is not None:
            return
        limits = self._tracer.limits
        if self._events is None:
            self._events = BoundedList(limits.max_events)
        bounded = BoundedAttributes(
            limits.max_event_attributes, attributes, max_value_len=limits.max_attribute_length
        )
        self._events.append(Event(name, bounded, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link, on behalf of user code."""
        if self.end_time is not None or not context.is_valid:
            return
        limits = self._tracer.limits
        bounded = BoundedAttributes(
            limits.max_link_attributes, attributes, max_value_len=limits.max_attribute_length
        )
        self.put_link(context, bounded)

    def put_link(self, context: SpanContext, attributes: Mapping[str, Any]) -> None:
        """Add one of flowspan's own links, whose attributes need no checks."""
        if self._links is None:
            self._links = BoundedList(self._tracer.limits.max_links)
        self._links.append(Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Change the name of the span."""
        if self.end_time is None:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status. OK is final, and UNSET is ignored."""
        new = status if isinstance(status, Status) else Status(status, description)
        if self.end_time is not None or new.is_unset or self.status.status_code is StatusCode.OK:
            return
        self.status = new

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002 - OpenTelemetry's signature
    ) -> None:
        """Add an event for an exception."""
        event = {**exception_attributes(exception), **(attributes or {})}
        self.add_event(EXCEPTION_EVENT, event, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End the span and pass it to the processors."""
        if self.end_time is not None:
            return
        self.end_time = clock.now_ns() if end_time is None else end_time
        only = self._tracer.processors.only
        if only is not None:
            only.on_end(self)
        else:
            self._tracer.processors.on_end(self.readable())

    # Read by encoders and processors; the names are those of ReadableSpan.

    kind = SpanKind.INTERNAL

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes; a copy if user code has set some."""
        return self._own if self._users is None else {**self._own, **self._users.copy()}

    @property
    def events(self) -> Sequence[Event]:
        """The events of the span."""
        return () if self._events is None else self._events

    @property
    def links(self) -> Sequence[Link]:
        """The links of the span."""
        return () if self._links is None else self._links

    @property
    def dropped_attributes(self) -> int:
        """Number of attributes dropped because of the limit."""
        return 0 if self._users is None else self._users.dropped

    @property
    def dropped_events(self) -> int:
        """Number of events dropped because of the limit."""
        return 0 if self._events is None else self._events.dropped

    @property
    def dropped_links(self) -> int:
        """Number of links dropped because of the limit."""
        return 0 if self._links is None else self._links.dropped

    @property
    def resource(self) -> Resource:
        """The provider's resource."""
        return self._tracer.provider.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The instrumentation scope of the tracer."""
        return self._tracer.scope

    def readable(self) -> ReadableSpan:
        """Return a copy as the SDK's type."""
        attributes: Attributes = self.attributes
        if self.dropped_attributes:
            # A plain dict would lose the number.
            attributes = BoundedAttributes(attributes=attributes)
            attributes.dropped = self.dropped_attributes
        return ReadableSpan(
            self.name,
            context=self.context,
            parent=self.parent,
            resource=self.resource,
            attributes=attributes,
            events=self.events,
            links=self.links,
            kind=self.kind,
            status=self.status,
            start_time=self.start_time,
            end_time=self.end_time,
            instrumentation_scope=self.instrumentation_scope,
        )
