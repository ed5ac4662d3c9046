"""The spans of a run, built from the stored run and its history.

The ids of the spans follow from the run, so they fit into the trace of its client. A span that is
built twice is the same. Names, attributes, events and statuses are those of the spans that the
Python client makes (flowspan.telemetry.run_span).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.domain.traces import WAITING_NUMBERS, attempt_span_id
from flowspan_service.loops.span_courses import is_lost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from opentelemetry.sdk.resources import Resource

    from flowspan_service.domain.runs import Run, TraceContext
    from flowspan_service.domain.span_facts import ErrorFacts, InputFacts, SpanDecoder
    from flowspan_service.domain.states import State
    from flowspan_service.loops.span_courses import Attempt, Course

    Attributes: TypeAlias = dict[str, str | int | float | bool | tuple[str, ...]]

SCOPE = InstrumentationScope("flowspan-service")

CRASHED_ERROR = "flowspan.crashed"
"""The value of error.type in the span of a run whose process died."""
DECLARED_CRASHED = "flowspan.declared_crashed"
"""The event at the time at which a silent process was declared dead: after the end of the span."""
WAITING = "waiting"
"""The name of the span of a wait."""
CAUSE_DEPTH = "flowspan.cause.depth"
"""The attribute of the exception events of causes: 1 for the cause of the error itself."""
MAX_MESSAGE_CHARS = 4_096
MAX_CAUSE_CHARS = 64_000
"""The size of the causes that a span shows: receivers refuse requests above 4 MiB."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NOTICEABLE_WAIT_US = 1_000
"""The shortest wait before the start that is an event."""
_NOTABLE_WAIT_US = 10_000
"""The shortest wait that is a span."""
_LAST_NS = (1 << 63) - 1
_FAILED = "Failed"
_NAMED_COMPLETIONS = {"Cached": "flowspan.cached", "RolledBack": "flowspan.rolled_back"}
_ROLLBACK_NUMBER = 0
"""The number from which the span id of a rollback is derived, as if it was an attempt."""


def spans_of(
    run: Run,
    course: Course,
    resource: Resource,
    *,
    decoder: SpanDecoder,
    links: Sequence[Link] = (),
    flow_name: str = "",
) -> list[ReadableSpan]:
    """Return the spans of a run that has ended: its own, and those of its attempts and waits.

    The attempts and waits of a run whose client has an SDK are left out: the client made their
    spans itself.

    Args:
        run: The run, with its trace context.
        course: Its course.
        resource: The resource of the spans.
        decoder: Decodes the facts that spans show.
        links: The links to the runs whose results the run took.
        flow_name: The name of the flow that the run belongs to; empty if unknown.

    Returns:
        The spans, the run's first; none if the run is not sampled or its ids are invalid.
    """
    context = _context_of(run.trace)
    if context is None or not context.trace_flags.sampled:
        return []
    return _Maker(run, course, resource, context, decoder, links, flow_name).spans()


class _Maker:
    """Builds the spans of one run."""

    def __init__(
        self,
        run: Run,
        course: Course,
        resource: Resource,
        context: SpanContext,
        decoder: SpanDecoder,
        links: Sequence[Link],
        flow_name: str,
    ) -> None:
        self._run = run
        self._resource = resource
        self._context = context
        self._course = course
        self._decoder = decoder
        self._links = links
        self._flow_name = flow_name

    def spans(self) -> list[ReadableSpan]:
        """Return the span of the run and those of its attempts."""
        run, course = self._run, self._course
        made = [self._span_of_run()]
        trace = run.trace
        if trace is None or not trace.exported_by_service:
            return made
        made += self._spans_of_waits()
        if course.was_retried:
            made += map(self._span_of_attempt, course.attempts)
        if course.rollback is not None:
            made.append(self._span_of_rollback(course.rollback))
        return made

    def _span_of_run(self) -> ReadableSpan:
        run, course = self._run, self._course
        attributes = _attributes_of(run, course)
        if self._flow_name:
            attributes["flowspan.flow.name"] = self._flow_name
        attributes.update(_durations(course, run.created_us, self._ended_us))
        attributes.update(self._code_attributes())
        events, status = _events_of(run, course), Status(StatusCode.UNSET)
        if _is_error(course.end):
            status = self._add_error(
                course.end, course.end.name, attributes, events, self._ended_us
            )
        if course.declared_us is not None:
            events.append(Event(DECLARED_CRASHED, None, _nanoseconds(course.declared_us)))
        return self._span(
            run.function_name,
            self._context,
            _parent_of(run, self._context),
            (attributes, events, status),
            (run.created_us, self._ended_us),
            self._links,
        )

    def _code_attributes(self) -> Attributes:
        details = self._run.details
        if details is None or details.definition is None:
            return {}
        code = self._decoder.code(details.definition.data)
        attributes: Attributes = {
            "code.function.name": code.function,
            "code.file.path": code.file_path,
            "code.line.number": code.line,
        }
        return {name: value for name, value in attributes.items() if value}

    @property
    def _ended_us(self) -> int:
        return max(self._course.ended_us, self._run.created_us)

    def _spans_of_waits(self) -> Iterator[ReadableSpan]:
        for pause in self._course.pauses(self._run.created_us):
            if pause.ended_us - pause.began_us < _NOTABLE_WAIT_US:
                continue
            attributes: Attributes = {"flowspan.wait.reason": pause.reason} if pause.reason else {}
            content = (attributes, list[Event](), Status(StatusCode.UNSET))
            number = WAITING_NUMBERS + pause.attempt
            yield self._child(WAITING, number, content, (pause.began_us, pause.ended_us))

    def _span_of_attempt(self, attempt: Attempt) -> ReadableSpan:
        attributes: Attributes = {"flowspan.attempt": attempt.number}
        events: list[Event] = []
        status = Status(StatusCode.UNSET)
        end = self._course.end
        ended_us = self._ended_us if attempt.ended_us is None else attempt.ended_us
        if attempt.failed is not None:
            status = self._add_error(attempt.failed, _FAILED, attributes, events, ended_us)
        elif attempt.ended_us is None and _is_error(end):
            status = self._add_error(end, end.name, attributes, events, ended_us)
        times = (attempt.started_us, ended_us)
        name = f"{self._run.function_name} attempt"
        return self._child(name, attempt.number, (attributes, events, status), times)

    def _span_of_rollback(self, state: State) -> ReadableSpan:
        attributes: Attributes = {"flowspan.state.name": state.name}
        events = [_named_event(state, state.time_us)]
        content = (attributes, events, Status(StatusCode.UNSET))
        name = f"{self._run.function_name} rollback"
        return self._child(name, _ROLLBACK_NUMBER, content, (state.time_us, state.time_us))

    def _child(
        self,
        name: str,
        number: int,
        content: tuple[Attributes, list[Event], Status],
        times_us: tuple[int, int],
    ) -> ReadableSpan:
        own = self._context
        context = SpanContext(
            own.trace_id,
            int(attempt_span_id(self._run.id, number), 16),
            is_remote=False,
            trace_flags=own.trace_flags,
            trace_state=own.trace_state,
        )
        return self._span(name, context, own, content, times_us)

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        content: tuple[Attributes, list[Event], Status],
        times_us: tuple[int, int],
        links: Sequence[Link] = (),
    ) -> ReadableSpan:
        attributes, events, status = content
        start_ns, end_ns = map(_nanoseconds, times_us)
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=tuple(events),
            links=tuple(links),
            status=status,
            start_time=start_ns,
            end_time=max(start_ns, end_ns),
            instrumentation_scope=SCOPE,
        )

    def _add_error(
        self,
        state: State,
        name: str,
        attributes: Attributes,
        events: list[Event],
        at_us: int,
    ) -> Status:
        """Add the error of a state; return the status of the span.

        Args:
            state: The state.
            name: The type of the error if the state has no failure.
            attributes: The attributes of the span, to add to.
            events: Its events, to add to.
            at_us: The time of the error.
        """
        errors = self._decoder.errors(state.failure) if state.failure is not None else ()
        events += _exception_events(errors, at_us)
        if is_lost(self._course) and state is self._course.end:
            error_type = CRASHED_ERROR
        else:
            error_type = errors[0].type if errors else name
        attributes["error.type"] = error_type
        description = state.message or (_summary(errors[0]) if errors else name)
        return Status(StatusCode.ERROR, description[:MAX_MESSAGE_CHARS])


def _nanoseconds(at_us: int) -> int:
    """Return the time, capped at the largest that OTLP can carry: years can be up to 9999."""
    return min(at_us * 1000, _LAST_NS)


def link_to(taken: InputFacts, trace: TraceContext | None, *, count: int = 1) -> Link | None:
    """Return the link to a run whose result was taken; None if that run has no span.

    Args:
        taken: The run, and the parameter that takes its result.
        trace: Its trace context.
        count: The number of runs under that parameter, if the link stands for all of them.
    """
    context = _context_of(trace)
    if context is None:
        return None
    about: Attributes = {"flowspan.input.name": taken.parameter, "flowspan.run.id": taken.run_id}
    if count > 1:
        about["flowspan.input.count"] = count
    return Link(context, about)


def flow_run_of(run: Run) -> str:
    """Return the flow run that a run belongs to: itself if it is one; empty outside of a flow."""
    return run.id if run.kind == RunKind.FLOW else run.flow_run_id or ""


def _durations(course: Course, created_us: int, ended_us: int) -> Attributes:
    """Return the time in which the code ran, and the rest of the span."""
    length_us = ended_us - created_us
    run_us = min(course.run_us(), length_us)
    return {"flowspan.queued_s": (length_us - run_us) / 1e6, "flowspan.run_s": run_us / 1e6}


def _context_of(trace: TraceContext | None) -> SpanContext | None:
    if trace is None:
        return None
    match = _TRACEPARENT.fullmatch(trace.traceparent)
    if match is None:
        return None
    context = SpanContext(
        int(match[1], 16),
        int(match[2], 16),
        is_remote=False,
        trace_flags=TraceFlags(int(match[3], 16)),
        trace_state=_state_of(trace.tracestate),
    )
    return context if context.is_valid else None


def _state_of(text: str) -> TraceState:
    return TraceState.from_header([text]) if text else TraceState()


def _parent_of(run: Run, own: SpanContext) -> SpanContext | None:
    text = run.trace.parent_span_id if run.trace is not None else ""
    if not text:
        return None
    parent_id = int(text, 16)
    if not parent_id:
        return None
    return SpanContext(own.trace_id, parent_id, is_remote=True, trace_flags=own.trace_flags)


def _attributes_of(run: Run, course: Course) -> Attributes:
    """Return the attributes of the client's own span that the service knows, but for the error."""
    state = course.end
    attributes: Attributes = {
        "flowspan.run.id": run.id,
        "flowspan.root_run.id": run.root_run_id,
        "flowspan.run.kind": "flow" if run.kind == RunKind.FLOW else "task",
        "flowspan.attempts": course.attempt_count,
        "flowspan.state.type": StateType(state.type).name,
        "flowspan.state.name": state.name,
    }
    flow_run_id = flow_run_of(run)
    if flow_run_id:
        attributes["flowspan.flow_run.id"] = flow_run_id
    if run.run_name:
        attributes["flowspan.run.name"] = run.run_name
    if run.tags:
        attributes["flowspan.tags"] = run.tags
    if state.type == StateType.CANCELLED:
        attributes["flowspan.cancelled"] = True
    if is_lost(course):
        attributes["flowspan.span.synthetic"] = True
    return attributes


def _events_of(run: Run, course: Course) -> list[Event]:
    """Return the events of a run's span, by time, but for the error."""
    events = []
    started_us = run.started_us
    if started_us is not None and started_us - run.created_us >= _NOTICEABLE_WAIT_US:
        waited = {"flowspan.waited_s": (started_us - run.created_us) / 1e6}
        events.append(Event("flowspan.running", waited, _nanoseconds(started_us)))
    for wait in course.waits:
        about = {"flowspan.delay_s": wait.delay_us / 1e6, "flowspan.attempt": wait.attempt}
        events.append(Event("flowspan.awaiting_retry", about, _nanoseconds(wait.began_us)))
    for attempt in course.attempts:
        if attempt.number > 1:
            number = {"flowspan.attempt": attempt.number}
            events.append(Event("flowspan.retrying", number, _nanoseconds(attempt.started_us)))
    events.sort(key=lambda event: event.timestamp)
    state = course.end
    if state.type == StateType.COMPLETED and state.name in _NAMED_COMPLETIONS:
        events.append(_named_event(state, course.ended_us))
    return events


def _named_event(state: State, at_us: int) -> Event:
    about = {"flowspan.state.message": state.message} if state.message else None
    return Event(_NAMED_COMPLETIONS[state.name], about, _nanoseconds(at_us))


def _exception_events(errors: Sequence[ErrorFacts], at_us: int) -> list[Event]:
    """Return an event for an error, and for each of its causes as long as there is room."""
    events, size = [], 0
    for depth, error in enumerate(errors):
        size += len(error.type) + len(error.message) + len(error.stack_trace)
        if depth and size > MAX_CAUSE_CHARS:
            break
        about: Attributes = {"exception.type": error.type, "exception.message": error.message}
        if error.stack_trace:
            about["exception.stacktrace"] = error.stack_trace
        if depth:
            about[CAUSE_DEPTH] = depth
        events.append(Event("exception", about, _nanoseconds(at_us)))
    return events


def _summary(error: ErrorFacts) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type


def _is_error(state: State) -> bool:
    return state.type in {StateType.FAILED, StateType.CRASHED}
