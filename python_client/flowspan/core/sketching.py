"""Whether a flow is only being drawn: then what it calls is noted down and not executed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from flowspan.core.states import COMPLETED, State

if TYPE_CHECKING:
    from collections.abc import Iterable


class Sketching(Protocol):
    """Takes the calls of a flow; see flowspan.drivers.sketch."""

    def add(self, definition: Any, *inputs: Any) -> Any:
        """Notes a call down, and says what it is to give."""


current_sketch: ContextVar[Sketching | None] = ContextVar("flowspan_current_sketch", default=None)
"""The sketch that is being made here. There is no current run meanwhile."""


def sketched_state(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> State | None:
    """The state of a call that is only noted down; None if no sketch is being made."""
    sketch = current_sketch.get()
    if sketch is None:
        return None
    value = sketch.add(definition, args, kwargs, tuple(wait_for or ()))
    return State(COMPLETED, data=value)
