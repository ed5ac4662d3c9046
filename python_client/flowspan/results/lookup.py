"""Looking results up: in the store by the key of the cache policy, and in what a flow kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.cache_policies import (
    DEFAULT,
    NO_CACHE,
    CacheKeyFnPolicy,
    hash_objects,
    parts_of_inputs,
)
from flowspan.core.failures import error_text
from flowspan.core.keeping import NO_OPTIONS, TaskContext
from flowspan.core.steps import Do
from flowspan.core.transactions import IsolationLevel
from flowspan.core.traversal import is_plain
from flowspan.exceptions import ConfigError, ResultUnreadable
from flowspan.results.kept import Same
from flowspan.results.naming import key_from_template
from flowspan.results.store import store_for

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable

    from flowspan.cache_policies import CachePolicy
    from flowspan.core.engine import World
    from flowspan.core.keeping import Keeping
    from flowspan.core.runs import Run
    from flowspan.core.transactions import TransactionNode
    from flowspan.results.store import ResultStore

    Found = Generator[float | Do | None, Any, tuple[Any] | None]

_WARNING = 30
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5


class LookUp:
    """Looks for the result of one run.

    Attributes:
        key: The key of the cache policy; None if there is none.
        kept_key: The key under which a flow with retries keeps the result; None if it does not.
        flow_attempt: The attempt of the flow in which the run was called.
        found_how: For people, where the result was found.
        is_stored: Whether it was found in the store.
    """

    def __init__(self, world: World, run: Run, keeping: Keeping) -> None:
        self.key: str | None = None
        self.kept_key: Hashable | None = None
        self.flow_attempt = run.flow_run.attempt if run.flow_run is not None else 1
        self.found_how = ""
        self.is_stored = False
        self._world = world
        self._run = run
        self._keeping = keeping
        self._options = run.definition.keeping or NO_OPTIONS
        self._policy = self._made_policy()
        self._store: ResultStore | None = None

    @property
    def store(self) -> ResultStore:
        """The store, opened when it is first needed.

        Raises:
            Exception: It cannot be: a library is missing, the URL is wrong.
        """
        if self._store is None:
            store = store_for(self._keeping.storage, self._keeping.serializer)
            policy = self._policy
            if policy is not None and policy.key_storage is not None:
                store = store.with_metadata_in(policy.key_storage)
            self._store = store
        return self._store

    @property
    def storage_key(self) -> str:
        """The key under which the result is stored: that of the policy, or the run's id."""
        return self.key or self._run.record.id

    def look_up(self, transaction: TransactionNode) -> Found:
        """Looks for the result.

        Args:
            transaction: The run's; it keeps the lock of the key, if there is one.

        Returns:
            The result in a tuple; None if there is none.

        Raises:
            ConfigError: The key is to be locked, and there is nothing that could.
        """
        if self._keeping.persist:
            try:
                self.key = yield Do(self._made_key, (), is_user_code=False)
            except Exception as error:  # noqa: BLE001 - may be anything of user code
                self._warn(f"It is run without a cache: {error_text(error)}")
            if self.key is not None:
                yield from self._lock(transaction)
                if not self._options.refresh:
                    found: tuple[Any] | None = yield Do(
                        self._found_in_store, (), is_user_code=False
                    )
                    if found is not None:
                        self.found_how, self.is_stored = f"Found under the key {self.key}.", True
                        return found
        if self._keeping.kept is not None and self.key is None:
            return (yield from self._look_up_kept())
        return None

    def _look_up_kept(self) -> Found:
        args, kwargs = self._run.args, self._run.kwargs or {}
        if is_plain(args) and is_plain(kwargs.values()):
            key = self._made_kept_key(args, kwargs)
        else:
            key = yield Do(self._made_kept_key, (args, kwargs), is_user_code=False)
        self.kept_key = key
        if key is None or self._options.refresh:
            return None
        kept: tuple[Any] | None = self._keeping.kept.take(key, self.flow_attempt)
        if kept is not None:
            self.found_how = "Kept from an earlier attempt of the flow run."
            self._keeping.kept.put(key, kept[0], self.flow_attempt)
        return kept

    def _made_policy(self) -> CachePolicy | None:
        options = self._options
        if options.key_fn is not None:
            return CacheKeyFnPolicy(options.key_fn)
        policy: CachePolicy | None = options.policy
        if policy is None and options.storage_key is None:
            return DEFAULT
        return policy

    def _made_key(self) -> str | None:
        definition: Any = self._run.definition
        arguments = definition.parameters.bind(self._run.args, self._run.kwargs or {})
        if self._policy is None:
            return key_from_template(self._options.storage_key or "", self._run, arguments)
        inputs = parts_of_inputs(arguments, getattr(definition.fn, "__self__", None))
        context = TaskContext(definition, self._run, inputs)
        flow_run = self._run.flow_run
        of_flow = dict(flow_run.arguments or {}) if flow_run is not None else {}
        key = self._policy.compute_key(context, inputs, of_flow)
        if key is not None and not isinstance(key, str):
            raise TypeError(f"the key must be text or None, not {key!r}")
        return key or None

    def _made_kept_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
        """The key for a flow's earlier attempts; None if the result is not to be kept."""
        options = self._options
        if options.policy is NO_CACHE:
            return None
        if self._keeping.persist and (options.policy is not None or options.key_fn is not None):
            return None  # the policy said that there is no key
        if is_plain(args) and is_plain(kwargs.values()) and bytearray not in map(type, args):
            inputs: Hashable = tuple((type(each), each) for each in args)
            names = tuple((name, type(each), repr(each)) for name, each in sorted(kwargs.items()))
            return (Same(self._run.definition), inputs, names)
        try:
            return (Same(self._run.definition), hash_objects(args, kwargs))
        except Exception:  # noqa: BLE001 - nobody has asked for a hash: an input may raise anything
            return None

    def _found_in_store(self) -> tuple[Any] | None:
        assert self.key is not None  # noqa: S101 - asked before
        record = self.store.find(self.key, self._warn)
        if record is None:
            return None
        try:
            return (self.store.load(record),)
        except ResultUnreadable as error:
            self._warn(f"What is in the cache is passed over: {error}")
            return None

    def _lock(self, transaction: TransactionNode) -> Generator[float, Any, None]:
        """Locks the key, where the policy says so; waits for it in turns that can be broken off."""
        policy, key, holder = self._policy, self.key, self._run.record.id
        if policy is None or policy.isolation_level is not IsolationLevel.SERIALIZABLE:
            return
        locks = policy.lock_manager
        if locks is None or key is None:
            raise ConfigError(
                "The isolation level SERIALIZABLE needs something that locks: "
                "cache_policy.configure(lock_manager=MemoryLockManager(), …)."
            )
        wait_s = _FIRST_WAIT_S
        while not locks.acquire_lock(key, holder, acquire_timeout=0):
            yield wait_s
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        transaction.unlock = lambda: locks.release_lock(key, holder)

    def _warn(self, message: str) -> None:
        self._world.note(self._run, _WARNING, message, None)
