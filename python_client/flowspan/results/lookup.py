"""The lookup of results: in the store by cache key, and in the attempt cache of a flow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowspan.cache_policies import (
    DEFAULT,
    NO_CACHE,
    CacheKeyFnPolicy,
    hash_objects,
    parts_of_inputs,
)
from flowspan.core.failures import reason_of
from flowspan.core.keys.task_identity import identity_of
from flowspan.core.result_options import NO_OPTIONS, TaskContext
from flowspan.core.steps import CallBlocking, Sleep
from flowspan.core.transactions import IsolationLevel
from flowspan.core.values.inspection import exact_text, is_instance, type_name
from flowspan.core.values.recording import recorded
from flowspan.core.values.traversal import is_plain
from flowspan.core.waits import LOCK, NOTHING
from flowspan.exceptions import ConfigError, ResultUnreadable
from flowspan.results.attempt_cache import Call, call_site
from flowspan.results.key_templates import key_from_template
from flowspan.results.store import store_for

if TYPE_CHECKING:
    from collections.abc import Hashable

    from flowspan.cache_policies import CachePolicy
    from flowspan.core.engine import EngineIO
    from flowspan.core.result_options import ResultPolicy
    from flowspan.core.run import Run
    from flowspan.core.steps import Steps
    from flowspan.core.transactions import TransactionNode
    from flowspan.results.store import ResultStore

_WARNING = 30
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5


class LookUp:
    """The lookup of one run's result.

    Attributes:
        key: The cache key; None without one.
        attempt_cache_call: The call identity under which a flow with retries caches the result;
            None if it does not.
        flow_attempt: The attempt of the flow in which the run was called.
        flow_run_id: The run of that flow; None outside of flows.
        found_how: A message for people that says where the result was found.
        is_stored: True if the result was found in the store.
    """

    def __init__(self, io: EngineIO, run: Run, result_policy: ResultPolicy) -> None:
        self.key: str | None = None
        self.attempt_cache_call: Call | None = None
        flow_run = run.flow_run
        if run.definition.is_flow:
            flow_run = run.parent.flow_run if run.parent is not None else None
        self.flow_attempt = flow_run.attempt if flow_run is not None else 1
        self.flow_run_id = flow_run.record.id if flow_run is not None else None
        self.found_how = ""
        self.is_stored = False
        self._io = io
        self._run = run
        self._results = result_policy
        self._options = run.definition.result_policy or NO_OPTIONS
        self._policy = self._made_policy()
        self._store: ResultStore | None = None
        self._place: Hashable = None
        self._call: Call | None = None
        self._number = 0

    @property
    def store(self) -> ResultStore:
        """The store, opened on first use.

        Raises:
            Exception: It cannot be opened: a library is missing, or the URL is wrong.
        """
        if self._store is None:
            store = store_for(self._results.storage, self._results.serializer)
            policy = self._policy
            if policy is not None and policy.key_storage is not None:
                store = store.with_metadata_in(policy.key_storage)
            self._store = store
        return self._store

    @property
    def storage_key(self) -> str:
        """The key under which the result is stored: the cache key, or the run's id."""
        return self.key or self._run.record.id

    def look_up(self, transaction: TransactionNode) -> Steps[tuple[Any] | None]:
        """Look for the result.

        Args:
            transaction: The run's transaction; it releases the lock of the key, if there is one.

        Returns:
            The result in a tuple; None if no result was found.

        Raises:
            ConfigError: The key must be locked, but there is no lock manager.
        """
        if self._results.persist and not self._run.definition.is_flow:
            try:
                self.key = yield CallBlocking(self._made_key)
            except Exception as error:  # noqa: BLE001 - user code may raise anything
                self._warn(f"The task runs without a cache: {reason_of(error)}")
            if self.key is not None:
                yield from self._lock(transaction)
                if not self._options.refresh:
                    found: tuple[Any] | None = yield CallBlocking(self._found_in_store)
                    if found is not None:
                        self.found_how, self.is_stored = f"Found under the key {self.key}.", True
                        return found
        if self._results.attempt_cache is not None and self.key is None:
            return (yield from self._look_up_in_attempt_cache())
        return None

    def note_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record the identity of this call, at its call site, in a flow with retries.

        Args:
            args: The positional arguments; futures in them may be unfinished.
            kwargs: The keyword arguments; futures in them may be unfinished.
        """
        kept, run = self._results.attempt_cache, self._run
        try:
            identity = identity_of(run.definition, kept.first_seen)
        except Exception:  # noqa: BLE001 - an implicit hash: a closure may raise anything
            if not run.definition.is_flow:
                return
            identity = run.definition.name
        self._place = (_place_in(run.parent), identity, call_site())
        if is_plain(args) and is_plain(kwargs.values()) and bytearray not in map(type, args):
            names = tuple((name, _plain(each)) for name, each in sorted(kwargs.items()))
            key = (self._place, tuple(map(_plain, args)), names)
            self._call = Call(key, kept.count(key, self.flow_attempt), is_exact=True)
        else:
            self._number = kept.count(self._place, self.flow_attempt)

    def warn_once_of_iterating(self) -> None:
        """Warn, once, if the task's options ask for a result that an iterated generator lacks."""
        definition: Any = self._run.definition
        options, code = self._options, definition.code
        if not options.persist or options.is_uncached or code.warned_of_iterating:
            return
        code.warned_of_iterating = True
        self._warn(
            f"The values of task {definition.name!r} are neither stored nor looked up, although "
            "its options ask for it, because it is an iterated generator. Call its submit(): "
            "the result is the list of its values. Or let it return a list."
        )

    @property
    def place(self) -> Hashable:
        """The call site for the calls of this run; unique if this call's inputs are unknown."""
        return object() if self._call is None else self._call[:2]

    def _look_up_in_attempt_cache(self) -> Steps[tuple[Any] | None]:
        args, kwargs = self._run.args, self._run.kwargs or {}
        if self._call is None and self._place is not None:
            self._call = yield CallBlocking(self._made_call, (args, kwargs))
        if self._call is None or not self._is_kept:
            return None
        self.attempt_cache_call = self._call
        if self._options.refresh:
            return None
        kept: tuple[Any] | None = self._results.attempt_cache.take(self._call, self.flow_attempt)
        if kept is not None:
            self.found_how = "Reused from an earlier attempt of the flow run."
        return kept

    @property
    def _is_kept(self) -> bool:
        options = self._options
        if options.is_uncached:
            return False
        # Otherwise the policy decided that there is no key.
        return not self._results.persist or (options.policy is None and options.key_fn is None)

    def _made_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """Return the identity of this call; None if its inputs cannot be hashed."""
        try:
            key: Hashable = (self._place, hash_objects(args, kwargs))
        except Exception:  # noqa: BLE001 - an implicit hash: an input may raise anything
            if not self._run.definition.is_flow:
                return None
            # Even a subflow with an unhashable input, such as a connection, must not run twice.
            items = [*enumerate(args), *sorted(kwargs.items())]
            key = (self._place, *((name, _hash_or_record(each)) for name, each in items))
        if self._run.is_submitted or self._run.definition.is_async:
            return Call(key, self._number, is_exact=False)
        return Call(key, self._results.attempt_cache.count(key, self.flow_attempt), is_exact=True)

    def _made_policy(self) -> CachePolicy | None:
        """Return the policy that computes the key; None if `result_storage_key` is a template."""
        options = self._options
        if options.is_uncached:
            return NO_CACHE
        if options.storage_key is not None:
            return None
        if options.key_fn is not None:
            return CacheKeyFnPolicy(cache_key_fn=options.key_fn)
        policy: CachePolicy = DEFAULT if options.policy is None else options.policy
        return policy

    def _made_key(self) -> str | None:
        definition: Any = self._run.definition
        arguments = definition.binding.bind(self._run.args, self._run.kwargs or {})
        if self._policy is None:
            return key_from_template(self._options.storage_key or "", self._run, arguments)
        inputs = parts_of_inputs(arguments, definition.fn)
        context = TaskContext(definition, self._run, inputs)
        flow_run = self._run.flow_run
        of_flow = dict(flow_run.arguments or {}) if flow_run is not None else {}
        key = self._policy.compute_key(context, inputs, of_flow)
        self._warn_once_of_local(definition)
        if key is None:
            return None
        if not is_instance(key, str):
            raise TypeError(f"the key must be a string or None, not {key!r}")
        return exact_text(key) or None

    def _warn_once_of_local(self, definition: Any) -> None:
        """Warn, once, if a part of the key cannot be recognized in another process."""
        code = definition.code
        local = code.first_seen.local
        if not local or code.warned or self._policy is None or self._policy.is_of_one_run:
            return
        code.warned = True
        names = ", ".join(map(repr, local))
        self._warn(
            f"Results of task {definition.name!r} are reused in this process only, because its "
            f"key depends on {names} ({'; '.join(local.values())}). Pass what differs between "
            "tasks as an argument that can be hashed, or set a cache_key_fn."
        )

    def _found_in_store(self) -> tuple[Any] | None:
        assert self.key is not None  # noqa: S101 - asked before
        record = self.store.find(self.key, self._warn)
        if record is None:
            return None
        try:
            return (self.store.load(record),)
        except ResultUnreadable as error:
            self._warn(f"The cached result is ignored: {error}")
            return None

    def _lock(self, transaction: TransactionNode) -> Steps[None]:
        """Lock the key if the policy requires it, polling so that the wait can be interrupted."""
        policy, key, holder = self._policy, self.key, self._run.record.id
        if policy is None or policy.isolation_level != IsolationLevel.SERIALIZABLE:
            return
        locks = policy.lock_manager
        if locks is None or key is None:
            raise ConfigError(
                "The isolation level SERIALIZABLE needs a lock manager: "
                "cache_policy.configure(lock_manager=MemoryLockManager(), …)."
            )
        wait_s, span = _FIRST_WAIT_S, self._run.span
        has_waited = False
        while not locks.acquire_lock(key, holder, acquire_timeout=0):
            if span is not None and not has_waited:
                span.waits_for(LOCK, self._io.now_ns())
            has_waited = True
            yield Sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        if span is not None and has_waited:
            span.waits_for(NOTHING, self._io.now_ns())
        transaction.unlock = lambda: locks.release_lock(key, holder)

    def _warn(self, message: str) -> None:
        self._io.note(self._run, _WARNING, message, None)


def _place_in(parent: Run | None) -> Hashable:
    """Return the call site of a parent run; empty for a flow run, which exists once."""
    if parent is None or parent.definition.is_flow:
        return ()
    result_handler: Any = parent.result_handler
    return object() if result_handler is None else result_handler.place


def _hash_or_record(value: Any) -> str:
    """Return a hash of an argument, or its recorded form (data and types) if it has no hash."""
    try:
        return hash_objects(value)
    except Exception:  # noqa: BLE001 - an input may raise anything
        try:
            return json.dumps(recorded(value))
        except Exception:  # noqa: BLE001 - an input may raise anything
            return type_name(type(value))


def _plain(value: Any) -> Hashable:
    """Return a key that distinguishes equal plain values: 1 and True, 0.0 and -0.0."""
    kind = type(value)
    return (kind, repr(value)) if kind in {float, complex} else (kind, value)
