"""Facts about the deployment of the current flow run.

There are no deployments yet: nearly all values are None, so that code that reads them works.

Attributes:
    id: None.
    name: None.
    version: None.
    flow_run_id: The id of the current flow run, or None.
    parameters: The arguments of that flow run, by parameter name.
"""

from __future__ import annotations

from typing import Any

from flowspan.runtime.facts import Fact, Facts, nothing, read_dict
from flowspan.runtime.flow_run import current

__all__ = ["flow_run_id", "id", "name", "parameters", "version"]  # noqa: F822 - given by __getattr__

_fact = Facts(
    __name__,
    current,
    {
        "id": Fact(nothing),
        "name": Fact(nothing),
        "version": Fact(nothing),
        "parameters": Fact(lambda run: run.parameters, dict, read_dict),
        "flow_run_id": Fact(lambda run: run.record.id),
    },
)


def __getattr__(name: str) -> Any:
    return _fact(name)


def __dir__() -> list[str]:
    return sorted(__all__)
