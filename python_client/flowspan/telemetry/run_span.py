"""The spans of runs.

A run is one span, from its creation to its terminal state. If it has several attempts, each attempt
is a child span as well. The span of the first attempt is created once it has failed and another one
follows, with its real times: only then is it known to be needed. Spans that user code created
during the first attempt are therefore children of the run's span.
"""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanContext, StatusCode

from flowspan.core import waits
from flowspan.core.failures import summary
from flowspan.core.states import CANCELLED, COMPLETED
from flowspan.telemetry import attributes as names
from flowspan.telemetry.pending import show_later
from flowspan.telemetry.propagation import (
    context_below,
    environ_context,
    naming_run,
    span_context,
    traceparent,
    tracestate,
)
from flowspan.telemetry.waiting import shown_waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from flowspan.clock import Timer
    from flowspan.core.definition import Definition
    from flowspan.core.events import RunRecord
    from flowspan.core.run_context import OuterRun
    from flowspan.telemetry.parameters import ShownParameters
    from flowspan.telemetry.waiting import Wait

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("flowspan.telemetry")

SCOPE_NAME = "flowspan"
"""The instrumentation scope of the spans of runs."""
_COMPLETED, _CANCELLED = COMPLETED.number, CANCELLED.number
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
        self._outer = environ_context(environ)
        self._provider = provider
        self._parameters = parameters

    def start_run(
        self,
        record: RunRecord,
        definition: Definition,
        time_ns: int,
        outer: OuterRun | None = None,
    ) -> RunSpan | None:
        """Start the span of a run; return None if the run is not traced.

        Args:
            record: The run.
            definition: Its flow or task.
            time_ns: The time of its creation, in nanoseconds since 1970 UTC.
            outer: Its parent, if that is a run of another process; else None.
        """
        try:
            return self._start_run(record, definition, time_ns, outer)
        except Exception:
            logger.debug("Could not start the span of run %s.", record.id, exc_info=True)
            return None

    @never_fails
    def end_lost(
        self, record: RunRecord, created_ns: int, state: tuple[int, str, str, int]
    ) -> None:
        """End the span of a run whose process is gone, if flowspan created the provider.

        Args:
            record: The run, with the ids of its span.
            created_ns: The time of its creation.
            state: Its terminal state: type, name, message and time.
        """
        adopt = getattr(self._tracer, "adopt", None)
        own = span_context(record.traceparent)
        if adopt is None or not own.is_valid or not own.trace_flags.sampled:
            return  # only flowspan's own provider can set a span's id
        parent = None
        if record.parent_span_id:
            parent = SpanContext(own.trace_id, int(record.parent_span_id, 16), is_remote=True)
        attributes = {**names.run_attributes(record, None), names.SYNTHETIC: True}
        span = adopt(record.function_name, own, parent, attributes, created_ns)
        kind, name, message, time_ns = state
        RunSpan(self._tracer, span, record.function_name, created_ns).end(
            kind, name, message, None, time_ns
        )

    def _start_run(
        self, record: RunRecord, definition: Definition, time_ns: int, outer: OuterRun | None
    ) -> RunSpan | None:
        context = otel_context.get_current()
        parent = trace.get_current_span(context).get_span_context()
        around = self._outer
        if around is None and outer is not None:
            around = context_below(outer)
        if not parent.is_valid and around is not None:
            context = around
            parent = trace.get_current_span(context).get_span_context()
        span = self._tracer.start_span(
            record.function_name,
            context,
            attributes=names.run_attributes(record, definition.fn),
            start_time=time_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        own = _bare_context(span)
        if not own.is_valid or own.span_id == parent.span_id:
            return None  # A provider without spans returns an invalid one, or the parent.
        _name_run(span, own, record)
        record.traceparent = traceparent(own)
        if own.trace_state:
            record.tracestate = tracestate(own)
        if parent.is_valid:
            record.parent_span_id = f"{parent.span_id:016x}"
        run = RunSpan(self._tracer, span, record.function_name, time_ns)
        if self._parameters is not None and span.is_recording():
            run.put(self._parameters.attributes_of(record))
        if record.is_flow and record.parent_run_id is None and own.trace_flags.sampled:
            run.pending = show_later(lambda: self._show_pending(run, record))
        return run

    def _show_pending(self, run: RunSpan, record: RunRecord) -> None:
        run.show_pending(record)
        flush = getattr(self._provider, "force_flush", None)
        if flush is not None:
            flush(_FLUSH_MS)


class RunSpan:
    """The spans of a run and its attempts; a `flowspan.core.span.RunSpan`."""

    __slots__ = (
        "_attempt",
        "_created_ns",
        "_current",
        "_name",
        "_span",
        "_started_ns",
        "_tracer",
        "_tries",
        "_waiting_since_ns",
        "_waits",
        "pending",
    )

    def __init__(self, tracer: Tracer, span: Span, name: str, created_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._current = span
        """The current span for user code: the run's; from the second attempt on, the attempt's."""
        self._name = name
        self._created_ns = created_ns
        self._attempt = 1
        self._tries = 0
        """Number of attempts that have begun."""
        self._started_ns: int | None = None
        """The time when the attempt began; None while none is running."""
        self._waiting_since_ns = created_ns
        """The time when the run was created, or its last attempt ended."""
        self._waits: list[tuple[str, int]] | None = None
        """What it waits for, and since when; None if no reason is known."""
        self.pending: Timer | None = None
        """The timer that shows that the run has not ended; None for runs that are not shown."""

    @never_fails
    def attempt(self, number: int, time_ns: int) -> None:
        """Record that an attempt began."""
        if self._current is not self._span:
            self._current.end(time_ns)
            self._current = self._span
        self._attempt = number
        self._started_ns = time_ns
        self._tries += 1
        if number > 1:
            self._span.add_event(names.RETRYING_EVENT, {names.ATTEMPT: number}, time_ns)
            self._current = self._start_child("attempt", time_ns, {names.ATTEMPT: number})
        if time_ns - self._waiting_since_ns >= NOTICEABLE_WAIT_NS:
            self._waited(self._waiting_since_ns, time_ns)
        self._waits = None

    @never_fails
    def waits_for(self, reason: str, time_ns: int) -> None:
        """Record that the run has waited for something since a time."""
        if self._waits is None:
            self._waits = []
        self._waits.append((reason, time_ns))

    def _waited(self, begin_ns: int, end_ns: int) -> None:
        """Show that the code of the run did not run, although the run had begun.

        Args:
            begin_ns: The time when the run was created, or its last attempt ended.
            end_ns: The time when the attempt began.
        """
        if self._tries == 1:
            waited_s = (end_ns - begin_ns) / 1e9
            self._span.add_event(names.RUNNING_EVENT, {names.WAITED: waited_s}, end_ns)
        for wait in shown_waits(begin_ns, end_ns, self._waits or ()):
            self._show_wait(wait)

    def _end_waiting(self, time_ns: int) -> None:
        """Show what the run waited for when it ended without another attempt."""
        for wait in shown_waits(self._waiting_since_ns, time_ns, self._waits or ()):
            if wait.reason:  # otherwise its result was looked up, for example
                self._show_wait(wait)

    def _show_wait(self, wait: Wait) -> None:
        attributes = {names.WAIT_REASON: wait.reason} if wait.reason else None
        self._start("waiting", wait.begin_ns, attributes).end(wait.end_ns)

    def show_pending(self, record: RunRecord) -> None:
        """Export a span of no length that shows that the run has begun.

        Args:
            record: The run.
        """
        attributes = {**names.run_attributes(record, None), names.PENDING: True}
        name = f"{self._name} started"
        self._start(name, self._created_ns, attributes).end(self._created_ns)

    @never_fails
    def attempt_failed(self, error: BaseException | None, message: str, time_ns: int) -> None:
        """Record that an attempt failed, and that another one follows."""
        if self._started_ns is None:
            return
        span = self._current
        if span is self._span:
            attributes = {names.ATTEMPT: self._attempt}
            span = self._start_child("attempt", self._started_ns, attributes)
        _set_error(span, "Failed", message, error, time_ns)
        span.end(time_ns)
        self._current = self._span
        self._started_ns = None
        self._waiting_since_ns = time_ns

    @never_fails
    def link(self, traceparent: str, run_id: str, input_name: str, count: int = 0) -> None:
        """Link the span of a run whose result this run takes as an input."""
        if traceparent:
            put = getattr(self._span, "put_link", self._span.add_link)
            attributes = {names.INPUT_NAME: input_name, names.RUN_ID: run_id}
            put(
                span_context(traceparent),
                {**attributes, names.INPUT_COUNT: count} if count else attributes,
            )

    @never_fails
    def named(self, name: str) -> None:
        """Record the name of the run."""
        self.put({names.RUN_NAME: name})

    @never_fails
    def mapped(self, index: int) -> None:
        """Record the index of the run in a mapped call."""
        self.put({names.MAP_INDEX: index})

    @never_fails
    def awaiting_retry(self, delay_s: float, time_ns: int) -> None:
        """Record the wait before the next attempt."""
        self._span.add_event(
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
        self._current.add_event(names.ARTIFACT_EVENT, said, time_ns)

    def enter(self) -> Token[Context] | None:
        """Make the span the current one."""
        return otel_context.attach(trace.set_span_in_context(self._current))

    def leave(self, token: Any) -> None:
        """Restore the previous current span."""
        otel_context.detach(token)

    def current_ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the current span, for logs."""
        current = trace.get_current_span()
        own = _bare_context(self._current)
        here = own if current is self._current else current.get_span_context()
        # A thread started by user code may have no current span, or one of another trace.
        context = here if here.trace_id == own.trace_id else own
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def own_ids(self) -> tuple[str, str]:
        """Return the ids of the trace and of the attempt's span."""
        context = _bare_context(self._current)
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    @never_fails
    def end(
        self,
        state_type: int,
        state_name: str,
        message: str,
        error: BaseException | None,
        time_ns: int,
    ) -> None:
        """Record the terminal state, and end the spans."""
        if self.pending is not None:
            self.pending.cancel()
        if self._waits is not None and self._started_ns is None:
            self._end_waiting(time_ns)
        spans = (self._span,) if self._current is self._span else (self._current, self._span)
        self.put(
            {
                names.STATE_TYPE: names.STATE_TYPE_NAMES[state_type],
                names.STATE_NAME: state_name,
                names.ATTEMPTS: self._tries,
            }
        )
        if state_type == _COMPLETED and state_name in names.NAMED_COMPLETIONS:
            _add_named_event(self._span, state_name, message, time_ns)
        if state_type == _CANCELLED:
            self._span.set_attribute(names.CANCELLED, value=True)
        for span in spans:
            if state_type != _COMPLETED and state_type != _CANCELLED:
                _set_error(span, state_name, message, error, time_ns)
            span.end(time_ns)
        self._current = self._span

    @never_fails
    def rolled_back(self, message: str, time_ns: int) -> None:
        """Record the rollback of the run, in a child span."""
        # The run's span has ended, so nothing can be added to it.
        span = self._start_child("rollback", time_ns, {names.STATE_NAME: "RolledBack"})
        _add_named_event(span, "RolledBack", message, time_ns)
        span.end(time_ns)

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of flowspan's own on the span of the run."""
        # A fast span takes flowspan's own attributes without a check.
        getattr(self._span, "put", self._span.set_attributes)(attributes)

    def _start_child(self, what: str, start_ns: int, attributes: dict[str, Any]) -> Span:
        return self._start(f"{self._name} {what}", start_ns, attributes)

    def _start(self, name: str, start_ns: int, attributes: dict[str, Any] | None) -> Span:
        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(self._span, otel_context.Context()),
            attributes=attributes,
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        run = getattr(self._span, "run", None)
        if run is not None and hasattr(span, "run"):
            span.run = run
        return span


def _bare_context(span: Any) -> SpanContext:
    """Return the context of a span; of a fast span, without the run context, which costs time."""
    context: SpanContext = span.context if hasattr(span, "run") else span.get_span_context()
    return context


def _name_run(span: Span, own: SpanContext, record: RunRecord) -> None:
    """Put the run context into the tracestate of a run's span."""
    if hasattr(span, "run"):
        span.run = record  # a fast span does so on demand
        return
    # The API has no way to choose the tracestate of a new span. The attribute is private, but all
    # spans of the SDK and the API have it. Spans of others stay without the run context.
    if getattr(span, "_context", None) is own:
        span._context = naming_run(own, record)  # type: ignore[attr-defined] # noqa: SLF001 - above


def _add_named_event(span: Span, state_name: str, message: str, time_ns: int) -> None:
    attributes = {names.STATE_MESSAGE: message} if message else None
    span.add_event(names.NAMED_COMPLETIONS[state_name], attributes, time_ns)


def _set_error(
    span: Span, state_name: str, message: str, error: BaseException | None, time_ns: int
) -> None:
    if not span.is_recording():
        return
    if error is None:
        span.set_attribute(names.ERROR_TYPE, state_name)
        span.set_status(StatusCode.ERROR, message or state_name)
        return
    exception = names.exception_attributes(error)
    span.add_event(names.EXCEPTION_EVENT, exception, time_ns)
    span.set_attribute(names.ERROR_TYPE, exception["exception.type"])
    span.set_status(StatusCode.ERROR, message or summary(error))
