"""Facts about the task run whose code is running.

Attributes:
    id: Its id, or None.
    name: Its name, or None.
    task_name: The task's name, or None.
    tags: Its tags.
    run_count: The number of the attempt, 1 for the first; 0 outside of task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.runs import current_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.runs import Run

__all__ = ["id", "name", "run_count", "tags", "task_name"]  # noqa: F822 - given by __getattr__

_FACTS: dict[str, tuple[Callable[[Run], Any], Callable[[], Any]]] = {
    "id": (lambda run: run.record.id, lambda: None),
    "name": (lambda run: run.record.run_name, lambda: None),
    "task_name": (lambda run: run.definition.name, lambda: None),
    "tags": (lambda run: list(run.record.tags), list),
    "run_count": (lambda run: run.attempt, int),
}


def __getattr__(name: str) -> Any:
    facts = _FACTS.get(name)
    if facts is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    run = current_run.get()
    return facts[1]() if run is None or run.definition.is_flow else facts[0](run)


def __dir__() -> list[str]:
    return sorted(__all__)
