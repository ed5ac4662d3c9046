"""Options for results: persistence, caching and storage, as flows and tasks give them.

Most tasks give none and run in flows that give none. Their runs have no `ResultHandler`, and the
engine spends one comparison on it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from flowspan.core.classification import judge_error
from flowspan.core.number_options import LONGEST_WAIT_S
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
"""The encoding of the payload with which a state says where its result is."""

SERIALIZER_NAMES = ("pickle", "json", "compressed/pickle", "compressed/json")
"""The short names of serializers; `flowspan.serializers` has them."""

OWN_SERIALIZERS: dict[str, Any] = {}
"""The subclasses of `Serializer` that programs have written, by their short names."""

_SWITCHES_ON = (
    "cache_key_fn",
    "cache_expiration",
    "result_storage",
    "result_storage_key",
    "result_serializer",
)
"""The options that switch persistence on where persist_result says nothing."""

_OTHERS = ("persist_result", "refresh_cache")


class ResultOptions:
    """What a flow or a task says of its results; None stands for "as the caller".

    Attributes:
        persist: Whether they are stored.
        storage: Where: a path, a URL or a ResultStore.
        serializer: How: an instance or a short name.
        in_memory: Whether the state of a run holds a result that is stored, too.
        storage_key: A template of the key under which it is stored.
        policy: The cache policy; None if none was given.
        key_fn: A function that makes the key; it wins over the policy.
        is_uncached: Whether it says that a result is neither looked for nor found later.
        expires_after_s: How long a stored result may be found in the cache, in seconds.
        refresh: Whether what is found is not taken, but replaced.
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
"""Of a flow or task that says nothing."""


class ResultPolicy:
    """How the results of a run and of what it calls are kept: handed down, and never changed.

    Attributes:
        persist: Whether they are stored.
        storage: Where; see `ResultOptions`. None stands for the settings.
        serializer: How, likewise.
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
        """Whether what a run calls has to know of it."""
        return (
            self.persist
            or self.attempt_cache is not None
            or self.storage is not None
            or self.serializer is not None
        )

    def with_options(self, options: ResultOptions) -> ResultPolicy:
        """What holds for a run with these options and for what it calls."""
        return ResultPolicy(
            persist=self.persist if options.persist is None else options.persist,
            storage=self.storage if options.storage is None else options.storage,
            serializer=self.serializer if options.serializer is None else options.serializer,
            attempt_cache=self.attempt_cache,
        )

    def with_attempt_cache(self, attempt_cache: Any) -> ResultPolicy:
        """The same with another memory of earlier attempts."""
        return ResultPolicy(
            persist=self.persist,
            storage=self.storage,
            serializer=self.serializer,
            attempt_cache=attempt_cache,
        )


class TaskContext:
    """What a cache policy and a `cache_key_fn` are told of.

    Attributes:
        task: The task.
        task_run: Its run: `id`, `name`, `flow_run_id`, `attempt`, ….
        parameters: The arguments by the names of parameters.
        excluded: The names of parameters that are left out of the key (`INPUTS - "name"`).
    """

    __slots__ = ("excluded", "parameters", "task", "task_run")

    def __init__(self, task: Definition, task_run: Run, parameters: dict[str, Any]) -> None:
        self.task = task
        self.task_run = task_run
        self.parameters = parameters
        self.excluded: frozenset[str] = frozenset()


class ResultHandler(Protocol):
    """Keeps the result of one run. Its generators yield what the driver is to do, as the engine.

    Attributes:
        reference: Where the result is, for the state that is reported; None if nowhere.
        transaction: The run's own transaction.
        is_transactional: Whether what the run calls becomes a part of it.
        looks_up: Whether `look_up` looks for anything: not for a generator that is gone through.
    """

    reference: bytes | None
    transaction: TransactionNode
    is_transactional: bool
    looks_up: bool

    def note_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note which call this is, where and when it is made, for a flow with retries.

        Args:
            args: The positional arguments; futures in them need not have ended.
            kwargs: The keyword arguments, likewise.
        """

    def look_up(self) -> Steps[State | None]:
        """Looks whether there is a result already.

        Returns:
            The state in which the run ends, without having begun; None if it is to begin.
        """

    def attempt_failed(self) -> Steps[None]:
        """An attempt failed and another one follows: what is inside of it is rolled back."""

    def finish(self, state: State) -> Steps[State]:
        """Keeps what came of the run; not called if `look_up` gave a state.

        Args:
            state: The terminal state that is about to be entered, whatever it is.

        Returns:
            The state to enter instead.
        """

    def settle(self, state: State) -> Steps[None]:
        """The run has ended: its transaction becomes a part of the one around it.

        Args:
            state: The terminal state that was entered.
        """


def look_up(run: Run, io: EngineIO, result_handler: ResultHandler) -> Steps[State | None]:
    """The engine's part of `ResultHandler.look_up`: what breaks it off ends the run."""
    try:
        found: State | None = yield from result_handler.look_up()
    except BaseException as error:  # noqa: BLE001 - cancelled, or broken off
        return judge_error(error, run.record.id, io.now_ns())
    return found


def finish(run: Run, io: EngineIO, result_handler: ResultHandler, state: State) -> Steps[State]:
    """The engine's part of `ResultHandler.finish`: what breaks it off ends the run."""
    try:
        ended: State = yield from result_handler.finish(state)
    except BaseException as error:  # noqa: BLE001 - broken off
        return judge_error(error, run.record.id, io.now_ns())
    return ended


def result_options(options: Mapping[str, Any]) -> ResultOptions | None:
    """What the options of `@flow` or `@task` say of results.

    Returns:
        None if they say nothing.

    Raises:
        TypeError, ValueError: An option has a value that it may not have.
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
