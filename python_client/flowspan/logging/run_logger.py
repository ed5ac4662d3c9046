"""The logger of a run."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowspan.core.call_graph import current_sketch
from flowspan.core.run import Run, current_run
from flowspan.exceptions import NoRunError
from flowspan.logging.capture import ensure_installed
from flowspan.logging.loggers import extra_of, is_silent, logger_of, silence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

_silent = logging.getLogger("flowspan.silent")
_silent.disabled = True


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records belong to one run, in any thread.

    Records have these attributes for formatters: `flow_run_id`, `flow_run_name`, `flow_name` (None
    outside of flows), for task runs also `task_run_id`, `task_run_name`, `task_name`, and for both
    `run_id` and `run_name`; and those of all records in runs (docs/logging.md).
    """

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Add the run to the caller's `extra`."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs

    def getChild(self, suffix: str, extra: Mapping[str, object] | None = None) -> RunLogger:  # noqa: N802 - as in logging
        """Return a logger of the same run with a longer name.

        Args:
            suffix: The text to append to the name.
            extra: Additional attributes of its records.
        """
        # A silent logger stays silent: its child would propagate records to the root logger.
        logger = self.logger if self.logger is _silent else self.logger.getChild(suffix)
        return RunLogger(logger, {**(extra or {}), **(self.extra or {})})


def get_run_logger(context: object = None, **extra: object) -> RunLogger:
    """Return the logger of the current flow or task run.

    Args:
        context: The result of `get_run_context`, for the logger of that run instead.
        **extra: Additional attributes of its records.

    Raises:
        MissingContextError: There is no current run.
        TypeError: The context is something else.
    """
    run = current_run.get() if context is None else getattr(context, "run", context)
    if run is None:
        if is_silent() or current_sketch.get() is not None:  # a visualized flow does not run
            return RunLogger(_silent, extra)
        raise NoRunError(
            "get_run_logger() was called outside of a flow or task run. Call it inside of the "
            "function that is decorated with @flow or @task; elsewhere, use "
            "logging.getLogger(__name__). In a test that calls such a function directly, put the "
            "call into `with flowspan.logging.disable_run_logger():`."
        )
    if not isinstance(run, Run):
        raise TypeError(f"context must be the result of get_run_context(), not {context!r}")
    if current_sketch.get() is not None and current_run.get() is None:
        return RunLogger(_silent, extra)
    ensure_installed()
    return RunLogger(logger_of(run), {**extra, **extra_of(run)})


@contextmanager
def disable_run_logger() -> Iterator[None]:
    """Silence the loggers of runs in a `with` block, and allow `get_run_logger` outside of runs.

    For tests that call the function of a flow or task directly: `my_task.fn(…)`. It applies to the
    whole process while the block runs.
    """
    silence(1)
    try:
        yield
    finally:
        silence(-1)


def get_logger(name: str | None = None) -> logging.Logger:
    """Return an ordinary logger. Inside of runs, its records are stored with the run.

    Args:
        name: The name; "flowspan.user" if None.
    """
    return logging.getLogger(name or "flowspan.user")
