"""The context of the running code: the current run, and the tags of new runs.

`run_environ` and `run_headers` carry the current run into other programs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flowspan.core.call_graph import current_or_sketched_run
from flowspan.core.definition import checked_tags
from flowspan.drivers.calls.outer_run import run_environ, run_headers
from flowspan.drivers.calls.start import current_tags
from flowspan.exceptions import NoRunError
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from typing import Self

    from flowspan.core.definition import Definition
    from flowspan.core.run import Run

__all__ = [
    "EngineContext",
    "FlowRunContext",
    "RunContext",
    "TagsContext",
    "TaskRunContext",
    "get_run_context",
    "run_environ",
    "run_headers",
    "tags",
    "with_context",
]

P = ParamSpec("P")
R = TypeVar("R")


class RunContext:
    """Context of the run whose code is executing: `FlowRunContext` or `TaskRunContext`.

    Attributes:
        run: The run: id, name, tags, state, run_count and more.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments of the run by parameter name."""
        return self.run.parameters

    @property
    def start_time(self) -> datetime:
        """The time at which the run was called, in UTC."""
        return self.run.expected_start_time

    @property
    def log_prints(self) -> bool:
        """True if the output of `print` is logged, by an option of the run or an inherited one."""
        return self.run.log_prints

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunContext) and other.run.record.id == self.run.record.id

    def __hash__(self) -> int:
        return hash(self.run.record.id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.run!r})"


class FlowRunContext(RunContext):
    """Context of the flow run that the code belongs to."""

    @classmethod
    def get(cls) -> Self | None:
        """Return the context of the innermost enclosing flow run; None outside flows."""
        run = current_or_sketched_run()
        flow_run = run.flow_run if run is not None else None
        return None if flow_run is None else cls(flow_run)

    @property
    def flow_run(self) -> Run:
        """The flow run."""
        return self.run

    @property
    def flow(self) -> Definition:
        """The flow, that is, the decorated function."""
        return self.run.definition

    @property
    def task_runner(self) -> Any:
        """The runner of the tasks that the flow submits."""
        return getattr(self.run.definition, "task_runner", None)


EngineContext = FlowRunContext


class TaskRunContext(RunContext):
    """Context of the task run whose code is executing."""

    @classmethod
    def get(cls) -> Self | None:
        """Return the context of the task run whose code is executing; None elsewhere.

        In a flow that a task calls, the flow's code is executing, not the task's.
        """
        run = current_or_sketched_run()
        return None if run is None or run.definition.is_flow else cls(run)

    @property
    def task_run(self) -> Run:
        """The task run."""
        return self.run

    @property
    def task(self) -> Definition:
        """The task, that is, the decorated function."""
        return self.run.definition


class TagsContext:
    """The tags that `with tags(...)` adds.

    Attributes:
        current_tags: All tags in effect.
    """

    def __init__(self, current_tags: set[str]) -> None:
        self.current_tags = current_tags

    @classmethod
    def get(cls) -> Self:
        """Return the tags in effect; empty outside `with tags(...)`."""
        return cls(set(current_tags.get()))

    def __repr__(self) -> str:
        return f"TagsContext({sorted(self.current_tags)})"


@contextmanager
def tags(*new_tags: str) -> Iterator[tuple[str, ...]]:
    """Add tags to the flow and task runs called inside a `with` block.

    Args:
        *new_tags: The tags, in addition to those of enclosing blocks.

    Yields:
        All tags in effect.

    Raises:
        TypeError, ValueError: A tag is not a string or is empty, or there are too many.
    """
    together = checked_tags((*current_tags.get(), *new_tags))
    token = current_tags.set(together)
    try:
        yield together
    finally:
        current_tags.reset(token)


def get_run_context() -> FlowRunContext | TaskRunContext:
    """Return the context of the run whose code is executing.

    Raises:
        MissingContextError: No run is executing here.
    """
    context = TaskRunContext.get() or FlowRunContext.get()
    if context is None:
        raise NoRunError(
            "get_run_context() was called outside of a flow or task run. Call it inside of the "
            "function that is decorated with @flow or @task; FlowRunContext.get() and "
            "flowspan.runtime return None elsewhere."
        )
    return context


def with_context(fn: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that it carries the current run and tags wherever it is called.

    Use it for threads, and for processes of `multiprocessing` and `ProcessPoolExecutor`. The
    run's logger works there too, and runs that the function calls belong to the current run.

    Args:
        fn: The function. For other processes, it must be picklable.

    Returns:
        The wrapped function.
    """
    from flowspan.drivers.processes.carried_run import CarryingCall  # noqa: PLC0415 - rare

    return CarryingCall(fn)


__getattr__ = refusing(__name__)
