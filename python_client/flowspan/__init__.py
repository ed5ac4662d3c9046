"""flowspan: decorate Python functions, get states, logs, retries and traces.

The names are loaded when they are first used (PEP 562), so that `import flowspan` costs little.
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
    """Says of modules that Prefect has, and flowspan has not, what to use instead.

    It is the last finder: nothing asks it but an import that fails.
    """

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise ModuleNotFoundError for such a module; return None for others."""
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
        "logging",
        "results",
        "runtime",
        "schedules",
        "serializers",
        "settings",
        "states",
        "task_runners",
        "tasks",
        "transactions",
        "types",
        "utilities",
        "variables",
    }
)
"""Modules that can be used after a bare `import flowspan`."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name not in _MODULES:
        from flowspan.prefect_names import refuse_name  # noqa: PLC0415 - rare

        refuse_name("flowspan", name)
    from importlib import import_module  # noqa: PLC0415 - see the module

    if home is None:
        return import_module(f"flowspan.{name}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
