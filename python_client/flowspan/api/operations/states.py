"""States to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert, models
from flowspan.core.states import State

if TYPE_CHECKING:
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
