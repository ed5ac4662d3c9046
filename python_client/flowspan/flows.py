"""Flows: `@flow`."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

from flowspan.core.definitions import FlowDefinition, checked_name, checked_tags, checked_timeout
from flowspan.core.parameters import Parameters
from flowspan.core.retries import RetryPolicy
from flowspan.core.states import COMPLETED
from flowspan.drivers.sync import run_flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.retries import RetryCondition, RetryDelay
    from flowspan.core.states import State

__all__ = ["Flow", "flow"]

P = ParamSpec("P")
R = TypeVar("R")


class Flow(FlowDefinition, Generic[P, R]):
    """A function whose calls are flow runs. Made by `@flow`."""

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        version: str | None = None,
        flow_run_name: str | Callable[..., str] | None = None,
        retries: int = 0,
        retry_delay_seconds: RetryDelay = 0,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        timeout_seconds: float | None = None,
        validate_parameters: bool = True,
        log_prints: bool | None = None,
        task_runner: Any = None,
    ) -> None:
        """See `flow` for the arguments."""
        self.fn = fn
        self.name = checked_name(name, fn)
        self.description = description
        self.tags = ()
        self.version = version or ""
        self.run_name = flow_run_name
        self.retry = (
            RetryPolicy(retries, retry_delay_seconds, retry_jitter_factor, retry_condition_fn)
            if retries
            else None
        )
        self.timeout_s = checked_timeout(timeout_seconds)
        self.log_prints = log_prints
        self.is_async = inspect.iscoroutinefunction(fn)
        self.parameters = Parameters(fn, f"Flow {self.name!r}", validate=validate_parameters)
        self.task_runner = task_runner
        functools.update_wrapper(self, fn, updated=())

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the flow here and now; returns what the function returns, or its state."""
        return_state = kwargs.pop("return_state", False)
        state = run_flow(self, args, kwargs)
        if return_state:
            return state
        if state.type is COMPLETED:
            return state.data
        raise state.error()


def flow(fn: Any = None, **options: Any) -> Any:
    if fn is None:
        return lambda fn: Flow(fn, **options)
    return Flow(fn, **options)
