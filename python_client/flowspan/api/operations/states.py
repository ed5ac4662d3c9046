"""States to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan.api import convert
from flowspan.core.states import State

if TYPE_CHECKING:
    from flowspan.api.models import StateType
    from flowspan.v1 import state_pb2


def wanted_state(state: State | StateType, *, name: str = "", message: str = "") -> state_pb2.State:
    """A state for the wire; its time is set by the service."""
    if isinstance(state, State):
        return convert.wire_state(
            state.type, name=name or state.name, message=message or state.message
        )
    return convert.wire_state(state, name=name, message=message)
