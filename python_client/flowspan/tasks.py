"""Tasks: `@task`."""

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
from flowspan.drivers.calls.span_links import Mapped, mapped_sources
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
    """The options of `@task`, which says what they mean; `Task` has their defaults."""

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
    """Return the tags of a task as a set; changing it changes those of the next runs."""
    if of.live_tags is None:

        def changed(tags: Iterable[str]) -> None:
            of.run_tags = checked_tags(set(tags))
            of.options = {**of.options, "tags": of.run_tags}

        of.live_tags = Tags(of.run_tags, changed)
    return cast("Tags", of.live_tags)


def _policy_of(of: Any) -> CachePolicy | None:
    """Return the cache policy that counts, as Prefect would."""
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
    """A function whose calls are task runs. Made by `@task`, which says what the options mean."""

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

    def take_options(self, options: dict[str, Any]) -> None:  # noqa: D102 - as its base
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
        """The name of the function, and a hash of its source: the same for all copies."""
        return f"{function_name(self.fn)}-{self.code.text[:8]}"

    @property
    def source_code(self) -> str | None:
        """The source of the function; None where there is none."""
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
        """Submits the task once for each element of the iterables among the arguments.

        Args:
            *args: The function's arguments. Iterables (not texts and bytes) are gone through side
                by side and must be of the same length; `unmapped(…)` and everything else is given
                to each call as it is. A future or state that is an argument itself is waited for,
                and its result mapped.
            **kwargs: The function's, likewise; and `wait_for=[…]` and `return_state=True` as in
                `submit`.

        Returns:
            The futures in the order of the elements; with return_state, their terminal states.

        Raises:
            MappingMissingIterable: There is no iterable among the arguments.
            MappingLengthMismatch: The iterables are not of the same length.
            UpstreamFailed: The run behind a future or state that is mapped did not complete.
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
        """A copy with other options; those that are not given stay as they are. See `task`."""
        check_options("`Task.with_options`", options, "`@task`")
        return self._copy_with(options)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Task[P, R_co]: ...
    @overload
    def __get__(
        self: Task[Concatenate[Any, P2], R_co], instance: object, owner: type | None = None
    ) -> Task[P2, R_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """The task with its function bound, for tasks that are methods."""
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
    """Makes a task of a function, plain or asynchronous; with and without parentheses.

    Args:
        fn: The function.
        name: The task's name; the function's by default.
        description: For people; the docstring by default.
        tags: Labels of its runs, for people and filters.
        version: The version of the code.
        task_run_name: How its runs are named: a template with parameters in braces ("load-{day}"),
            or a function that returns the name; else they are counted ("load-0").
        retries: How many times a failed run is tried again; None never.
        retry_delay_seconds: How long to wait before that: a number, a list whose last is repeated,
            or a function of the number of retries that returns such a list (`exponential_backoff`).
        retry_jitter_factor: By which part of itself a delay may grow by chance.
        retry_condition_fn: Called with (task, run, state) after a failure; only a true answer
            retries.
        cache_policy: What the key of a result is made of, by which it is found when the task is
            called again (`flowspan.cache_policies`); of inputs, source and flow run by default.
            None is as NO_CACHE: nothing is looked for.
        cache_key_fn: Makes the key instead: called with the task context and the arguments by
            parameter.
        cache_expiration: How long a stored result may be found.
        refresh_cache: Whether the task is run although there is a result, which is then replaced.
        persist_result: Whether results are stored; None does as the calling run does. Any of the
            options of caching and storing switches it on.
        result_storage: Where they are stored: a path, or a URL that fsspec knows (s3://…); None
            does as the calling run does.
        result_storage_key: A template of the key under which a result is stored, and found again,
            with the parameters, the run and the flow run in it
            ("{parameters[day]}-{task_run.name}").
        result_serializer: How they are written: "pickle" (the default), "json",
            "compressed/pickle", "compressed/json", or a serializer; None does as the calling run
            does.
        cache_result_in_memory: Whether a result that is stored stays in memory, too, as long as
            its state does; else it is read each time that the state is asked for it.
        timeout_seconds: How long one attempt may take. A plain function that blocks in a thread
            cannot be interrupted: its run ends at the deadline all the same, without waiting for
            it.
        log_prints: Whether prints are logged too; None does as the calling run does.
        on_completion: Functions to call when a run has completed: each is given (task, run, state),
            may be asynchronous, and changes nothing about the run if it raises.
        on_failure: Likewise when a run has failed, after the last retry.
        on_running: Likewise when an attempt begins, before the function is called.
        on_commit: Functions to call with the run's transaction when that is committed; see
            `flowspan.transactions`.
        on_rollback: Likewise when it is rolled back.
        viz_return_value: What it is taken to give where a flow is drawn (`Flow.visualize`), for
            flows that look into it.

    Returns:
        The task; without `fn`, a decorator.

    Raises:
        TypeError, ValueError: An option has a value that it may not have.
    """
    check_options("`@task`", options, "`@task`")
    if fn is None:
        return functools.partial(Task, **options)
    return Task(fn, **options)


def task_input_hash(context: TaskContext, arguments: dict[str, Any]) -> str | None:
    """A `cache_key_fn`: a hash of the task's source and its arguments.

    Args:
        context: The task and its run.
        arguments: The arguments by parameter.

    Raises:
        HashError: An argument cannot be hashed.
    """
    from flowspan.cache_policies import INPUTS, TASK_SOURCE  # noqa: PLC0415 - rarely needed

    return (INPUTS + TASK_SOURCE).compute_key(context, arguments, {})


__getattr__ = refusing(__name__)
