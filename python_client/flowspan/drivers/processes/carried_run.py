"""Functions that carry the current run into processes that the program starts itself."""

from __future__ import annotations

import os
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from flowspan.core.run import current_run
from flowspan.drivers.calls.start import current_tags
from flowspan.drivers.cancellation.scope import CancelScope
from flowspan.drivers.process import flush_reports, get_process
from flowspan.drivers.processes import pickling
from flowspan.drivers.processes.run_snapshot import dump_flow_run, dump_task_run, load_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from flowspan.core.run import Run

P = ParamSpec("P")
R = TypeVar("R")

_Parts = tuple[bytes | None, bytes | None, tuple[str, ...]]

_loaded: dict[_Parts, Run] = {}
"""The last run that came from another process; kept to number its nested runs."""


class CarryingCall(Generic[P, R]):
    """A function that is called in the run and with the tags that were current when it was wrapped.

    It is thread-safe, and can be pickled if the function can. In another process, the service has
    its logs and nested runs when the call ends. Deadlines and cancellation do not reach it there.

    Args:
        fn: The function.
        context: The context in which it runs; the current one by default.
    """

    def __init__(self, fn: Callable[P, R], context: Context | None = None) -> None:
        self.fn = fn
        self._is_from_elsewhere = context is not None
        self._context = copy_context() if context is None else context
        self._process_id = os.getpid()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function.

        Args:
            *args: The positional arguments.
            **kwargs: The keyword arguments.

        Raises:
            BaseException: An error of the function.
        """
        # A context cannot be entered twice at the same time, so each call uses a copy.
        context = self._context.copy()
        if os.getpid() == self._process_id and not self._is_from_elsewhere:
            return context.run(self.fn, *args, **kwargs)
        try:
            return context.run(self.fn, *args, **kwargs)
        finally:
            # A pool may kill its process at any time.
            flush_reports()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        run = self._context.get(current_run)
        flow_run = None if run is None else run.flow_run
        task_run = None if run is None or run.definition.is_flow else run
        parts = (
            None if flow_run is None else dump_flow_run(flow_run),
            None if task_run is None else dump_task_run(task_run),
            self._context.get(current_tags, ()),
        )
        return _arrived, (pickling.dumps(self.fn), parts)


def _arrived(function: bytes, parts: _Parts) -> CarryingCall[..., Any]:
    context = copy_context()
    context.run(_enter, parts)
    return CarryingCall(pickling.loads(function), context)


def _enter(parts: _Parts) -> None:
    flow_run, task_run, tags = parts
    current_tags.set(tags)
    if flow_run is None and task_run is None:
        return
    get_process()  # starts capturing logs
    run = _loaded.get(parts)
    if run is None:
        _loaded.clear()
        run = _loaded[parts] = load_run(flow_run, task_run, CancelScope(), os.getpid())
    if run.log_prints:
        from flowspan.logging import prints  # noqa: PLC0415 - rarely needed

        prints.install()
    current_run.set(run)
