"""Fast spans: the spans of runs, in a third of the time that the SDK's take.

The SDK's span locks, copies and checks its arguments, which takes most of the time that tracing
costs a short task. A fast span only keeps what it is given. Its attributes, its span context and
its bytes are made when they are needed, which is mostly in the exporter's thread.

Data that user code puts on a fast span passes the SDK's own checks and limits.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from flowspan import clock
from flowspan.telemetry.attributes import end_attributes, run_attributes
from flowspan.telemetry.propagation import naming_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import TraceState
    from opentelemetry.util.types import AnyValue, Attributes

    from flowspan.core.events import RunRecord
    from flowspan.telemetry.fast_tracer import FastTracer

UNSET = Status(StatusCode.UNSET)
FLAGS = tuple(TraceFlags(number) for number in range(4))
T = TypeVar("T")

_evicting = Lock()
"""Held while an event or link is evicted, which is rare."""


def _renew_lock() -> None:
    """Replace the lock in a forked child: a thread that the child does not have may hold it."""
    global _evicting  # noqa: PLW0603 - one per process
    _evicting = Lock()


os.register_at_fork(after_in_child=_renew_lock)


class OwnEvent(Event):
    """An event of flowspan's. Events of user code never evict it."""


class OwnLink(Link):
    """A link of flowspan's. Links of user code never evict it."""


_OWN = OwnEvent, OwnLink


class Extras:
    """The parts of a fast span that most spans lack.

    Attributes:
        kind: The kind of the span.
        users: The attributes set by user code; None without any.
        sampled: The attributes as the sampler returned them, if it changed them; else None.
        events: The events, at most as many as the limit.
        dropped_events: Number of evicted events.
        links: The links, at most as many as the limit.
        dropped_links: Number of evicted links.
        records_exception: True if the span records an exception that leaves its `with` block.
        sets_status: True if such an exception makes the span an error.
    """

    __slots__ = (
        "dropped_events",
        "dropped_links",
        "events",
        "kind",
        "links",
        "records_exception",
        "sampled",
        "sets_status",
        "users",
    )

    def __init__(self) -> None:
        self.kind = SpanKind.INTERNAL
        self.users: BoundedAttributes | None = None
        self.sampled: Mapping[str, Any] | None = None
        self.events: list[Event] = []
        self.links: list[Link] = []
        self.dropped_events = self.dropped_links = 0
        self.records_exception = self.sets_status = True

    def add_event(self, event: Event, limit: int | None) -> None:
        """Add an event; evict the oldest one of user code if there are too many."""
        self.dropped_events += _append(self.events, event, limit)

    def add_link(self, link: Link, limit: int | None) -> None:
        """Add a link; evict the oldest one of user code if there are too many."""
        self.dropped_links += _append(self.links, link, limit)


def _append(items: list[T], item: T, limit: int | None) -> int:
    """Append an item; return the number of evicted ones."""
    items.append(item)
    if limit is None or len(items) <= limit:
        return 0
    with _evicting:
        found = (n for n, each in enumerate(items) if not isinstance(each, _OWN))
        del items[next(found, 0)]
    return 1


class FastSpan(trace.Span):
    """A fast span. It needs no lock: it changes in single steps of lists and dicts.

    Args:
        tracer: The tracer.
        name: The name of the span.
        trace_id: The id of its trace.
        span_id: Its own id.
        flags: Its trace flags.
        trace_state: Its tracestate without the run context; None if it is empty.
        above: The parent: a fast span, the context of another span, or None.
        start_ns: The start, in nanoseconds since 1970 UTC.
    """

    __slots__ = (
        "_context",
        "_tracer",
        "above",
        "end_time",
        "extras",
        "flags",
        "is_used",
        "name",
        "own",
        "run",
        "span_id",
        "start_time",
        "status",
        "trace_id",
        "trace_state",
    )

    def __init__(
        self,
        tracer: FastTracer,
        name: str,
        trace_id: int,
        span_id: int,
        flags: int,
        trace_state: TraceState | None,
        above: FastSpan | SpanContext | None,
        start_ns: int,
    ) -> None:
        self._tracer = tracer
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.trace_state = trace_state
        self.above = above
        self.start_time = start_ns
        self.end_time: int | None = None
        self.status = UNSET
        self.extras: Extras | None = None
        self.own: dict[str, Any] | None = None
        """flowspan's own attributes, which are few and of valid types."""
        self.run: RunRecord | None = None
        """The run that the tracestate names; None before it is known."""
        self.is_used = False
        """True once anything else may refer to the span by its context."""
        self._context: SpanContext | None = None

    # flowspan's own data needs no checks. Nothing changes a span after its end, when another thread
    # may encode it at any time.

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Set flowspan's own attributes."""
        if self.end_time is not None:
            return
        if self.own is None:
            self.own = dict(attributes)
        else:
            self.own.update(attributes)

    def put_event(
        self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
    ) -> None:
        """Add one of flowspan's own events."""
        if self.end_time is not None:
            return
        limits = self._tracer.limits
        event = OwnEvent(name, _bounded(attributes, None, limits.max_attribute_length), timestamp)
        self._rare().add_event(event, limits.max_events)

    def put_link(self, context: SpanContext, attributes: Mapping[str, Any]) -> None:
        """Add one of flowspan's own links."""
        if self.end_time is not None:
            return
        length = self._tracer.limits.max_attribute_length
        if length is not None:
            attributes = _bounded(attributes, None, length)
        self._add_link(OwnLink(context, attributes))

    def absorb(self, other: FastSpan) -> None:
        """End another span without exporting it, and take over what user code put on it."""
        other.end_time = other.start_time
        self.set_status(other.status)
        if other.extras is None:
            return
        self.set_attributes(other.extras.users or {})
        for event in other.events:
            self._rare().add_event(event, self._tracer.limits.max_events)
        for link in other.links:
            self._add_link(link)

    # The interface of OpenTelemetry's spans.

    @property
    def context(self) -> SpanContext:
        """The span's context without the run context in its tracestate."""
        if self._context is None:
            self._context = SpanContext(
                self.trace_id,
                self.span_id,
                is_remote=False,
                trace_flags=FLAGS[self.flags],
                trace_state=self.trace_state,
            )
        return self._context

    def get_span_context(self) -> SpanContext:
        """Return the span's context, with the run context in its tracestate."""
        self.is_used = True
        return self.context if self.run is None else naming_run(self.context, self.run)

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
        extras, limits = self._rare(), self._tracer.limits
        if extras.users is None:
            extras.users = BoundedAttributes(
                limits.max_span_attributes,
                immutable=False,
                max_value_len=limits.max_span_attribute_length,
            )
        for key, value in attributes.items():
            extras.users[key] = value

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event, on behalf of user code."""
        if self.end_time is not None:
            return
        limits = self._tracer.limits
        bounded = _bounded(attributes, limits.max_event_attributes, limits.max_attribute_length)
        self._rare().add_event(Event(name, bounded, timestamp), limits.max_events)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link, on behalf of user code."""
        # The SDK's rule: a link without ids may still carry attributes or a tracestate.
        if self.end_time is not None or not (context.is_valid or attributes or context.trace_state):
            return
        limits = self._tracer.limits
        bounded = _bounded(attributes, limits.max_link_attributes, limits.max_attribute_length)
        self._add_link(Link(context, bounded))

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
        """Add an event for an exception, on behalf of user code."""
        # The SDK's method uses nothing but `add_event`.
        SdkSpan.record_exception(
            self,  # type: ignore[arg-type] # see above
            exception,
            attributes,
            timestamp,
            escaped,
        )

    def end(self, end_time: int | None = None) -> None:
        """End the span and pass it to the processors."""
        if self.end_time is not None:
            return
        self.end_time = clock.now_ns() if end_time is None else end_time
        processors = self._tracer.processors
        if processors.only is not None:
            processors.only.on_end(self)
        else:
            processors.end(self)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End the span, and record an exception that leaves the block, as the SDK's span does."""
        if exc_val is not None and self.is_recording():
            extras = self._rare()
            if extras.records_exception:
                self.record_exception(exc_val, escaped=True)
            if extras.sets_status:
                text = f"{type(exc_val).__name__}: {exc_val}"
                self.set_status(Status(StatusCode.ERROR, text))
        self.end()

    # Read by encoders and processors; the names are those of ReadableSpan.

    @property
    def parent(self) -> SpanContext | None:
        """The context of the parent."""
        above = self.above
        return above.context if isinstance(above, FastSpan) else above

    @property
    def kind(self) -> SpanKind:
        """The kind of the span."""
        return SpanKind.INTERNAL if self.extras is None else self.extras.kind

    @property
    def attributes(self) -> dict[str, Any]:
        """A copy of all attributes."""
        return self._attributes()[0]

    @property
    def dropped_attributes(self) -> int:
        """Number of attributes dropped because of the limit."""
        return self._attributes()[1]

    @property
    def events(self) -> Sequence[Event]:
        """The events of the span."""
        return () if self.extras is None else tuple(self.extras.events)

    @property
    def dropped_events(self) -> int:
        """Number of events dropped because of the limit."""
        return 0 if self.extras is None else self.extras.dropped_events

    @property
    def links(self) -> Sequence[Link]:
        """The links of the span."""
        return () if self.extras is None else tuple(self.extras.links)

    @property
    def dropped_links(self) -> int:
        """Number of links dropped because of the limit."""
        return 0 if self.extras is None else self.extras.dropped_links

    @property
    def resource(self) -> Resource:
        """The provider's resource."""
        return self._tracer.provider.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The instrumentation scope of the tracer."""
        return self._tracer.scope

    @property
    def limits(self) -> SpanLimits:
        """The limits of the provider."""
        return self._tracer.limits

    def readable(self) -> ReadableSpan:
        """Return a copy as the SDK's type."""
        values, dropped = self._attributes()
        attributes = BoundedAttributes(attributes=values)
        attributes.dropped = dropped
        # Plain lists would lose the numbers of dropped items.
        events: BoundedList[Event] = BoundedList.from_seq(None, self.events)
        events.dropped = self.dropped_events
        links: BoundedList[Link] = BoundedList.from_seq(None, self.links)
        links.dropped = self.dropped_links
        return ReadableSpan(
            self.name,
            context=self.context,
            parent=self.parent,
            resource=self.resource,
            attributes=attributes,
            events=events,
            links=links,
            kind=self.kind,
            status=self.status,
            start_time=self.start_time,
            end_time=self.end_time,
            instrumentation_scope=self.instrumentation_scope,
        )

    def to_json(self, indent: int | None = 4) -> str:
        """Return the span as JSON text, as ReadableSpan does."""
        text: str = self.readable().to_json(indent)
        return text

    def begin_rarely(
        self,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
        *,
        records_exception: bool,
        sets_status: bool,
    ) -> None:
        """Set the options of `Tracer.start_span` that flowspan's own spans do without."""
        extras = self._rare()
        extras.kind = kind
        extras.records_exception, extras.sets_status = records_exception, sets_status
        if attributes:
            self.set_attributes(attributes)
        for link in links or ():
            self.add_link(link.context, link.attributes)

    def _rare(self) -> Extras:
        if self.extras is None:
            self.extras = Extras()
        return self.extras

    def _add_link(self, link: Link) -> None:
        self._rare().add_link(link, self._tracer.limits.max_links)

    def _attributes(self) -> tuple[dict[str, Any], int]:
        """Return all attributes, within the limits, and the number of dropped ones."""
        first, last = self._own_attributes()
        limits = self._tracer.limits
        if limits.max_span_attribute_length is not None:
            first, last = (_cut(each, limits.max_span_attribute_length) for each in (first, last))
        if self.extras is None or self.extras.users is None:
            return {**first, **last}, 0
        users, dropped = dict(self.extras.users.copy()), self.extras.users.dropped
        attributes = {**first, **users, **last}
        if limits.max_span_attributes is not None:
            # flowspan's own attributes stay, whatever user code adds.
            excess = len(attributes) - limits.max_span_attributes
            others = [key for key in users if key not in first and key not in last]
            for key in others[: max(excess, 0)]:
                del attributes[key]
                dropped += 1
        return attributes, dropped

    def _own_attributes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return flowspan's own attributes from before and after those of user code."""
        return self.own or {}, {}


class FastRunSpan(FastSpan):
    """The fast span of a run. Its attributes follow from the run and its end.

    Attributes:
        flow: The record of the flow run that the run belongs to; None outside of flows.
        thread: Id and name of the thread in which the last attempt began; None before the end, and
            without an attempt.
        outcome: The type and name of the terminal state, the number of attempts begun, and their
            time together in nanoseconds; None before the end.
    """

    __slots__ = ("flow", "outcome", "thread")

    run: RunRecord

    def __init__(
        self,
        tracer: FastTracer,
        run: RunRecord,
        flow: RunRecord | None,
        trace_id: int,
        span_id: int,
        flags: int,
        trace_state: TraceState | None,
        above: FastSpan | SpanContext | None,
        start_ns: int,
    ) -> None:
        # The same as in FastSpan, without the time for a second call.
        self._tracer = tracer
        self.name = run.function_name
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.trace_state = trace_state
        self.above = above
        self.start_time = start_ns
        self.end_time = None
        self.status = UNSET
        self.extras = None
        self.own = None
        self.run = run
        self.is_used = False
        self._context = None
        self.flow = flow
        self.thread: tuple[int | None, str] | None = None
        self.outcome: tuple[int, str, int, int] | None = None

    def sampled_with(self, given: Mapping[str, Any], sampled: Mapping[str, Any] | None) -> None:
        """Record which attributes the sampler has made of the given ones."""
        if sampled != given:
            self._rare().sampled = dict(sampled or {})

    def _own_attributes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        sampled = None if self.extras is None else self.extras.sampled
        first = run_attributes(self.run, self.flow) if sampled is None else dict(sampled)
        first.update(self.own or {})
        if self.outcome is None:
            return first, {}
        state_type, state_name, attempts, ran_ns = self.outcome
        length_ns = 0 if self.end_time is None else self.end_time - self.start_time
        last = end_attributes(state_type, state_name, attempts, length_ns, ran_ns, self.thread)
        return first, last


def _bounded(
    attributes: Mapping[str, Any] | None, count: int | None, length: int | None
) -> BoundedAttributes:
    return BoundedAttributes(count, attributes, max_value_len=length)


def _cut(attributes: dict[str, Any], length: int) -> dict[str, Any]:
    """Shorten the texts to the limit of the provider, as the SDK does."""
    return dict(_bounded(attributes, None, length).copy())
