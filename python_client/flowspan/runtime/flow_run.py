"""Facts about the flow run that the code belongs to.

Attributes:
    id: Its id, or None.
    name: Its name, or None.
    flow_name: The flow's name, or None.
    flow_version: The flow's version, or None.
    parameters: The validated arguments by parameter.
    tags: Its tags.
    run_count: The number of the attempt, 1 for the first; 0 outside of flow runs.
    parent_flow_run_id: The flow run that called it, or None.
    root_flow_run_id: The run at the top of the tree, or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.runs import current_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.runs import Run

__all__ = [  # noqa: F822 - given by __getattr__
    "flow_name",
    "flow_version",
    "id",
    "name",
    "parameters",
    "parent_flow_run_id",
    "root_flow_run_id",
    "run_count",
    "tags",
]


def _parent_flow_run_id(run: Run) -> str | None:
    parent = run.parent.flow_run if run.parent is not None else None
    return parent.record.id if parent is not None else None


_FACTS: dict[str, tuple[Callable[[Run], Any], Callable[[], Any]]] = {
    "id": (lambda run: run.record.id, lambda: None),
    "name": (lambda run: run.record.run_name, lambda: None),
    "flow_name": (lambda run: run.definition.name, lambda: None),
    "flow_version": (lambda run: run.definition.version or None, lambda: None),
    "parameters": (lambda run: dict(run.arguments or {}), dict),
    "tags": (lambda run: list(run.record.tags), list),
    "run_count": (lambda run: run.attempt, int),
    "parent_flow_run_id": (_parent_flow_run_id, lambda: None),
    "root_flow_run_id": (lambda run: run.record.root_run_id, lambda: None),
}


def __getattr__(name: str) -> Any:
    facts = _FACTS.get(name)
    if facts is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    run = current_run.get()
    flow_run = run.flow_run if run is not None else None
    return facts[1]() if flow_run is None else facts[0](flow_run)


def __dir__() -> list[str]:
    return sorted(__all__)
