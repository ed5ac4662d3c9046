"""Tasks: the `@task` decorator."""

from __future__ import annotations

import functools
import inspect
from itertools import starmap
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypedDict, TypeVar, cast, overload

from flowspan.core.call_graph import current_sketch
from flowspan.core.definition import TaskDefinition, checked_run_name, checked_tags
from flowspan.core.functions import function_name
from flowspan.core.hooks import HookDecorator, HookList
from flowspan.core.option_attributes import OptionValue, Tags
from flowspan.core.option_errors import check_options, declare_options, names_options
from flowspan.core.retries import exponential_backoff
from flowspan.core.transactions import load_public_with
from flowspan.core.values.annotations import NotSet
from flowspan.decorated import Decorated, options_in
from flowspan.drivers.calls.run_inputs import Mapped, mapped_sources
from flowspan.drivers.calls.sync import run_task
from flowspan.drivers.futures.arguments import given_upstream
from flowspan.drivers.futures.mapping import split_calls
from flowspan.drivers.task_runners.submit import submit
from flowspan.futures import TaskFutureList
from flowspan.prefect_names import refusing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
    from datetime import timedelta
    from pathlib import Path
    from typing import Self, Unpack

    from flowspan.cache_policies import CachePolicy
    from flowspan.core.hooks import Hook
    from flowspan.core.result_options import TaskContext
    from flowspan.core.retries import RetryCondition, RetryDelay
    from flowspan.futures import TaskFuture
    from flowspan.results import ResultStore
    from flowspan.serializers import SerializerLike

__all__ = ["Task", "TaskOptions", "exponential_backoff", "task", "task_input_hash"]

P = ParamSpec("P")
P2 = ParamSpec("P2")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class TaskOptions(TypedDict, total=False):
    """The options of `@task`, which documents them. `Task` has their defaults."""

    name: str | None
    description: str | None
    tags: Iterable[str] | None
    version: str | None
    task_run_name: str | Callable[..., str] | None
    retries: int | None
    retry_delay_seconds: RetryDelay | None
    retry_jitter_factor: float | None
    retry_condition_fn: RetryCondition | None
    cache_policy: CachePolicy | type[NotSet] | None
    cache_key_fn: Callable[..., str | None] | None
    cache_expiration: timedelta | None
    refresh_cache: bool | None
    persist_result: bool | None
    result_storage: str | Path | ResultStore | None
    result_storage_key: str | None
    result_serializer: SerializerLike | str | None
    cache_result_in_memory: bool | None
    timeout_seconds: float | None
    log_prints: bool | None
    on_completion: Sequence[Hook] | None
    on_failure: Sequence[Hook] | None
    on_running: Sequence[Hook] | None
    on_commit: Sequence[Hook] | None
    on_rollback: Sequence[Hook] | None
    viz_return_value: Any


def _live_tags(of: Any) -> Tags:
    """Return the tags of a task as a set. Changes to the set apply to later runs."""
    if of.live_tags is None:

        def changed(tags: Iterable[str]) -> None:
            of.run_tags = checked_tags(set(tags))
            of.options = {**of.options, "tags": of.run_tags}

        of.live_tags = Tags(of.run_tags, changed)
    return cast("Tags", of.live_tags)


def _policy_of(of: Any) -> CachePolicy | None:
    """Return the effective cache policy, by Prefect's rules."""
    from flowspan.cache_policies import (  # noqa: PLC0415 - start-up cost
        DEFAULT,
        NO_CACHE,
        CacheKeyFnPolicy,
    )

    options = of.options
    policy: CachePolicy | type[NotSet] | None = options["cache_policy"]
    if options["persist_result"] is False:
        return None if policy is None else NO_CACHE
    if options["cache_key_fn"] is not None:
        policy = CacheKeyFnPolicy(cache_key_fn=options["cache_key_fn"])
    if options["result_storage_key"] and policy is not NO_CACHE:
        return None
    return DEFAULT if policy is NotSet else cast("CachePolicy | None", policy)


class Task(Decorated[P, R_co], TaskDefinition):
    """A function decorated with `@task`. Each call is a task run."""

    _run = staticmethod(run_task)

    on_commit = HookDecorator("on_commit")
    on_rollback = HookDecorator("on_rollback")
    on_commit_hooks = HookList("on_commit")
    on_rollback_hooks = HookList("on_rollback")

    tags = OptionValue(read=_live_tags)
    task_run_name = OptionValue()
    cache_policy = OptionValue(read=_policy_of)
    cache_key_fn = OptionValue()
    cache_expiration = OptionValue()
    refresh_cache = OptionValue()
    result_storage_key = OptionValue()
    none_keeps = frozenset(
        {
            *("name", "description", "tags", "retry_condition_fn", "cache_expiration"),
            *("cache_key_fn", "cache_result_in_memory", "timeout_seconds", "viz_return_value"),
        }
    )

    @names_options("`Task`")
    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        task_run_name: str | Callable[..., str] | None = None,
        retries: int | None = 0,
        retry_delay_seconds: RetryDelay | None = 0,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        cache_policy: CachePolicy | type[NotSet] | None = NotSet,
        cache_key_fn: Callable[..., str | None] | None = None,
        cache_expiration: timedelta | None = None,
        refresh_cache: bool | None = None,
        persist_result: bool | None = None,
        result_storage: str | Path | ResultStore | None = None,
        result_storage_key: str | None = None,
        result_serializer: SerializerLike | str | None = None,
        cache_result_in_memory: bool | None = True,
        timeout_seconds: float | None = None,
        log_prints: bool | None = None,
        on_completion: Sequence[Hook] | None = None,
        on_failure: Sequence[Hook] | None = None,
        on_running: Sequence[Hook] | None = None,
        on_commit: Sequence[Hook] | None = None,
        on_rollback: Sequence[Hook] | None = None,
        viz_return_value: Any = None,
    ) -> None:
        super().__init__(fn, options_in(locals()))

    def take_options(self, options: dict[str, Any]) -> None:  # noqa: D102 - documented in the base class
        run_tags = checked_tags(options["tags"])
        run_name = checked_run_name(options["task_run_name"], "task_run_name")
        super().take_options(options)
        self.options = options
        self.version = options["version"]
        self.viz_return_value = options["viz_return_value"]
        self.run_tags = run_tags
        self.live_tags = None
        self.run_name = run_name

    @property
    def task_key(self) -> str:
        """The function's name and a hash of its source; the same for all copies."""
        return f"{function_name(self.fn)}-{self.code.text[:8]}"

    @property
    def source_code(self) -> str | None:
        """The source of the function; None if it is not available."""
        try:
            return inspect.getsource(self.fn)
        except (OSError, TypeError):
            return None

    @overload
    def submit(
        self: Task[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> TaskFuture[T]: ...
    @overload
    def submit(
        self: Task[P, Iterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> TaskFuture[list[T]]: ...
    @overload
    def submit(
        self: Task[P, AsyncIterator[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> TaskFuture[list[T]]: ...
    @overload
    def submit(self: Task[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]: ...
    @overload
    def submit(
        self: Task[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> TaskFuture[T]: ...
    @overload
    def submit(self, /, *args: Any, **kwargs: Any) -> TaskFuture[R_co]: ...
    def submit(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit the task to the flow's task runner and return a future at once.

        Plain tasks run on a thread, asynchronous tasks on an event loop.

        Args:
            *args: The arguments of the function. The run starts when all futures in them have
                ended.
            **kwargs: The keyword arguments of the function, and two options: `wait_for=[…]`,
                futures that must complete first, and `return_state=True` to wait for the terminal
                state and return it.

        Returns:
            A future; with return_state, the terminal state.

        Raises:
            CancelRun: The calling run was cancelled.
        """
        return_state = kwargs.pop("return_state", False)
        wait_for = kwargs.pop("wait_for", None)
        if kwargs:
            self._check_keywords(kwargs, "`submit`")
        sketch = current_sketch.get()
        if sketch is not None:
            inputs = args, kwargs, given_upstream(wait_for)
            return sketch.submitted(self, *inputs, return_state=return_state)
        if self._fills_fields:
            args, kwargs = self._with_fields(args, kwargs)
        future = submit(self._collected, args, kwargs, wait_for)
        if return_state:
            future.wait()
            return future.state
        return future

    def map(self, /, *args: Any, **kwargs: Any) -> TaskFutureList[Any]:
        """Submit the task once for each element of the iterable arguments.

        Args:
            *args: The arguments of the function. Iterables (except str and bytes) are iterated in
                parallel and must have the same length. `unmapped(…)` and all other values are
                passed to every call unchanged. A future or state as an argument is awaited and its
                result is mapped.
            **kwargs: The keyword arguments of the function, and the options `wait_for=[…]` and
                `return_state=True` as in `submit`.

        Returns:
            The futures, in the order of the elements; with return_state, their terminal states.

        Raises:
            MappingMissingIterable: No argument is iterable.
            MappingLengthMismatch: The iterables have different lengths.
            UpstreamFailed: The run of a mapped future or state did not complete.
            CancelRun: The calling run was cancelled.
        """
        return_state = kwargs.pop("return_state", False)
        wait_for = kwargs.pop("wait_for", None)
        if kwargs:
            self._check_keywords(kwargs, "`map`")
        wait_for = given_upstream(wait_for) or None
        sketch = current_sketch.get()
        if sketch is not None:
            inputs = args, kwargs, wait_for
            return cast(
                "TaskFutureList[Any]", sketch.submitted(self, *inputs, return_state=return_state)
            )
        task = self._collected
        sources = mapped_sources(task, args, kwargs)
        calls = split_calls(self.name, args, kwargs)
        if self._fills_fields:
            calls = starmap(self._with_fields, calls)
        futures: TaskFutureList[Any] = TaskFutureList(
            submit(task, *call, wait_for, Mapped(index, sources))
            for index, call in enumerate(calls)
        )
        if return_state:
            futures.wait()
            return [future.state for future in futures]  # type: ignore[return-value] # documented above
        return futures

    def with_options(self, /, **options: Unpack[TaskOptions]) -> Self:
        """Return a copy with the given options changed; see `task`."""
        check_options("`Task.with_options`", options, "`@task`")
        return self._copy_with(options)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R_co]: ...
    @overload
    def __get__(
        self: Task[Concatenate[Any, P2], R_co], instance: object, owner: type | None = None
    ) -> Task[P2, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the task bound to an instance, for tasks that are methods."""
        return self._bound_to(instance, owner)


declare_options("`@task`", Task.__init__)


@load_public_with
def _load_transactions() -> None:
    from flowspan import transactions  # noqa: F401, PLC0415 - most programs have none


@overload
def task(fn: Callable[P, R_co], /) -> Task[P, R_co]: ...
@overload
def task(
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R_co]], Task[P, R_co]]: ...
def task(  # noqa: D417 - the options are described one by one
    fn: Callable[..., Any] | None = None, /, **options: Any
) -> Any:
    """Decorate a function, plain or asynchronous, as a task.

    Works with and without parentheses.

    Args:
        fn: The function.
        name: The task's name. Defaults to the function's name.
        description: A description for people. Defaults to the docstring.
        tags: Words on the runs, for people and filters.
        version: The version of the code.
        task_run_name: The name of the runs: a template with parameters in braces ("load-{day}"),
            or a function that returns the name. Defaults to the task's name and a number
            ("load-0").
        retries: The number of retries after a failed attempt; None for no retries.
        retry_delay_seconds: The delay before a retry, in seconds: a number, a list (the last value
            repeats), or a function that maps the number of retries to such a list
            (`exponential_backoff`).
        retry_jitter_factor: The fraction by which a delay may be increased at random.
        retry_condition_fn: Called with (task, run, state) after a failure. The run is retried only
            if it returns true.
        cache_policy: The parts of the cache key by which a stored result is found again
            (`flowspan.cache_policies`). Defaults to inputs, source and flow run. None is the same
            as NO_CACHE.
        cache_key_fn: A function that computes the cache key instead, called with the task context
            and the arguments by parameter name.
        cache_expiration: The time for which a stored result is valid; None for no limit.
        refresh_cache: True to run the task even if there is a stored result, and replace the
            result.
        persist_result: True to store results. None inherits from the calling run. Each of the
            options for caching and storage implies True.
        result_storage: The place of stored results: a path, or a URL supported by fsspec (s3://…).
            None inherits from the calling run.
        result_storage_key: A template of the key under which a result is stored and found again.
            It can use the parameters, the run and the flow run
            ("{parameters[day]}-{task_run.name}").
        result_serializer: The format of stored results: "pickle" (the default), "json",
            "compressed/pickle", "compressed/json", or a serializer. None inherits from the calling
            run.
        cache_result_in_memory: True to keep a stored result in memory as long as its state. False
            to read it each time it is requested from the state.
        timeout_seconds: The timeout of one attempt. A plain function that blocks in a thread
            cannot be interrupted; its run still ends at the deadline, without waiting for the
            function.
        log_prints: True to log the output of `print` as well. None inherits from the calling run.
        on_completion: Hooks called when a run has completed, with (task, run, state). A hook may
            be asynchronous. An exception in a hook does not affect the run.
        on_failure: Hooks called when a run has failed, after the last retry.
        on_running: Hooks called when an attempt starts, before the function is called.
        on_commit: Hooks called with the run's transaction when it is committed; see
            `flowspan.transactions`.
        on_rollback: Hooks called with the run's transaction when it is rolled back.
        viz_return_value: The result to assume in `Flow.visualize`, for flows that use the value.

    Returns:
        The task; without `fn`, a decorator.

    Raises:
        TypeError, ValueError: An option has an invalid value.
    """
    check_options("`@task`", options, "`@task`")
    if fn is None:
        return functools.partial(Task, **options)
    return Task(fn, **options)


def task_input_hash(context: TaskContext, arguments: dict[str, Any]) -> str | None:
    """Return a hash of the task's source and arguments, for use as `cache_key_fn`.

    Args:
        context: The task and its run.
        arguments: The arguments by parameter name.

    Raises:
        HashError: An argument cannot be hashed.
    """
    from flowspan.cache_policies import INPUTS, TASK_SOURCE  # noqa: PLC0415 - rarely needed

    return (INPUTS + TASK_SOURCE).compute_key(context, arguments, {})


__getattr__ = refusing(__name__)
