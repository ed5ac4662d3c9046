"""Tasks: `@task`."""

from __future__ import annotations

import copy
import functools
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from flowspan.core.definitions import (
    TaskDefinition,
    check_parameter_names,
    checked_name,
    checked_tags,
    checked_timeout,
    is_async_function,
    made_description,
)
from flowspan.core.retries import RetryPolicy, exponential_backoff
from flowspan.core.states import COMPLETED
from flowspan.drivers.bridge import call_async
from flowspan.drivers.links import Mapped, mapped_sources
from flowspan.drivers.mapping import split_calls
from flowspan.drivers.submit import submit
from flowspan.drivers.sync import run_task
from flowspan.futures import TaskFutureList

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from flowspan.core.retries import RetryCondition, RetryDelay
    from flowspan.core.states import State
    from flowspan.futures import TaskFuture

__all__ = ["Task", "exponential_backoff", "task"]

P = ParamSpec("P")
P2 = ParamSpec("P2")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Task(TaskDefinition, Generic[P, R_co]):
    """A function whose calls are task runs. Made by `@task`, which says what the options mean."""

    def __init__(
        self,
        fn: Callable[P, R_co],
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
        self._options = {
            key: value for key, value in locals().items() if key not in {"self", "fn", "__class__"}
        }
        check_parameter_names(fn)
        policy = RetryPolicy(retries, retry_delay_seconds, retry_jitter_factor, retry_condition_fn)
        self.fn = fn
        self.name = checked_name(name, fn)
        self.description = made_description(description, fn)
        self.tags = checked_tags(tags)
        self.version = version or ""
        self.run_name = task_run_name
        self.retry = policy if retries else None
        self.timeout_s = checked_timeout(timeout_seconds)
        self.log_prints = log_prints
        self.is_async = is_async_function(fn)
        functools.update_wrapper(cast("Callable[P, R_co]", self), fn, updated=())

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Task[..., Coroutine[Any, Any, Any]],
        *args: Any,
        return_state: Literal[True],
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State: ...
    @overload
    def __call__(self, *args: Any, wait_for: Iterable[Any], **kwargs: Any) -> R_co: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the task here and now, inside of a flow or not.

        Args:
            *args: The function's arguments; futures and states anywhere in them are waited for and
                replaced by their results.
            **kwargs: The function's; and `return_state=True` to get the terminal state whatever it
                is, and `wait_for=[…]`, futures that are to complete before.

        Returns:
            What the function returns. For an asynchronous function a coroutine, but in a plain flow
            or task, which could not await it, the result.

        Raises:
            BaseException: What the function raised, after the last retry.
            RunTimeout: It took longer than timeout_seconds.
            UpstreamFailed: A run behind a future in the arguments did not complete.
            CancelRun: The run, or the one that calls it, was cancelled.
        """
        return_state, wait_for = False, None
        if kwargs:
            return_state = kwargs.pop("return_state", False)
            wait_for = kwargs.pop("wait_for", None)
        if self.is_async:
            return call_async(self._run_async(args, kwargs, wait_for, return_state))
        state = run_task(self, args, kwargs, wait_for)
        if return_state:
            return state.returned()
        return state.data if state.type is COMPLETED else state.result()

    async def _run_async(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        wait_for: Iterable[Any] | None,
        return_state: bool,  # noqa: FBT001 - private
    ) -> Any:
        from flowspan.drivers import aio  # noqa: PLC0415 - imports asyncio

        state = await aio.run_task(self, args, kwargs, wait_for)
        return state.returned() if return_state else state.result()

    @overload
    def submit(
        self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> TaskFuture[T]: ...
    @overload
    def submit(self: Task[P, T], *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]: ...
    @overload
    def submit(
        self: Task[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
    ) -> TaskFuture[T]: ...
    @overload
    def submit(self, *args: Any, **kwargs: Any) -> TaskFuture[R_co]: ...
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the task on the flow's task runner: on a thread, or on a loop if it is asynchronous.

        Args:
            *args: The function's arguments; the run begins when all futures in them have ended.
            **kwargs: The function's; and `wait_for=[…]`, futures that are to complete before, and
                `return_state=True`, to wait for the terminal state.

        Returns:
            A future; with return_state, the terminal state.

        Raises:
            CancelRun: The calling run was cancelled.
        """
        return_state = kwargs.pop("return_state", False)
        future = submit(self, args, kwargs, kwargs.pop("wait_for", None))
        if return_state:
            future.wait()
            return future.state
        return future

    def map(self, *args: Any, **kwargs: Any) -> TaskFutureList[Any]:
        """Submits the task once for each element of the iterables among the arguments.

        Args:
            *args: The function's arguments. Iterables (not texts and bytes) are gone through side
                by side and must be of the same length; `unmapped(…)` and everything else is given
                to each call as it is. A future that is an argument itself is waited for, and its
                result mapped.
            **kwargs: The function's, likewise; and `wait_for=[…]` and `return_state=True` as in
                `submit`.

        Returns:
            The futures in the order of the elements; with return_state, their terminal states.

        Raises:
            MappingMissingIterable: There is no iterable among the arguments.
            MappingLengthMismatch: The iterables are not of the same length.
            CancelRun: The calling run was cancelled.
        """
        return_state = kwargs.pop("return_state", False)
        wait_for = kwargs.pop("wait_for", None)
        wait_for = None if wait_for is None else tuple(wait_for)
        sources = mapped_sources(self, args, kwargs)
        futures = TaskFutureList(
            submit(self, call_args, call_kwargs, wait_for, Mapped(index, sources))
            for index, (call_args, call_kwargs) in enumerate(split_calls(self.name, args, kwargs))
        )
        if return_state:
            futures.wait()
            return [future.state for future in futures]  # type: ignore[return-value] # documented above
        return futures

    def with_options(self, **options: Any) -> Task[P, R_co]:
        """A copy of the task with other options; see `task` for them."""
        return type(self)(self.fn, **{**self._options, **options})

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R_co]: ...
    @overload
    def __get__(
        self: Task[Concatenate[Any, P2], R_co], instance: object, owner: type | None = None
    ) -> Task[P2, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """The task with its function bound, for tasks that are methods."""
        if instance is None and not isinstance(self.fn, (classmethod, staticmethod)):
            return self
        bound = copy.copy(self)
        bound.fn = self.fn.__get__(instance, owner)
        bound._parameters = None  # noqa: SLF001 - a copy of this one
        return bound

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


@overload
def task(fn: Callable[P, R_co], /) -> Task[P, R_co]: ...
@overload
def task(
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
) -> Callable[[Callable[P, R_co]], Task[P, R_co]]: ...
def task(  # noqa: D417 - the options are described one by one
    fn: Callable[..., Any] | None = None, /, **options: Any
) -> Any:
    """Makes a task of a function, plain or asynchronous; with and without parentheses.

    Args:
        fn: The function.
        name: The task's name; the function's, with dashes for underscores, by default.
        description: For people; the docstring by default.
        tags: Labels of its runs, for people and filters.
        version: The version of the code.
        task_run_name: How its runs are named: a template with parameters in braces ("load-{day}"),
            or a function that returns the name; else they are counted ("load-0").
        retries: How many times a failed run is tried again.
        retry_delay_seconds: How long to wait before that: a number, a list whose last is repeated,
            or a function of the number of retries that returns such a list (`exponential_backoff`).
        retry_jitter_factor: By which part of itself a delay may grow by chance.
        retry_condition_fn: Called with (task, run, state) after a failure; only a true answer
            retries.
        timeout_seconds: How long one attempt may take. A plain function that blocks in a thread
            cannot be interrupted: its run ends at the deadline all the same, without waiting for
            it.
        log_prints: Whether prints are logged too; None does as the calling run does.

    Returns:
        The task; without `fn`, a decorator.

    Raises:
        TypeError, ValueError: An option has a value that it may not have.
    """
    if fn is None:
        return functools.partial(Task, **options)
    return Task(fn, **options)
