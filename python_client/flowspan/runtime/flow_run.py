"""Facts about the current flow run.

Attributes:
    id: Its id, or None.
    name: Its name, or None.
    tags: Its tags.
    parameters: The validated arguments, by parameter name.
    run_count: The number of the attempt, 1 for the first; 0 outside of flow runs.
    flow_name: The flow's name, or None.
    flow_version: The flow's version, or None.
    scheduled_start_time: The scheduled start, which is the time of the call; the current time
        outside of flow runs. An aware datetime in UTC.
    parent_flow_run_id: The flow run that called it, or None.
    root_flow_run_id: The outermost flow run of the tree, or None.
    parent_deployment_id: None: there are no deployments yet.
    job_variables: Empty, because there are no deployments yet; None outside of flow runs.
    api_url: None: runs have no page in the API.
    ui_url: None: runs have no page in the UI yet.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowspan import clock
from flowspan.core.call_graph import current_or_sketched_run
from flowspan.runtime.facts import Fact, Facts, nothing, read_dict, read_list, read_time

if TYPE_CHECKING:
    from flowspan.core.run import Run

__all__ = [  # noqa: F822 - given by __getattr__
    "api_url",
    "flow_name",
    "flow_version",
    "id",
    "job_variables",
    "name",
    "parameters",
    "parent_deployment_id",
    "parent_flow_run_id",
    "root_flow_run_id",
    "run_count",
    "scheduled_start_time",
    "tags",
    "ui_url",
]


def current() -> Run | None:
    """Return the flow run of the current code."""
    run = current_or_sketched_run()
    return run.flow_run if run is not None else None


def _parent_id(run: Run) -> str | None:
    parent = run.parent.flow_run if run.parent is not None else None
    return parent.record.id if parent is not None else None


def _root_id(run: Run) -> str:
    while run.parent is not None and run.parent.flow_run is not None:
        run = run.parent.flow_run
    # Of a run in another process, only the id is known, and not whether it is a flow run.
    return run.record.root_run_id if run.parent is None else run.record.id


_fact = Facts(
    __name__,
    current,
    {
        "id": Fact(lambda run: run.record.id),
        "name": Fact(lambda run: run.name),
        "tags": Fact(lambda run: run.tags, list, read_list),
        "parameters": Fact(lambda run: run.parameters, dict, read_dict),
        "run_count": Fact(lambda run: run.run_count, int, int),
        "flow_name": Fact(lambda run: run.definition.name),
        "flow_version": Fact(lambda run: run.definition.version or None),
        "scheduled_start_time": Fact(
            lambda run: run.expected_start_time,
            # Prefect's value. By the program's clock, and not by datetime.now: freezegun reads
            # every attribute of this module while its own `now` raises.
            lambda: datetime.fromtimestamp(clock.program_ns() / 1e9, UTC),
            read_time,
        ),
        "parent_flow_run_id": Fact(_parent_id),
        "root_flow_run_id": Fact(_root_id),
        "parent_deployment_id": Fact(nothing),
        "job_variables": Fact(lambda _: {}, read=read_dict),
        "api_url": Fact(nothing),
        "ui_url": Fact(nothing),
    },
)


def __getattr__(name: str) -> Any:
    return _fact(name)


def __dir__() -> list[str]:
    return sorted(__all__)
