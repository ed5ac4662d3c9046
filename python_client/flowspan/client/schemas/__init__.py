"""States and runs, under the module name that Prefect uses."""

from __future__ import annotations

from flowspan.client.schemas.objects import FlowRun, State, StateType, TaskRun
from flowspan.prefect_names import refusing

__all__ = ["FlowRun", "State", "StateType", "TaskRun"]

__getattr__ = refusing(__name__, modules={"objects"})
