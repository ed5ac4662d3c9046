"""The two loggers of runs, and the attributes of their records.

Prefect's module of this name has `get_run_logger` and similar functions, so they are available here
as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan.core.run import Run

FLOW_RUNS = logging.getLogger("flowspan.flow_runs")
TASK_RUNS = logging.getLogger("flowspan.task_runs")

_silenced_by = 0
"""Number of `silence` calls that were not undone."""


def silence(by: int) -> None:
    """Silence both loggers (1), or undo that (-1)."""
    global _silenced_by  # noqa: PLW0603 - one per process
    _silenced_by += by
    enable()


def is_silent() -> bool:
    """Return True if the loggers were silenced on purpose."""
    return _silenced_by > 0


def enable() -> None:
    """Enable the loggers, unless they were silenced on purpose.

    `logging.config.dictConfig` disables every logger that its configuration does not mention.
    """
    FLOW_RUNS.disabled = TASK_RUNS.disabled = _silenced_by > 0


def logger_of(run: Run) -> logging.Logger:
    """Return the logger for a run's kind."""
    return FLOW_RUNS if run.definition.is_flow else TASK_RUNS


def extra_of(run: Run) -> dict[str, object]:
    """Return the attributes of a run's log records."""
    extra: dict[str, object] = {
        "flowspan_run": run,
        "run_id": run.record.id,
        "run_name": run.record.run_name,
        "flow_run_id": None,
        "flow_run_name": None,
        "flow_name": None,
    }
    if not run.definition.is_flow:
        extra["task_run_id"] = run.record.id
        extra["task_run_name"] = run.record.run_name
        extra["task_name"] = run.definition.name
    flow_run = run.flow_run
    if flow_run is not None:
        extra["flow_run_id"] = flow_run.record.id
        extra["flow_run_name"] = flow_run.record.run_name
        extra["flow_name"] = flow_run.definition.name
    return extra


_ELSEWHERE = ("disable_run_logger", "get_logger", "get_run_logger")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ELSEWHERE])


def __getattr__(name: str) -> object:
    if name not in _ELSEWHERE:
        from flowspan.prefect_names import refuse_name  # noqa: PLC0415 - rare

        refuse_name(__name__, name)
    from flowspan.logging import run_logger  # noqa: PLC0415 - which imports this module

    return getattr(run_logger, name)
