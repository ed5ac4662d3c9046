"""Visualization mode: the calls of a flow are recorded, not executed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from flowspan.core.run import current_run
from flowspan.core.states import COMPLETED, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan.core.run import Run


class Sketching(Protocol):
    """A recorder of the calls of a flow; see `flowspan.drivers.visualize.call_graph`.

    Attributes:
        run: A placeholder flow run for code that asks for the current run. It is never reported.
    """

    run: Run

    def add(self, definition: Any, *inputs: Any) -> Any:
        """Record a call; return its placeholder result."""

    def submitted(self, definition: Any, *inputs: Any, return_state: bool) -> Any:
        """Record a submitted or mapped task; return its future or its state."""


current_sketch: ContextVar[Sketching | None] = ContextVar("flowspan_current_sketch", default=None)
"""The recorder while a flow is visualized. There is no current run in the meantime."""


def current_or_sketched_run() -> Run | None:
    """Return the current run, or the placeholder of a flow being visualized; else None."""
    run = current_run.get()
    if run is None:
        sketch = current_sketch.get()
        return None if sketch is None else sketch.run
    return run


def is_drawn() -> bool:
    """Return True while a flow is visualized: side effects other than its calls are suppressed."""
    return current_sketch.get() is not None and current_run.get() is None


def sketched_state(
    definition: Any, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: Iterable[Any] | None
) -> State | None:
    """Record a call and return its placeholder state; None if no flow is being visualized."""
    sketch = current_sketch.get()
    if sketch is None:
        return None
    value = sketch.add(definition, args, kwargs, tuple(wait_for or ()))
    return State(COMPLETED, data=value)
