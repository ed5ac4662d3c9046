"""Cache policies: the computation of cache keys for the results of tasks.

Policies are values: equal if they have the same class and the same settings.

If a task is called with a cache key that has a stored result, it does not run: the run ends as
Cached with that result. Policies are combined (`INPUTS + RUN_ID`), and inputs are excluded by name
(`INPUTS - "verbose"`). The policies of this module never give two tasks the same key: the task
identity (`core.keys.task_identity`) is always a part of it. Keys from a function are used as they
are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from flowspan.core.definition import Definition
from flowspan.core.keys.hashing import stable_hash
from flowspan.core.keys.task_identity import identity_of, is_owner_of, owner_of
from flowspan.core.transactions import IsolationLevel
from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path
    from typing import Self

    from flowspan.core.result_options import TaskContext
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


@dataclass(repr=False)
class CachePolicy:
    """Base class of cache policies: subclasses implement `compute_key`.

    Attributes:
        key_storage: A separate folder for the keys: a path or a URL; None stores them with the
            results.
        isolation_level: READ_COMMITTED (the same as None), or SERIALIZABLE: the key is locked while
            the task runs, so that only one of several concurrent runs computes the result.
        lock_manager: The lock manager for SERIALIZABLE.
    """

    key_storage: str | Path | None = None
    isolation_level: IsolationLevel | str | None = None
    lock_manager: LockManager | None = None

    has_no_keys: ClassVar[bool] = False

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Compute the cache key.

        Args:
            task_ctx: The task and its run; None if the key is computed manually, without a run.
            inputs: The task's arguments by parameter name.
            flow_parameters: The arguments of the calling flow; empty outside of flows.
            **kwargs: Reserved.

        Returns:
            The key; None to neither look up nor store the result.

        Raises:
            HashError: The inputs cannot be hashed.
        """
        raise NotImplementedError

    def configure(
        self,
        key_storage: str | Path | None = None,
        lock_manager: LockManager | None = None,
        isolation_level: IsolationLevel | str | None = None,
    ) -> Self:
        """Return a copy with other settings; see the class. None leaves a setting unchanged."""
        fresh = copy.copy(self)
        for name, value in vars(self).items():
            if type(value) is list:
                setattr(fresh, name, list(value))
        if key_storage is not None:
            fresh.key_storage = key_storage
        if lock_manager is not None:
            fresh.lock_manager = lock_manager
        if isolation_level is not None:
            IsolationLevel(isolation_level)  # raises ValueError for an invalid level
            fresh.isolation_level = isolation_level
        return fresh

    @staticmethod
    def from_cache_key_fn(cache_key_fn: Callable[..., str | None]) -> CacheKeyFnPolicy:
        """Return a policy whose keys a function computes."""
        return CacheKeyFnPolicy(cache_key_fn=cache_key_fn)

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Combine two policies: the key changes if either policy's key does.

        Raises:
            ValueError: They have conflicting settings.
        """
        if not isinstance(other, CachePolicy):
            return NotImplemented
        if isinstance(other, _None):
            return self
        return CompoundCachePolicy(policies=[self, other])._configured_as(self, other)

    def __sub__(self, name: str) -> CachePolicy:
        """Exclude an input; no-op if the policy does not use inputs.

        Raises:
            TypeError: The name is not a string.
        """
        _check_name(name)
        return self

    @property
    def is_of_one_run(self) -> bool:
        """True if no other run can have the same key."""
        return any(isinstance(policy, RunId) for policy in self._parts())

    def _parts(self) -> list[CachePolicy]:
        return self.policies if isinstance(self, CompoundCachePolicy) else [self]

    def _configured_as(self, *others: CachePolicy) -> Self:
        for name in ("key_storage", "isolation_level", "lock_manager"):
            values = [getattr(each, name) for each in others if getattr(each, name) is not None]
            if any(not _is_alike(value, values[0]) for value in values):
                raise ValueError(f"policies with different {name} cannot be added")
            if values:
                setattr(self, name, values[0])
        return self


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a parameter must be a string, not {name!r}")


def _is_alike(value: Any, other: Any) -> bool:
    """Return True for equal settings; only strings and paths are compared by equality."""
    return value is other or (is_instance(value, (str, PurePath)) and bool(value == other))


@dataclass(repr=False)
class _None(CachePolicy):
    """A policy without keys: results are neither looked up nor stored."""

    has_no_keys: ClassVar[bool] = True

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        return None

    def __add__(self, other: CachePolicy) -> CachePolicy:
        return other

    def __repr__(self) -> str:
        return "NO_CACHE"


@dataclass(repr=False)
class CacheKeyFnPolicy(CachePolicy):
    """A policy whose keys a function computes.

    Attributes:
        cache_key_fn: Called with the task context and the arguments by parameter name; returns the
            key, or None for no caching. If it is None, there are no keys.
    """

    cache_key_fn: Callable[..., str | None] | None = None

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return the result of the function."""
        return None if self.cache_key_fn is None else self.cache_key_fn(task_ctx, inputs)


@dataclass(repr=False)
class CompoundCachePolicy(CachePolicy):
    """A combination of policies, created by adding them.

    Attributes:
        policies: The policies. Compound ones are replaced by their parts, and all `Inputs` by a
            single one at the end, which excludes the names that any of them excludes. Policies
            without a key are ignored; if all are, there is no key.
    """

    policies: list[CachePolicy] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = [part for policy in self.policies for part in policy._parts()]  # noqa: SLF001 - of the same class
        self.policies = [part for part in parts if not isinstance(part, Inputs)]
        inputs = [part for part in parts if isinstance(part, Inputs)]
        if inputs:
            left_out = sorted({name for part in inputs for name in part.exclude})
            self.policies.append(Inputs(exclude=left_out))

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Compute one key from the keys of all policies."""
        excluded = [each.exclude for each in self.policies if isinstance(each, Inputs)]
        if excluded and excluded[0] and task_ctx is not None:
            # Exclude them from the task identity in the other policies, too.
            task_ctx = copy.copy(task_ctx)
            task_ctx.excluded = frozenset(excluded[0])
        keys = [
            policy.compute_key(task_ctx, inputs, flow_parameters, **kwargs)
            for policy in self.policies
        ]
        found = [key for key in keys if key is not None]
        return hash_objects(*found) if found else None

    def __sub__(self, name: str) -> CachePolicy:
        _check_name(name)
        if not any(isinstance(policy, Inputs) for policy in self.policies):
            return self
        less = CompoundCachePolicy(policies=[*self.policies, Inputs(exclude=[name])])
        return less._configured_as(self)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.policies))


@dataclass(repr=False)
class Inputs(CachePolicy):
    """A policy whose key is a hash of the arguments, including defaults; None without arguments.

    Attributes:
        exclude: The names of excluded parameters.
    """

    exclude: list[str] = field(default_factory=list)

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return a hash of the arguments.

        Raises:
            HashError: One of them cannot be hashed; the message names it.
        """
        if not inputs:
            return None
        names = [name for name in sorted(inputs) if name not in self.exclude]
        hashes = [_hash_of_input(name, inputs[name], task_ctx) for name in names]
        fn = getattr(getattr(task_ctx, "task", None), "fn", None)
        owner_is_input = is_owner_of(inputs.get("self"), fn)
        identity = _identity(task_ctx, self.exclude, owner_is_input=owner_is_input)
        return hash_objects(identity, names, hashes)

    def __sub__(self, name: str) -> CachePolicy:
        _check_name(name)
        return Inputs(exclude=[*self.exclude, name])._configured_as(self)

    def __repr__(self) -> str:
        return "INPUTS" + "".join(f" - {name!r}" for name in self.exclude)


@dataclass(repr=False)
class TaskSource(CachePolicy):
    """A policy whose key is a hash of the task function's source (not of functions that it calls).

    The hash includes the source as it was when the function was decorated, and the bytecode: a
    change of either changes the key.
    """

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return a hash of the source and of the bytecode; None without a task."""
        if task_ctx is None:
            return None
        return hash_objects(_identity(task_ctx), task_ctx.task.code.source)

    def __repr__(self) -> str:
        return "TASK_SOURCE"


@dataclass(repr=False)
class RunId(CachePolicy):
    """A policy whose key is the id of the flow run (or of the task run, outside of flows)."""

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return a hash of the id; None without a run."""
        if task_ctx is None:
            return None
        run = task_ctx.task_run
        return hash_objects(_identity(task_ctx), str(run.flow_run_id or run.id))

    def __repr__(self) -> str:
        return "RUN_ID"


@dataclass(repr=False)
class FlowParameters(CachePolicy):
    """A policy whose key is a hash of the arguments of the calling flow."""

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return a hash of the flow's arguments; None if there are none.

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
NONE = _None()
NO_CACHE = _None()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID


def hash_objects(*values: Any) -> str:
    """Return a hash of values that is the same in every process, as 32 hex digits.

    Raises:
        HashError: A part of them cannot be hashed; the message names its type.
    """
    return stable_hash(values)


def _identity(
    context: TaskContext | None, without: Collection[str] = (), *, owner_is_input: bool = False
) -> str:
    """Return the task identity, which keeps the keys of different tasks apart."""
    if context is None or not isinstance(getattr(context, "task", None), Definition):
        return ""  # a key that is computed manually
    excluded: frozenset[str] = getattr(context, "excluded", frozenset())
    left_out = excluded | set(without)
    return identity_of(context.task, without=left_out, owner_is_input=owner_is_input)


def _hash_of_input(
    name: str, value: Any, context: TaskContext | None, what: str = "parameter"
) -> str:
    try:
        return hash_objects(value)
    except HashError as error:
        advice = (
            f"Exclude it (cache_policy=INPUTS - {name!r}), or set a cache_key_fn."
            if what == "parameter"
            else "Set a cache_key_fn."
        )
        task = getattr(context, "task", None)
        of = f"of task {task.name!r} " if isinstance(task, Definition) else ""
        raise HashError(
            f"The key {of}cannot be computed from its {what} {name!r}: {error}. {advice}"
        ) from error


def parts_of_inputs(arguments: Mapping[str, Any], fn: Any) -> dict[str, Any]:
    """Return the inputs of a call: its arguments, and the object if the task is a bound method.

    Args:
        arguments: The arguments by parameter name. One named "self" takes precedence over the
            object.
        fn: The function of the task.
    """
    owner = owner_of(fn)
    if owner is None or is_instance(owner, type):
        return dict(arguments)
    return {"self": owner, **arguments}
