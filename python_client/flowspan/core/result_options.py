"""Options for results (persistence, caching and storage), and the stage that applies them.

Most tasks have none of these options and run in flows without them. Their runs have no
`ResultHandler` and no `RESULTS` among their stages.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from flowspan.core.number_options import LONGEST_WAIT_S
from flowspan.core.stages import Stage, add_stage
from flowspan.core.values.annotations import NotSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowspan.core.definition import Definition
    from flowspan.core.engine import EngineIO
    from flowspan.core.run import Run
    from flowspan.core.states import State
    from flowspan.core.steps import Steps
    from flowspan.core.transactions import TransactionNode

REFERENCE_ENCODING = "flowspan.result-reference+json"
"""The encoding of the payload that refers a state to its stored result."""

SERIALIZER_NAMES = ("pickle", "json", "compressed/pickle", "compressed/json")
"""The short names of the serializers in `flowspan.serializers`."""

OWN_SERIALIZERS: dict[str, Any] = {}
"""The `Serializer` subclasses that programs have defined, by their short names."""

_SWITCHES_ON = (
    "cache_key_fn",
    "cache_expiration",
    "result_storage",
    "result_storage_key",
    "result_serializer",
)
"""The options that switch persistence on unless persist_result is given."""

_OTHERS = ("persist_result", "refresh_cache")


class ResultOptions:
    """The result options of a flow or task; None inherits from the caller.

    Attributes:
        persist: True if results are stored.
        storage: The result storage: a path, a URL or a ResultStore.
        serializer: The serializer: an instance or a short name.
        in_memory: True if the state of a run also holds a result that is stored.
        storage_key: A template of the key under which the result is stored.
        policy: The cache policy; None if none was given.
        key_fn: A function that computes the key; it takes precedence over the policy.
        is_uncached: True if results are neither looked up nor found by later runs.
        expires_after_s: The time until a cached result expires, in seconds; None for never.
        refresh: True if a cached result is replaced instead of used.
    """

    __slots__ = (
        "expires_after_s",
        "in_memory",
        "is_uncached",
        "key_fn",
        "persist",
        "policy",
        "refresh",
        "serializer",
        "storage",
        "storage_key",
    )

    def __init__(self, options: Mapping[str, Any]) -> None:
        policy = options.get("cache_policy", NotSet)
        has_no_keys = bool(getattr(type(policy), "has_no_keys", False))
        is_chosen = policy is not NotSet and policy is not None and not has_no_keys
        self.persist: bool | None = options.get("persist_result")
        if self.persist is None and (
            is_chosen or any(options.get(name) is not None for name in _SWITCHES_ON)
        ):
            self.persist = True
        self.storage = options.get("result_storage")
        self.serializer = options.get("result_serializer")
        self.in_memory = options.get("cache_result_in_memory") is not False
        self.storage_key: str | None = options.get("result_storage_key") or None
        self.policy: Any = None if policy is NotSet else policy
        self.key_fn: Callable[..., str | None] | None = options.get("cache_key_fn")
        self.is_uncached = self.key_fn is None and (
            has_no_keys or (policy is None and self.storage_key is None)
        )
        expiration: timedelta | None = options.get("cache_expiration")
        self.expires_after_s = (
            None if expiration is None else min(max(expiration.total_seconds(), 0), LONGEST_WAIT_S)
        )
        self.refresh: bool = bool(options.get("refresh_cache"))


NO_OPTIONS = ResultOptions({})
"""The options of a flow or task without result options."""


class ResultPolicy:
    """The result settings of a run, which its calls inherit. Immutable.

    Attributes:
        persist: True if results are stored.
        storage: The result storage, as in `ResultOptions`; None for the configured one.
        serializer: The serializer, as in `ResultOptions`.
        attempt_cache: In a flow with retries, the results of its earlier attempts; see
            `flowspan.results.attempt_cache`.
    """

    __slots__ = ("attempt_cache", "persist", "serializer", "storage")

    def __init__(
        self,
        *,
        persist: bool = False,
        storage: Any = None,
        serializer: Any = None,
        attempt_cache: Any = None,
    ) -> None:
        self.persist = persist
        self.storage = storage
        self.serializer = serializer
        self.attempt_cache = attempt_cache

    @property
    def is_set(self) -> bool:
        """True if the calls of a run need the policy."""
        return (
            self.persist
            or self.attempt_cache is not None
            or self.storage is not None
            or self.serializer is not None
        )

    def with_options(self, options: ResultOptions) -> ResultPolicy:
        """Return the policy of a run with these options, and of its calls."""
        return ResultPolicy(
            persist=self.persist if options.persist is None else options.persist,
            storage=self.storage if options.storage is None else options.storage,
            serializer=self.serializer if options.serializer is None else options.serializer,
            attempt_cache=self.attempt_cache,
        )

    def with_attempt_cache(self, attempt_cache: Any) -> ResultPolicy:
        """Return a copy with another cache of earlier attempts."""
        return ResultPolicy(
            persist=self.persist,
            storage=self.storage,
            serializer=self.serializer,
            attempt_cache=attempt_cache,
        )


class TaskContext:
    """The argument of cache policies and of `cache_key_fn`: a task run and its inputs.

    Attributes:
        task: The task.
        task_run: The run of the task: `id`, `name`, `flow_run_id`, `attempt`, ….
        parameters: The arguments by parameter name.
        excluded: The names of parameters that the key leaves out (`INPUTS - "name"`).
    """

    __slots__ = ("excluded", "parameters", "task", "task_run")

    def __init__(self, task: Definition, task_run: Run, parameters: dict[str, Any]) -> None:
        self.task = task
        self.task_run = task_run
        self.parameters = parameters
        self.excluded: frozenset[str] = frozenset()


class ResultHandler(Protocol):
    """The handler of the result of one run. The generators yield steps, like the engine.

    Attributes:
        reference: The reference to the stored result, for the reported state; None without one.
        transaction: The run's own transaction.
        is_transactional: True if the calls of the run become a part of its transaction.
        looks_up: False for a generator whose values are consumed one by one: its result is not
            looked up.
    """

    reference: bytes | None
    transaction: TransactionNode
    is_transactional: bool
    looks_up: bool

    def note_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record the place and the number of the call, for a flow with retries.

        Args:
            args: The positional arguments; futures in them may be pending.
            kwargs: The keyword arguments; futures in them may be pending.
        """

    def look_up(self) -> Steps[State | None]:
        """Look for a result of an earlier run.

        Returns:
            The state in which the run ends without having begun; None if it must begin.
        """

    def attempt_failed(self) -> Steps[None]:
        """Roll back the tasks of a failed attempt; another attempt follows."""

    def finish(self, state: State) -> Steps[State]:
        """Store the result of the run; not called if `look_up` returned a state.

        Args:
            state: The terminal state that is about to be entered, whatever its type.

        Returns:
            The state to enter instead.
        """

    def settle(self, state: State) -> Steps[None]:
        """Make the transaction of the ended run a part of the enclosing one, or roll it back.

        Args:
            state: The terminal state that was entered.
        """


class ResultStage(Stage):
    """Passes the points of a run to its result handler. Only runs that have one have the stage."""

    def before_run(self, run: Run, _io: EngineIO) -> Steps[State | None]:
        """Look for a result of an earlier run."""
        return _handler_of(run).look_up()

    def before_retry(self, run: Run, _io: EngineIO) -> Steps[None]:
        """Roll back the tasks of the failed attempt."""
        return _handler_of(run).attempt_failed()

    def before_end(self, run: Run, _io: EngineIO, state: State) -> Steps[State | None]:
        """Store the result."""
        return _handler_of(run).finish(state)

    def after_end(self, run: Run, _io: EngineIO, state: State) -> Steps[None]:
        """Settle the transaction of the run."""
        return _handler_of(run).settle(state)

    def broken_off(self, run: Run) -> None:
        """Release the lock of the key."""
        _handler_of(run).transaction.release()


RESULTS = ResultStage()


def handle_result(run: Run, handler: ResultHandler) -> None:
    """Attach a result handler to a run, from now on."""
    run.result_handler = handler
    add_stage(run, RESULTS)


def _handler_of(run: Run) -> ResultHandler:
    assert run.result_handler is not None  # noqa: S101 - `handle_result` adds both
    return run.result_handler


def result_options(options: Mapping[str, Any]) -> ResultOptions | None:
    """Return the result options among the options of `@flow` or `@task`.

    Returns:
        The options; None if none is given.

    Raises:
        TypeError, ValueError: An option has an invalid value.
    """
    in_memory = options.get("cache_result_in_memory")
    if (
        (in_memory is None or in_memory is True)
        and options.get("cache_policy", NotSet) is NotSet
        and not any(options.get(name) is not None for name in (*_SWITCHES_ON, *_OTHERS))
    ):
        return None
    _check(options)
    return ResultOptions(options)


def _check(options: Mapping[str, Any]) -> None:
    _check_type(options, "persist_result", bool)
    _check_type(options, "refresh_cache", bool)
    _check_type(options, "cache_result_in_memory", bool)
    _check_type(options, "result_storage_key", str)
    _check_type(options, "cache_expiration", timedelta)
    key_fn = options.get("cache_key_fn")
    if key_fn is not None and not callable(key_fn):
        raise TypeError(f"cache_key_fn must be a function, not {key_fn!r}")
    policy = options.get("cache_policy", NotSet)
    if policy is not NotSet and policy is not None and not hasattr(policy, "compute_key"):
        raise TypeError(f"cache_policy must be one of flowspan.cache_policies, not {policy!r}")
    storage = options.get("result_storage")
    is_path = isinstance(storage, str) or hasattr(storage, "__fspath__")
    if storage is not None and not is_path and not hasattr(storage, "find"):
        raise TypeError(f"result_storage must be a path, a URL or a store, not {storage!r}")
    _check_serializer(options.get("result_serializer"))


def _check_serializer(serializer: Any) -> None:
    names = (*SERIALIZER_NAMES, *OWN_SERIALIZERS)
    if isinstance(serializer, str) and serializer not in names:
        known = ", ".join(map(repr, names))
        raise ValueError(f"there is no result_serializer {serializer!r}; there are {known}")
    if serializer is None or isinstance(serializer, str):
        return
    if isinstance(serializer, type) or not hasattr(serializer, "dumps"):
        raise TypeError(
            f"result_serializer must be a name or an object with dumps and loads, not "
            f"{serializer!r}"
        )


def _check_type(options: Mapping[str, Any], name: str, kind: type) -> None:
    value = options.get(name)
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {value!r}")
