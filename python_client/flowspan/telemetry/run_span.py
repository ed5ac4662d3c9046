"""The spans of runs.

A run is one span, from its creation to its terminal state. If it has several attempts, each attempt
is a child span as well. A run that may be retried gets the span of its first attempt before it is
known whether another one follows. If none does, a fast span of an attempt is exported only if
something refers to it. If a run is retried against its definition, the span of the first attempt is
created once that has failed, with its real times.
"""

from __future__ import annotations

import logging
from functools import wraps
from threading import current_thread
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from flowspan.core import waits
from flowspan.core.states import CANCELLED, COMPLETED
from flowspan.core.trace_ids import attempt_span_id
from flowspan.telemetry import attributes as names
from flowspan.telemetry.fast_span import FastRunSpan, FastSpan
from flowspan.telemetry.fast_tracer import SPAN_KEY, FastTracer, adopting_tracer
from flowspan.telemetry.own_data import add_named_event, put, put_event, restore, set_error
from flowspan.telemetry.pending import show_later
from flowspan.telemetry.propagation import (
    context_below,
    environ_context,
    naming_run,
    span_context,
    tracestate,
)
from flowspan.telemetry.waiting import shown_waits
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from threading import Thread

    from opentelemetry.trace import Span, Tracer, TracerProvider

    from flowspan.clock import Timer
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.run_context import OuterRun
    from flowspan.core.run_course import RunCourse
    from flowspan.telemetry.parameters import ShownParameters

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("flowspan.telemetry")

SCOPE_NAME = "flowspan"
"""The instrumentation scope of the spans of runs."""
_COMPLETED, _CANCELLED = COMPLETED.number, CANCELLED.number
_SAMPLED = 1
_MOMENT_NS = 1
"""The length of a span that marks a moment: Jaeger warns of spans without a length."""
_FLUSH_MS = 5_000
NOTICEABLE_WAIT_NS = 1_000_000
"""Minimum wait before the first attempt for which a run gets an event."""


def never_fails(method: Callable[P, None]) -> Callable[P, None]:
    """Suppress and log the exceptions of a method: a tracing failure must not fail the run."""

    @wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            logger.debug("Tracing failed in %s.", method.__qualname__, exc_info=True)

    return wrapper


class SpanTracer:
    """A `flowspan.core.span.Tracer` that creates the spans of runs.

    Args:
        tracer: The OpenTelemetry tracer that creates them.
        environ: The environment of the process; its TRACEPARENT is the parent of top-level runs.
        provider: The provider of the tracer, to send the spans of running flows at once; None waits
            until its processor sends them.
        parameters: The rules for parameters as attributes; None for no parameters.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        environ: Mapping[str, str],
        provider: TracerProvider | None = None,
        parameters: ShownParameters | None = None,
    ) -> None:
        self._tracer = tracer
        self._fast = tracer if isinstance(tracer, FastTracer) else None
        self._outer = environ_context(environ)
        self._provider = provider
        self._parameters = parameters

    def start_run(
        self,
        record: RunRecord,
        definition: Definition,
        time_ns: int,
        outer: OuterRun | None = None,
        flow: RunRecord | None = None,
    ) -> RunSpan | None:
        """Start the span of a run; return None if the run is not traced.

        Args:
            record: The run.
            definition: Its flow or task.
            time_ns: The time of its creation, in nanoseconds since 1970 UTC.
            outer: Its parent, if that is a run of another process; else None.
            flow: The flow run that it belongs to, itself for a flow run; None outside of flows.
        """
        try:
            run = self._start_run(record, time_ns, outer, flow)
            if run is not None and (record.is_flow or self._parameters is not None):
                self._add_to(run, record)
            return run
        except Exception:
            logger.debug("Could not start the span of run %s.", record.id, exc_info=True)
            return None

    def _add_to(self, run: RunSpan, record: RunRecord) -> None:
        """Add to a run's span what most runs do not have: parameters, and a sign of life."""
        if self._parameters is not None and run.is_recording:
            run.put(self._parameters.attributes_of(record))
        if record.is_flow and record.parent_run_id is None and run.is_sampled:
            run.pending = show_later(lambda: self._show_pending(run))

    def _show_pending(self, run: RunSpan) -> None:
        run.show_pending()
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush(_FLUSH_MS)

    @never_fails
    def end_lost(
        self,
        record: RunRecord,
        flow: RunRecord | None,
        created_ns: int,
        course: RunCourse,
        state: tuple[int, str, str, int],
    ) -> None:
        """End the span of a run whose process is gone.

        Args:
            record: The run, with the ids of its span.
            flow: The flow run that it belongs to; None if it is unknown.
            created_ns: The time of its creation.
            course: Its attempts.
            state: Its terminal state: type, name, message and time.
        """
        own = span_context(record.traceparent)
        if not own.is_valid or not own.trace_flags.sampled:
            return
        tracer = self._fast or adopting_tracer(
            self._provider, InstrumentationScope(SCOPE_NAME, __version__)
        )
        if tracer is None:
            return  # only spans of the SDK can be given an id
        parent = None
        if record.parent_span:
            parent = SpanContext(own.trace_id, record.parent_span, is_remote=True)
        span = tracer.adopt(record, flow, own, parent, created_ns)
        span.put({names.SYNTHETIC: True})
        kind, name, message, time_ns = state
        RunSpan(tracer, span, record, created_ns, course=course).end(
            kind, name, message, None, time_ns
        )

    def _start_run(
        self, record: RunRecord, time_ns: int, outer: OuterRun | None, flow: RunRecord | None
    ) -> RunSpan | None:
        context = otel_context.get_current()
        above: Any = context.get(SPAN_KEY)
        if type(above) is not FastRunSpan:
            context, above = self._parent(context, outer)
        if self._fast is None:
            return self._start_foreign(record, time_ns, flow, context, above)
        span = self._fast.start_run(record, flow, time_ns, context, above)
        record.trace_ids = span.trace_id, span.span_id, span.flags
        if span.above is not None:
            record.parent_span = span.above.span_id
        if span.trace_state is not None:
            record.tracestate = tracestate(span.context)
        return RunSpan(self._tracer, span, record, time_ns)

    def _parent(self, context: Context, outer: OuterRun | None) -> tuple[Context, Span]:
        """Return the context that decides the parent of a run, and its current span."""
        above = trace.get_current_span(context)
        around = self._outer
        if around is None and outer is not None:
            around = context_below(outer)
        if around is None or above.get_span_context().is_valid:
            return context, above
        return around, trace.get_current_span(around)

    def _start_foreign(
        self,
        record: RunRecord,
        time_ns: int,
        flow: RunRecord | None,
        context: Context,
        above: Span,
    ) -> RunSpan | None:
        """Start the span of a run with the tracer of a provider that the program installed."""
        span = self._tracer.start_span(
            record.function_name,
            context,
            attributes=names.run_attributes(record, flow),
            start_time=time_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        own, parent = span.get_span_context(), above.get_span_context()
        if not own.is_valid or own.span_id == parent.span_id:
            return None  # A provider without spans returns an invalid one, or the parent.
        # The API has no way to choose the tracestate of a new span. The attribute is private, but
        # all spans of the SDK and the API have it. Spans of others stay without the run context.
        if getattr(span, "_context", None) is own:
            span._context = naming_run(own, record)  # type: ignore[attr-defined] # noqa: SLF001 - above
        record.trace_ids = own.trace_id, own.span_id, own.trace_flags & 0xFF
        if own.trace_state:
            record.tracestate = tracestate(own)
        if parent.is_valid:
            record.parent_span = parent.span_id
        return RunSpan(self._tracer, span, record, time_ns, flow)


class RunSpan:
    """The spans of a run and its attempts; a `flowspan.core.span.RunSpan`."""

    __slots__ = (
        "_attempt",
        "_created_ns",
        "_current",
        "_flow",
        "_idle_ns",
        "_ran_ns",
        "_record",
        "_span",
        "_started_ns",
        "_thread",
        "_tracer",
        "_tries",
        "_waits",
        "pending",
    )

    def __init__(
        self,
        tracer: Tracer,
        span: Span,
        record: RunRecord,
        created_ns: int,
        flow: RunRecord | None = None,
        course: RunCourse | None = None,
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._current = span
        """The current span for user code: the run's, or the attempt's."""
        self._record = record
        self._flow = flow
        self._created_ns = self._idle_ns = created_ns
        self._attempt = 1
        self._tries = 0
        """Number of attempts that have begun."""
        self._started_ns: int | None = None
        """The time when the attempt began; None while none is running. Before it, the run waited
        since `_idle_ns`."""
        self._ran_ns = 0
        """The time of the ended attempts."""
        self._thread: Thread | None = None
        if course is not None:
            self._tries, self._ran_ns = course.attempts, course.ran_ns
        self._waits: list[tuple[str, int]] | None = None
        """What it waits for, and since when; None if no reason is known."""
        self.pending: Timer | None = None
        """The timer that shows that the run has not ended; None for runs that are not shown."""

    @property
    def is_recording(self) -> bool:
        """True if the span takes attributes."""
        return self._span.is_recording()

    @property
    def is_sampled(self) -> bool:
        """True if the span will be exported."""
        ids = self._record.trace_ids
        return ids is not None and bool(ids[2] & _SAMPLED)

    def attempt(self, number: int, time_ns: int) -> None:
        """Record that an attempt began."""
        try:
            if self._started_ns is not None:
                self._stop(time_ns)
            self._attempt = number
            self._tries += 1
            self._started_ns = time_ns
            self._thread = current_thread()
            if time_ns - self._idle_ns >= NOTICEABLE_WAIT_NS:
                self._waited(self._idle_ns, time_ns)
            details = self._record.details
            if number > 1 or (details is not None and details.max_attempts > 1):
                self._begin_attempt(number, time_ns)
        except Exception:
            logger.debug("Could not trace attempt %d.", number, exc_info=True)

    def _waited(self, begin_ns: int, end_ns: int) -> None:
        """Record a noticeable wait before an attempt."""
        if self._attempt == 1:
            waited = {names.WAITED: (end_ns - begin_ns) / 1e9}
            put_event(self._span, names.RUNNING_EVENT, waited, end_ns)
        if self._waits is not None:
            self._show_waits(begin_ns, end_ns)
            self._waits = None

    def _show_waits(self, begin_ns: int, end_ns: int) -> None:
        """Show what the run waited for between two times."""
        for wait in shown_waits(begin_ns, end_ns, self._waits or ()):
            reason = {names.WAIT_REASON: wait.reason}
            self._start_own("waiting", wait.begin_ns, reason).end(wait.end_ns)

    @never_fails
    def waits_for(self, reason: str, time_ns: int) -> None:
        """Record that the run has waited for something since a time."""
        if self._waits is None:
            self._waits = []
        self._waits.append((reason, time_ns))

    def show_pending(self) -> None:
        """Export a span that shows that the run has begun."""
        record = self._record
        flow = record if record.is_flow else self._flow
        attributes = {**names.run_attributes(record, flow), names.PENDING: True}
        self._start_child("started", self._created_ns, attributes).end(
            self._created_ns + _MOMENT_NS
        )

    def _begin_attempt(self, number: int, time_ns: int) -> None:
        if self._current is not self._span:
            restore(self._current, {names.ATTEMPT: number - 1})
            self._current.end(time_ns)
        if number > 1:
            put_event(self._span, names.RETRYING_EVENT, {names.ATTEMPT: number}, time_ns)
        self._current = self._start_attempt(number, time_ns)

    def _stop(self, time_ns: int) -> None:
        """Count the time of the attempt, which ends."""
        if self._started_ns is not None:
            self._ran_ns += max(time_ns - self._started_ns, 0)
        self._started_ns, self._idle_ns = None, time_ns

    @never_fails
    def attempt_failed(self, error: BaseException | None, message: str, time_ns: int) -> None:
        """Record that an attempt failed, and that another one follows."""
        if self._started_ns is None:
            return
        span = self._current
        if span is self._span:
            span = self._start_attempt(self._attempt, self._started_ns)
        self._stop(time_ns)
        self._current = self._span
        event = self._exception_event(span, error, time_ns, is_handled=True)
        restore(span, {names.ATTEMPT: self._attempt})
        set_error(span, "Failed", message, error, event, time_ns)
        span.end(time_ns)

    @never_fails
    def link(self, traceparent: str, run_id: str, input_name: str, count: int = 0) -> None:
        """Link the span of a run whose result this run takes as an input."""
        if traceparent:
            put = getattr(self._span, "put_link", self._span.add_link)
            attributes: dict[str, Any] = {names.INPUT_NAME: input_name, names.RUN_ID: run_id}
            if count:
                attributes[names.INPUT_COUNT] = count
            put(span_context(traceparent), attributes)

    @never_fails
    def named(self, name: str) -> None:
        """Record the name of the run."""
        if type(self._span) is not FastRunSpan:  # which has the record
            self._span.set_attribute(names.RUN_NAME, name)

    @never_fails
    def mapped(self, index: int) -> None:
        """Record the index of the run in a mapped call."""
        put(self._span, {names.MAP_INDEX: index})

    @never_fails
    def awaiting_retry(self, delay_s: float, time_ns: int) -> None:
        """Record the wait before the next attempt."""
        put_event(
            self._span,
            names.AWAITING_RETRY_EVENT,
            {names.DELAY: delay_s, names.ATTEMPT: self._attempt + 1},
            time_ns,
        )
        self.waits_for(waits.RETRY, time_ns)

    @never_fails
    def made_artifact(self, artifact_id: str, kind: str, key: str, time_ns: int) -> None:
        """Record that the run created an artifact."""
        said = {names.ARTIFACT_ID: artifact_id, names.ARTIFACT_TYPE: kind}
        if key:
            said[names.ARTIFACT_KEY] = key
        put_event(self._current, names.ARTIFACT_EVENT, said, time_ns)

    def enter(self) -> Token[Context]:
        """Make the span the current one."""
        # As `attach(set_span_in_context(…))`, with one copy of the context instead of two.
        context = Context(otel_context.get_current())
        dict.__setitem__(context, SPAN_KEY, self._current)
        return otel_context.attach(context)

    def leave(self, token: Any) -> None:
        """Restore the previous current span."""
        otel_context.detach(token)

    def current_ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the current span, for logs."""
        current = trace.get_current_span()
        own = _bare_context(self._referable())
        here = own if current is self._current else current.get_span_context()
        # A thread started by user code may have no current span, or one of another trace.
        context = here if here.trace_id == own.trace_id else own
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def own_ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the attempt's span."""
        context = _bare_context(self._referable())
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def _referable(self) -> Span:
        """Return the current span; the run's if the attempt's will perhaps not be exported."""
        return self._span if self._attempt == 1 and _is_unused(self._current) else self._current

    def end(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        """Record the terminal state, and end the spans."""
        try:
            if self._started_ns is not None:
                self._stop(time_ns)
            elif self._waits is not None:
                self._show_waits(self._idle_ns, time_ns)  # and then ended without an attempt
            if self.pending is not None:
                self.pending.cancel()
            span, thread = self._span, self._thread
            # The span does not keep the thread alive, which may hold values of user code.
            facts = None if thread is None else (thread.ident, thread.name)
            self._thread = None
            if type(span) is FastRunSpan:
                span.outcome = state_type, state_name, self._tries, self._ran_ns
                span.thread = facts
            elif span.is_recording():
                self._put_outcome(state_type, state_name, facts, time_ns)
            if (
                state_type == _COMPLETED
                and self._current is span
                and state_name not in names.NAMED_COMPLETIONS
            ):
                span.end(time_ns)
            else:
                self._end_specially(state_type, state_name, message, error, time_ns)
        except Exception:
            logger.debug("Could not end the span of run %s.", self._record.id, exc_info=True)

    def _put_outcome(
        self,
        state_type: int,
        state_name: str,
        thread: tuple[int | None, str] | None,
        time_ns: int,
    ) -> None:
        """Set the attributes that are known at the end on a span of the SDK."""
        length_ns = time_ns - self._created_ns
        attributes = names.end_attributes(
            state_type, state_name, self._tries, length_ns, self._ran_ns, thread
        )
        if names.RUN_ID not in (getattr(self._span, "attributes", None) or ()):
            # User code has evicted them: it has set more attributes than the limit.
            attributes = names.run_attributes(self._record, self._flow) | attributes
        self._span.set_attributes(attributes)

    def _end_specially(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        span, current = self._span, self._current
        self._current = span
        spans = (span,) if current is span else (current, span)
        if current is not span and self._tries == 1 and _is_unused(current):
            span.absorb(current)  # type: ignore[attr-defined] # both are fast spans
            spans = (span,)
        if spans[0] is not span:
            restore(current, {names.ATTEMPT: self._attempt})
        if state_type == _COMPLETED and state_name in names.NAMED_COMPLETIONS:
            add_named_event(span, state_name, message, time_ns)
        if state_type == _CANCELLED:
            put(span, {names.CANCELLED: True})
        is_failed = state_type != _COMPLETED and state_type != _CANCELLED
        event = self._exception_event(spans[0], error, time_ns) if is_failed else None
        for each in spans:
            if is_failed:
                set_error(each, state_name, message, error, event, time_ns)
            each.end(time_ns)

    def _exception_event(
        self, span: Span, error: BaseException | None, time_ns: int, *, is_handled: bool = False
    ) -> dict[str, Any] | None:
        """Return the attributes of the event of an exception; None if there is no such event.

        That is if there is no exception, or if a log record replaces the event.
        """
        if error is None or not span.is_recording():
            return None
        from flowspan.telemetry.exception_signal import emit_exception  # noqa: PLC0415 - rare

        event = names.exception_attributes(error)
        record, flow = self._record, getattr(self._span, "flow", None) or self._flow
        run = {**names.naming_attributes(record, flow), names.ATTEMPT: self._attempt}
        is_replaced = emit_exception(
            _bare_context(span), run | event, time_ns, is_handled=is_handled
        )
        return None if is_replaced else event

    @never_fails
    def rolled_back(self, message: str, time_ns: int) -> None:
        """Record the rollback of the run, in a child span."""
        # The run's span has ended, so nothing can be added to it.
        span = self._start_child("rollback", time_ns, {names.STATE_NAME: "RolledBack"})
        add_named_event(span, "RolledBack", message, time_ns)
        span.end(time_ns + _MOMENT_NS)

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of flowspan's own on the span of the run."""
        put(self._span, attributes)

    def _start_attempt(self, number: int, start_ns: int) -> Span:
        span_id = attempt_span_id(self._record.id, number)
        return self._start_child("attempt", start_ns, {names.ATTEMPT: number}, span_id)

    def _start_child(
        self, what: str, start_ns: int, attributes: dict[str, Any], span_id: int | None = None
    ) -> Span:
        name = f"{self._record.function_name} {what}"
        return self._start_own(name, start_ns, attributes, span_id)

    def _start_own(
        self, name: str, start_ns: int, attributes: dict[str, Any], span_id: int | None = None
    ) -> Span:
        context = trace.set_span_in_context(self._span, otel_context.Context())
        if isinstance(self._tracer, FastTracer):
            child = self._tracer.start_own(name, context, attributes, start_ns, span_id)
            child.run = self._record
            return child
        return self._tracer.start_span(
            name,
            context,
            attributes=attributes,
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )


def _is_unused(span: Any) -> bool:
    """Return True for a fast span to which nothing refers."""
    return type(span) is FastSpan and not span.is_used


def _bare_context(span: Any) -> SpanContext:
    """Return the context of a span; of a fast span, without the run context, which costs time."""
    context: SpanContext = span.context if isinstance(span, FastSpan) else span.get_span_context()
    return context
