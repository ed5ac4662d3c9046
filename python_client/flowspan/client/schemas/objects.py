"""States, runs and related records, under the module name that Prefect uses.

They serve mostly as type hints of hooks: `def alert(flow: Flow, flow_run: FlowRun, state:
State)`.
"""

from __future__ import annotations

from flowspan.api import Artifact, Flow, FlowRun, TaskRun, Variable
from flowspan.api import LogRecord as Log
from flowspan.core.states import TERMINAL_TYPES, State, StateType
from flowspan.prefect_names import refusing

__all__ = [
    "TERMINAL_STATES",
    "Artifact",
    "Flow",
    "FlowRun",
    "Log",
    "State",
    "StateType",
    "TaskRun",
    "Variable",
]

TERMINAL_STATES = set(TERMINAL_TYPES)
"""The terminal state types."""

__getattr__ = refusing(__name__)
