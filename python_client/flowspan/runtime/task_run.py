"""Facts about the current task run.

Attributes:
    id: Its id, or None.
    name: Its name, or None.
    tags: Its tags.
    parameters: The arguments, by parameter name.
    run_count: The number of the attempt, 1 for the first; 0 outside of task runs.
    task_name: The task's name, or None.
    api_url: None: runs have no page in the API.
    ui_url: None: runs have no page in the UI yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.core.call_graph import current_or_sketched_run
from flowspan.runtime.facts import Fact, Facts, nothing, read_dict, read_list

if TYPE_CHECKING:
    from flowspan.core.run import Run

__all__ = [  # noqa: F822 - given by __getattr__
    "api_url",
    "id",
    "name",
    "parameters",
    "run_count",
    "tags",
    "task_name",
    "ui_url",
]


def _current() -> Run | None:
    run = current_or_sketched_run()
    return None if run is None or run.definition.is_flow else run


_fact = Facts(
    __name__,
    _current,
    {
        "id": Fact(lambda run: run.record.id),
        "name": Fact(lambda run: run.name),
        "tags": Fact(lambda run: run.tags, list, read_list),
        "parameters": Fact(lambda run: run.parameters, dict, read_dict),
        "run_count": Fact(lambda run: run.run_count, int, int),
        "task_name": Fact(lambda run: run.definition.name),
        "api_url": Fact(nothing),
        "ui_url": Fact(nothing),
    },
)


def __getattr__(name: str) -> Any:
    return _fact(name)


def __dir__() -> list[str]:
    return sorted(__all__)
