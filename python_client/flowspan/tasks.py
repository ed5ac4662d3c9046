"""Tasks: `@task`."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from flowspan.core.definitions import Definition, checked_name, checked_tags, checked_timeout
from flowspan.core.retries import RetryPolicy, exponential_backoff
from flowspan.core.states import COMPLETED
from flowspan.drivers.sync import run_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan.core.retries import RetryCondition, RetryDelay
    from flowspan.core.states import State

__all__ = ["Task", "exponential_backoff", "task"]

P = ParamSpec("P")
R = TypeVar("R")


class Task(Definition, Generic[P, R]):
    """A function whose calls are task runs. Made by `@task`."""

    is_flow = False

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        task_run_name: str | Callable[..., str] | None = None,
        retries: int = 0,
        retry_delay_seconds: RetryDelay = 0,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        timeout_seconds: float | None = None,
        log_prints: bool | None = None,
    ) -> None:
        """See `task` for the arguments."""
        self.fn = fn
        self.name = checked_name(name, fn)
        self.description = description
        self.tags = checked_tags(tags)
        self.version = version or ""
        self.run_name = task_run_name
        self.retry = (
            RetryPolicy(retries, retry_delay_seconds, retry_jitter_factor, retry_condition_fn)
            if retries
            else None
        )
        self.timeout_s = checked_timeout(timeout_seconds)
        self.log_prints = log_prints
        self.is_async = inspect.iscoroutinefunction(fn)
        functools.update_wrapper(self, fn, updated=())

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the task here and now; returns what the function returns, or its state."""
        return_state = kwargs.pop("return_state", False)
        state = run_task(self, args, kwargs)
        if return_state:
            return state
        if state.type is COMPLETED:
            return state.data
        raise state.error()


def task(fn: Any = None, **options: Any) -> Any:
    if fn is None:
        return lambda fn: Task(fn, **options)
    return Task(fn, **options)
