"""States to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert, models
from flowspan.core.failures import failure_info
from flowspan.core.states import CRASHED, FAILED, State

if TYPE_CHECKING:
    from datetime import datetime

    from flowspan.core.events import FailureInfo
    from flowspan.v1 import state_pb2


def wanted_state(
    state: State | models.State | models.StateType, *, name: str = "", message: str = ""
) -> state_pb2.State:
    """A state for the wire: its type, name, message and scheduled time.

    The service sets its time. A result or an exception stays where it is.

    Args:
        state: A state of `flowspan.states`, one that the service told of, or only a type.
        name: Its name, if it is to be another.
        message: Its message, if it is to be another.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(state, models.StateType):
        return convert.wire_state(state, name=name, message=message)
    if not isinstance(state, (State, models.State)):
        raise TypeError(
            f"a state is to be one of flowspan.states, as in Cancelling(message='…'), or a "
            f"StateType, not {state!r}"
        )
    scheduled_at = state.scheduled_time if isinstance(state, State) else state.scheduled_at
    return convert.wire_state(
        state.type,
        name=name or state.name,
        message=message or state.message,
        scheduled_at=scheduled_at,
    )


def entered_state(
    state: State | models.State | models.StateType, *, at: datetime
) -> state_pb2.State:
    """A state that a run has entered, for the wire: with its time, and with what ended the run.

    Args:
        state: As for `wanted_state`.
        at: When it was entered, if the state does not say so itself.

    Raises:
        TypeError: It is no state.
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
    return message
