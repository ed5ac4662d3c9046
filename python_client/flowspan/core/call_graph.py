"""Drawing a flow: what it calls is noted down, not executed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from flowspan.core.run import current_run
from flowspan.core.states import COMPLETED, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.core.run import Run


class Sketching(Protocol):
    """Takes the calls of a flow; see flowspan.drivers.visualize.call_graph.

    Attributes:
        run: Stands for the flow run, for code that asks about it. It is never reported.
    """

    run: Run

    def add(self, definition: Any, *inputs: Any) -> Any:
        """Note a call down; return what it is to give."""

    def submitted(self, definition: Any, *inputs: Any, return_state: bool) -> Any:
        """Note a task down that is submitted or mapped; return its future, or its state."""


current_sketch: ContextVar[Sketching | None] = ContextVar("flowspan_current_sketch", default=None)
"""The sketch that is being made here. There is no current run meanwhile."""


def current_or_sketched_run() -> Run | None:
    """Return the run whose code is running here, also one that is only drawn; None elsewhere."""
    run = current_run.get()
    if run is None:
        sketch = current_sketch.get()
        return None if sketch is None else sketch.run
    return run


def is_drawn() -> bool:
    """True in a flow that is only drawn: what it does beside its calls has no effect."""
    return current_sketch.get() is not None and current_run.get() is None


def sketched_state(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> State | None:
    """The state of a call that is only noted down; None if no sketch is being made."""
    sketch = current_sketch.get()
    if sketch is None:
        return None
    value = sketch.add(definition, args, kwargs, tuple(wait_for or ()))
    return State(COMPLETED, data=value)
