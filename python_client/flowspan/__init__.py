"""flowspan: workflow orchestration with states, logs, retries and traces for Python functions.

Public names are loaded on first use (PEP 562), so that `import flowspan` is fast.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from flowspan.version import __version__

if TYPE_CHECKING:
    from flowspan import runtime
    from flowspan.api.client import get_client
    from flowspan.context import tags
    from flowspan.core.states import State
    from flowspan.core.values.annotations import allow_failure, unmapped
    from flowspan.flows import Flow, flow
    from flowspan.logging.run_logger import get_run_logger
    from flowspan.tasks import Task, task
    from flowspan.transactions import Transaction

__all__ = [
    "Flow",
    "State",
    "Task",
    "Transaction",
    "__version__",
    "allow_failure",
    "flow",
    "get_client",
    "get_run_logger",
    "runtime",
    "tags",
    "task",
    "unmapped",
]

_HOMES = {
    "Flow": "flowspan.flows",
    "State": "flowspan.core.states",
    "Task": "flowspan.tasks",
    "Transaction": "flowspan.transactions",
    "allow_failure": "flowspan.core.values.annotations",
    "flow": "flowspan.flows",
    "get_client": "flowspan.api.client",
    "get_run_logger": "flowspan.logging.run_logger",
    "tags": "flowspan.context",
    "task": "flowspan.tasks",
    "unmapped": "flowspan.core.values.annotations",
}


class _MissingModules:
    """Import finder that explains missing Prefect modules and names their replacement.

    It is the last finder on `sys.meta_path`, so it runs only for imports that fail.
    """

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Return None, or raise ModuleNotFoundError for a module that only Prefect has."""
        if name.startswith("flowspan."):
            from flowspan.prefect_names import refuse_module  # noqa: PLC0415 - rare

            refuse_module(name)


sys.meta_path.append(_MissingModules)


_MODULES = frozenset(
    {
        "artifacts",
        "cache_policies",
        "client",
        "context",
        "exceptions",
        "flow_runs",
        "flows",
        "futures",
        "locking",
        "logging",
        "results",
        "runtime",
        "schedules",
        "serializers",
        "settings",
        "states",
        "task_runners",
        "tasks",
        "telemetry",
        "testing",
        "transactions",
        "types",
        "utilities",
        "variables",
    }
)
"""Modules that are available as attributes after a bare `import flowspan`."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name not in _MODULES:
        from flowspan.prefect_names import refuse_name  # noqa: PLC0415 - rare

        refuse_name("flowspan", name)
    from importlib import import_module  # noqa: PLC0415 - lazy loading

    if home is None:
        return import_module(f"flowspan.{name}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
