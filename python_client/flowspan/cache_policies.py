"""Cache policies: what the key of a task's result is made of.

A task that is called again under a key that a stored result has is not run: its run ends as Cached
with that result. Policies are added (`INPUTS + RUN_ID`), and inputs are taken out by name
(`INPUTS - "verbose"`). The policies of this module never give two tasks the same key: what the task
is (`flowspan.core.identity`) is always a part of it. Keys that a function makes are taken as they
are.
"""

from __future__ import annotations

import copy
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from flowspan.core.hashing import stable_hash
from flowspan.core.identity import identity_of, is_owner_of, owner_of
from flowspan.core.transactions import IsolationLevel
from flowspan.core.values import is_instance
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path
    from typing import Self

    from flowspan.core.keeping import TaskContext
    from flowspan.locking.protocol import LockManager

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NONE",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CacheKeyFnPolicy",
    "CachePolicy",
    "CompoundCachePolicy",
    "FlowParameters",
    "Inputs",
    "RunId",
    "TaskSource",
]


class CachePolicy:
    """Makes the key of a task's result. Derive from it and write `compute_key`.

    Attributes:
        key_storage: A folder of its own for the keys: a path or a URL; None keeps them with the
            results.
        isolation_level: READ_COMMITTED (also None), or SERIALIZABLE: then the key is locked while
            the task runs, so that of several who need the result only one computes it.
        lock_manager: What locks it.
    """

    key_storage: str | Path | None = None
    isolation_level: IsolationLevel | None = None
    lock_manager: LockManager | None = None

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The key.

        Args:
            task_ctx: The task and its run.
            inputs: The task's arguments by the names of its parameters.
            flow_parameters: Those of the flow that calls it; empty outside flows.
            **kwargs: Nothing yet.

        Returns:
            The key; None if the result is not to be looked for, nor found later.

        Raises:
            HashError: The key cannot be made of such inputs.
        """
        raise NotImplementedError

    def configure(
        self,
        key_storage: str | Path | None = None,
        lock_manager: LockManager | None = None,
        isolation_level: IsolationLevel | str | None = None,
    ) -> Self:
        """A copy with other settings; see the class. What is None stays as it is."""
        fresh = copy.copy(self)
        if key_storage is not None:
            fresh.key_storage = key_storage
        if lock_manager is not None:
            fresh.lock_manager = lock_manager
        if isolation_level is not None:
            fresh.isolation_level = IsolationLevel(isolation_level)
        return fresh

    @staticmethod
    def from_cache_key_fn(cache_key_fn: Callable[..., str | None]) -> CacheKeyFnPolicy:
        """The policy whose key a function makes."""
        return CacheKeyFnPolicy(cache_key_fn=cache_key_fn)

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Both together: the key changes when either does.

        Raises:
            ValueError: They are configured differently.
        """
        if not isinstance(other, CachePolicy):
            return NotImplemented
        if isinstance(other, _NoCache):
            return self
        return CompoundCachePolicy((*self._parts(), *other._parts()))._configured_as(self, other)

    def __sub__(self, name: str) -> CachePolicy:
        """The same without one of the inputs.

        Raises:
            TypeError: No input is part of this policy's key.
        """
        raise TypeError(f"{type(self).__name__} is not made of inputs; nothing can be taken out")

    @property
    def is_of_one_run(self) -> bool:
        """True if no other run can have the same key."""
        return any(isinstance(policy, RunId) for policy in self._parts())

    def _parts(self) -> tuple[CachePolicy, ...]:
        return self.policies if isinstance(self, CompoundCachePolicy) else (self,)

    def _configured_as(self, *others: CachePolicy) -> Self:
        for name in ("key_storage", "isolation_level", "lock_manager"):
            values = [getattr(each, name) for each in others if getattr(each, name) is not None]
            if any(not _is_alike(value, values[0]) for value in values):
                raise ValueError(f"policies with different {name} cannot be added")
            if values:
                setattr(self, name, values[0])
        return self


def _is_alike(value: Any, other: Any) -> bool:
    """True for the same setting; only texts and paths of the user's are asked for equality."""
    return value is other or (is_instance(value, (str, PurePath)) and bool(value == other))


class _NoCache(CachePolicy):
    """No key: nothing is looked for, nor found later."""

    is_no_cache = True

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        return None

    def __add__(self, other: CachePolicy) -> CachePolicy:
        return other

    def __repr__(self) -> str:
        return "NO_CACHE"


class CacheKeyFnPolicy(CachePolicy):
    """The key is what a function returns.

    Args:
        cache_key_fn: Called with the task context and the arguments by parameter; returns the key,
            or None for no caching.
    """

    def __init__(self, cache_key_fn: Callable[..., str | None]) -> None:
        self.cache_key_fn = cache_key_fn

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """What the function returns."""
        return self.cache_key_fn(task_ctx, inputs)


class CompoundCachePolicy(CachePolicy):
    """Several policies together; made by adding them.

    Args:
        policies: The policies. Those that give no key are left out; if none does, there is none.
    """

    def __init__(self, policies: Iterable[CachePolicy]) -> None:
        self.policies = tuple(policies)

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """One key of the keys of all."""
        excluded = {
            name
            for policy in self.policies
            if isinstance(policy, Inputs)
            for name in policy.exclude
        }
        if excluded:  # also from what the other policies know of the task
            task_ctx = copy.copy(task_ctx)
            task_ctx.excluded = frozenset(excluded)
        keys = [
            policy.compute_key(task_ctx, inputs, flow_parameters, **kwargs)
            for policy in self.policies
        ]
        found = [key for key in keys if key is not None]
        return hash_objects(*found) if found else None

    def __sub__(self, name: str) -> CachePolicy:
        if not any(isinstance(policy, Inputs) for policy in self.policies):
            raise TypeError(f"{self!r} is not made of inputs; nothing can be taken out")
        parts = (part - name if isinstance(part, Inputs) else part for part in self.policies)
        return CompoundCachePolicy(parts)._configured_as(self)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.policies))


class Inputs(CachePolicy):
    """The key is made of the arguments, defaults included.

    Args:
        exclude: The names of parameters that are left out.
    """

    def __init__(self, exclude: Iterable[str] = ()) -> None:
        self.exclude = tuple(exclude)

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the arguments.

        Raises:
            HashError: One of them cannot be hashed; the message names it.
        """
        names = [name for name in sorted(inputs) if name not in self.exclude]
        hashes = [_hash_of_input(name, inputs[name], task_ctx) for name in names]
        owner_is_input = is_owner_of(inputs.get("self"), task_ctx.task.fn)
        identity = _identity(task_ctx, self.exclude, owner_is_input=owner_is_input)
        return hash_objects(identity, names, hashes)

    def __sub__(self, name: str) -> CachePolicy:
        if not isinstance(name, str):
            raise TypeError(f"the name of a parameter must be text, not {name!r}")
        return Inputs((*self.exclude, name))._configured_as(self)

    def __repr__(self) -> str:
        return "INPUTS" + "".join(f" - {name!r}" for name in self.exclude)


class TaskSource(CachePolicy):
    """The key is made of the source of the task's function (and of nothing that it calls).

    That is the source as it was when the function was decorated, and the bytecode: a change of
    either makes another key.
    """

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the source and of the bytecode."""
        return hash_objects(_identity(task_ctx), task_ctx.task.code.source)

    def __repr__(self) -> str:
        return "TASK_SOURCE"


class RunId(CachePolicy):
    """The key is the id of the flow run (of the task run itself outside flows)."""

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the id."""
        run = task_ctx.task_run
        return hash_objects(_identity(task_ctx), str(run.flow_run_id or run.id))

    def __repr__(self) -> str:
        return "RUN_ID"


class FlowParameters(CachePolicy):
    """The key is made of the parameters of the flow that calls the task."""

    def compute_key(
        self,
        task_ctx: TaskContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the parameters; None where there are none.

        Raises:
            HashError: One of them cannot be hashed.
        """
        if not flow_parameters:
            return None
        hashes = {
            name: _hash_of_input(name, flow_parameters[name], task_ctx, "flow's parameter")
            for name in flow_parameters
        }
        return hash_objects(_identity(task_ctx), hashes)

    def __repr__(self) -> str:
        return "FLOW_PARAMETERS"


INPUTS = Inputs()
TASK_SOURCE = TaskSource()
RUN_ID = RunId()
FLOW_PARAMETERS = FlowParameters()
NONE = _NoCache()
NO_CACHE = NONE
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID


def hash_objects(*values: Any) -> str:
    """A hash of values that is the same in every process, as 32 hex digits.

    Raises:
        HashError: A part of them cannot be hashed; the message says of which type.
    """
    return stable_hash(values)


def _identity(
    context: TaskContext, without: Collection[str] = (), *, owner_is_input: bool = False
) -> str:
    """Return what keeps the keys of different tasks apart."""
    excluded: frozenset[str] = getattr(context, "excluded", frozenset())
    left_out = excluded | set(without)
    return identity_of(context.task, without=left_out, owner_is_input=owner_is_input)


def _hash_of_input(name: str, value: Any, context: TaskContext, what: str = "parameter") -> str:
    try:
        return hash_objects(value)
    except HashError as error:
        advice = (
            f"Take it out (cache_policy=INPUTS - {name!r}), or give a cache_key_fn."
            if what == "parameter"
            else "Give a cache_key_fn."
        )
        raise HashError(
            f"The key of task {context.task.name!r} cannot be made of its {what} {name!r}: "
            f"{error}. {advice}"
        ) from error


def parts_of_inputs(arguments: Mapping[str, Any], fn: Any) -> dict[str, Any]:
    """The inputs of a call: its arguments, and the object whose method the task is.

    Args:
        arguments: By the names of parameters. One that is called "self" goes before the object.
        fn: The function of the task.
    """
    owner = owner_of(fn)
    if owner is None or is_instance(owner, type):
        return dict(arguments)
    return {"self": owner, **arguments}
