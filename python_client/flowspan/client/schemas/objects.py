"""States, runs and more by the name of the module in which Prefect has them.

For the type hints of hooks, mostly: `def alert(flow: Flow, flow_run: FlowRun, state: State)`.
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
"""The types of the states in which runs end."""

__getattr__ = refusing(__name__)
