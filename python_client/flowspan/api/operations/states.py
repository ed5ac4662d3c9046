"""Conversion of states in requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowspan.api import convert, models
from flowspan.core.events import FailureInfo
from flowspan.core.failures import failure_info, with_brief_causes
from flowspan.core.limits import MAX_FAILURE_BYTES
from flowspan.core.states import CRASHED, FAILED, State

AnyRun = TypeVar("AnyRun", models.FlowRun, models.TaskRun)

if TYPE_CHECKING:
    from datetime import datetime

    from flowspan.v1 import state_pb2


def wanted_state(
    state: State | models.State | models.StateType, *, name: str = "", message: str = ""
) -> state_pb2.State:
    """Return a state for the wire: type, name, message and scheduled time.

    The service sets the time of entry. A result or an exception is not sent.

    Args:
        state: A state of `flowspan.states`, a state returned by the API, or only a type.
        name: Replaces the state's name, if not empty.
        message: Replaces the state's message, if not empty.

    Raises:
        TypeError: The argument is not a state or a type.
    """
    if isinstance(state, models.StateType):
        return convert.wire_state(state, name=name, message=message)
    if not isinstance(state, (State, models.State)):
        raise TypeError(
            f"a state must be one of flowspan.states, as in Cancelling(message='…'), or a "
            f"StateType, not {state!r}"
        )
    scheduled_at = state.scheduled_time if isinstance(state, State) else state.scheduled_at
    return convert.wire_state(
        state.type,
        name=name or state.name,
        message=message or state.message,
        scheduled_at=scheduled_at,
    )


def answer_without_cancel(answer: models.StateAnswer[AnyRun]) -> models.CancelAnswer[AnyRun]:
    """Return the outcome of a cancellation by a service that cancels a run alone."""
    is_asked = answer.verdict.is_accepted and answer.run.state.type is models.StateType.CANCELLING
    return models.CancelAnswer(answer.verdict, answer.run, int(is_asked))


def entered_state(
    state: State | models.State | models.StateType, *, at: datetime
) -> state_pb2.State:
    """Return a state that a run has entered for the wire, with its time and failure.

    Args:
        state: As for `wanted_state`.
        at: The time of entry, if the state has no time of its own.

    Raises:
        TypeError: The argument is not a state or a type.
        ValueError: The time has no time zone.
    """
    message = wanted_state(state)
    kind = state if isinstance(state, models.StateType) else state.type
    entered_at: datetime | None = None
    failure: models.Failure | FailureInfo | None = None
    if isinstance(state, State):
        entered_at, failure = state.timestamp, state.failure
        if failure is None and isinstance(state.data, BaseException):
            failure = failure_info(state.data)
    elif isinstance(state, models.State):
        entered_at, failure = state.entered_at, state.failure
        if state.result_reference is not None:
            message.result.encoding = state.result_reference.encoding
            message.result.data = state.result_reference.data
    convert.set_time(message.time, entered_at or at, "at")
    if failure is not None and (kind is FAILED or kind is CRASHED):
        message.failure.CopyFrom(convert.wire_failure(failure))
        if isinstance(failure, FailureInfo) and message.failure.ByteSize() > MAX_FAILURE_BYTES:
            message.failure.CopyFrom(convert.wire_failure(with_brief_causes(failure)))
    return message
