"""The logger of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flowspan.core.runs import current_run
from flowspan.exceptions import NoRunError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from flowspan.core.runs import Run

FLOW_RUNS = logging.getLogger("flowspan.flow_runs")
TASK_RUNS = logging.getLogger("flowspan.task_runs")


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records belong to one run, in whichever thread they are made.

    Records carry `flowspan_run`, `run_id` and `run_name`, for formatters.
    """

    def __init__(self, logger: logging.Logger, run: Run) -> None:
        super().__init__(logger, extra_of(run))

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Adds the run to what the caller gives as `extra`."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def get_run_logger() -> RunLogger:
    """The logger of the flow or task run whose code is running.

    Raises:
        NoRunError: No run is going on here.
    """
    run = current_run.get()
    if run is None:
        raise NoRunError(
            "get_run_logger() was called outside of a flow or task run. Call it inside of the "
            "function that is decorated with @flow or @task; elsewhere, use "
            "logging.getLogger(__name__)."
        )
    return RunLogger(logger_of(run), run)


def logger_of(run: Run) -> logging.Logger:
    """The logger for a run's kind."""
    return FLOW_RUNS if run.definition.is_flow else TASK_RUNS


def extra_of(run: Run) -> dict[str, object]:
    """What a run's log records carry."""
    return {"flowspan_run": run, "run_id": run.record.id, "run_name": run.record.run_name}
