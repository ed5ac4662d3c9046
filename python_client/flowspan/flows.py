"""Flows: `@flow`."""

from __future__ import annotations

import copy
import functools
import hashlib
from pathlib import Path
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
    FlowDefinition,
    check_parameter_names,
    checked_name,
    checked_timeout,
    is_async_function,
    made_description,
)
from flowspan.core.parameters import Parameters
from flowspan.core.retries import RetryPolicy
from flowspan.core.states import COMPLETED
from flowspan.drivers.bridge import call_async
from flowspan.drivers.sync import run_flow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from flowspan.core.retries import RetryCondition, RetryDelay
    from flowspan.core.states import State
    from flowspan.task_runners import ThreadPoolTaskRunner

__all__ = ["Flow", "flow"]

P = ParamSpec("P")
P2 = ParamSpec("P2")
R_co = TypeVar("R_co", covariant=True)


class Flow(FlowDefinition, Generic[P, R_co]):
    """A function whose calls are flow runs. Made by `@flow`, which says what the options mean."""

    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        version: str | None = None,
        flow_run_name: str | Callable[..., str] | None = None,
        retries: int = 0,
        retry_delay_seconds: RetryDelay = 0,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        task_runner: ThreadPoolTaskRunner | type[ThreadPoolTaskRunner] | None = None,
        description: str | None = None,
        timeout_seconds: float | None = None,
        validate_parameters: bool = True,
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
        self.tags = ()
        self.version = _file_version(fn) if version is None else version
        self.run_name = flow_run_name
        self.retry = policy if retries else None
        self.timeout_s = checked_timeout(timeout_seconds)
        self.log_prints = log_prints
        self.is_async = is_async_function(fn)
        self.parameters = self._make_parameters()
        self.task_runner = task_runner() if isinstance(task_runner, type) else task_runner
        functools.update_wrapper(cast("Callable[P, R_co]", self), fn, updated=())

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Flow[..., Coroutine[Any, Any, Any]],
        *args: Any,
        return_state: Literal[True],
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State]: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State: ...
    @overload
    def __call__(self, *args: Any, wait_for: Iterable[Any], **kwargs: Any) -> R_co: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the flow here and now, at the top or inside of another run.

        A run at the top returns once the service has stored how it ended, or that is safe on disk.

        Args:
            *args: The function's arguments, validated and coerced; futures and states anywhere in
                them are waited for and replaced by their results.
            **kwargs: The function's; and `return_state=True` to get the terminal state whatever it
                is, and `wait_for=[…]`, futures that are to complete before.

        Returns:
            What the function returns. For an asynchronous function a coroutine, but in a plain flow
            or task, which could not await it, the result.

        Raises:
            BaseException: What the function raised, after the last retry.
            ParameterError: The arguments do not fit; the message says which. It is a TypeError.
            RunFailed: It returned states or futures some of which failed.
            RunTimeout: It took longer than timeout_seconds.
            UpstreamFailed: A run behind a future in the arguments did not complete.
            CancelRun: The run, or the one that calls it, was cancelled.
        """
        return_state = kwargs.pop("return_state", False)
        wait_for = kwargs.pop("wait_for", None)
        if self.is_async:
            return call_async(self._run_async(args, kwargs, wait_for, return_state))
        state = run_flow(self, args, kwargs, wait_for)
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

        state = await aio.run_flow(self, args, kwargs, wait_for)
        return state.returned() if return_state else state.result()

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as the function would get them, defaults included.

        Args:
            parameters: Values by parameter.

        Raises:
            ParameterError: They do not fit; the message says which.
        """
        return dict(self.parameters.bind((), parameters))

    def with_options(self, **options: Any) -> Flow[P, R_co]:
        """A copy of the flow with other options; see `flow` for them."""
        return type(self)(self.fn, **{**self._options, **options})

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Flow[P, R_co]: ...
    @overload
    def __get__(
        self: Flow[Concatenate[Any, P2], R_co], instance: object, owner: type | None = None
    ) -> Flow[P2, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """The flow with its function bound, for flows that are methods."""
        if instance is None and not isinstance(self.fn, (classmethod, staticmethod)):
            return self
        bound = copy.copy(self)
        bound.fn = self.fn.__get__(instance, owner)
        bound.parameters = bound._make_parameters()  # noqa: SLF001 - a copy of this one
        return bound

    def _make_parameters(self) -> Parameters:
        validate = self._options["validate_parameters"]
        return Parameters(self.fn, f"Flow {self.name!r}", validate=bool(validate))

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}>"


@overload
def flow(fn: Callable[P, R_co], /) -> Flow[P, R_co]: ...
@overload
def flow(
    *,
    name: str | None = None,
    version: str | None = None,
    flow_run_name: str | Callable[..., str] | None = None,
    retries: int = 0,
    retry_delay_seconds: RetryDelay = 0,
    retry_jitter_factor: float | None = None,
    retry_condition_fn: RetryCondition | None = None,
    task_runner: ThreadPoolTaskRunner | type[ThreadPoolTaskRunner] | None = None,
    description: str | None = None,
    timeout_seconds: float | None = None,
    validate_parameters: bool = True,
    log_prints: bool | None = None,
) -> Callable[[Callable[P, R_co]], Flow[P, R_co]]: ...
def flow(  # noqa: D417 - the options are described one by one
    fn: Callable[..., Any] | None = None, /, **options: Any
) -> Any:
    """Makes a flow of a function, plain or asynchronous; with and without parentheses.

    Args:
        fn: The function.
        name: The flow's name; the function's, with dashes for underscores, by default.
        version: The version of the code; a hash of the file that it is in by default.
        flow_run_name: How its runs are named: a template with parameters in braces ("load-{day}"),
            or a function that returns the name; else they are given one ("brave-otter").
        retries: How many times a failed run is tried again.
        retry_delay_seconds: How long to wait before that: a number, a list whose last is repeated,
            or a function of the number of retries that returns such a list (`exponential_backoff`).
        retry_jitter_factor: By which part of itself a delay may grow by chance.
        retry_condition_fn: Called with (flow, run, state) after a failure; only a true answer
            retries.
        task_runner: What runs the tasks that it submits; threads without a bound by default.
        description: For people; the docstring by default.
        timeout_seconds: How long one attempt may take. A plain function in another than the main
            thread cannot be interrupted where it blocks: its run ends at the deadline all the same.
        validate_parameters: Whether arguments are validated and coerced to the annotations by
            pydantic.
        log_prints: Whether prints are logged too; None does as the calling run does.

    Returns:
        The flow; without `fn`, a decorator.

    Raises:
        TypeError, ValueError: An option has a value that it may not have.
    """
    if fn is None:
        return functools.partial(Flow, **options)
    return Flow(fn, **options)


def _file_version(fn: Callable[..., Any]) -> str:
    """A hash of the file that a function is in; empty where there is none."""
    code = getattr(getattr(fn, "__wrapped__", fn), "__code__", None)
    return _hash_of(code.co_filename) if code is not None else ""


@functools.cache
def _hash_of(file_name: str) -> str:
    try:
        return hashlib.sha256(Path(file_name).read_bytes()).hexdigest()[:16]
    except OSError:  # typed in, or read from an archive
        return ""
