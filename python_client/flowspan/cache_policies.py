"""Cache policies: what the key of a task's result is made of.

Policies are values: those of one class that say the same are equal.

A task that is called again under a key that a stored result has is not run: its run ends as Cached
with that result. Policies are added (`INPUTS + RUN_ID`), and inputs are taken out by name
(`INPUTS - "verbose"`). The policies of this module never give two tasks the same key: what the task
is (`core.keys.task_identity`) is always a part of it. Keys that a function makes are taken as they
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
    """Makes the key of a task's result. Derive from it and write `compute_key`.

    Attributes:
        key_storage: A folder of its own for the keys: a path or a URL; None keeps them with the
            results.
        isolation_level: READ_COMMITTED (also None), or SERIALIZABLE: then the key is locked while
            the task runs, so that of several who need the result only one computes it.
        lock_manager: What locks it.
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
        """The key.

        Args:
            task_ctx: The task and its run; None where a key is made by hand, without a run.
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
        for name, value in vars(self).items():
            if type(value) is list:
                setattr(fresh, name, list(value))
        if key_storage is not None:
            fresh.key_storage = key_storage
        if lock_manager is not None:
            fresh.lock_manager = lock_manager
        if isolation_level is not None:
            IsolationLevel(isolation_level)  # refuses what is none
            fresh.isolation_level = isolation_level
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
        if isinstance(other, _None):
            return self
        return CompoundCachePolicy(policies=[self, other])._configured_as(self, other)

    def __sub__(self, name: str) -> CachePolicy:
        """The same without one of the inputs; the same if it is not made of inputs.

        Raises:
            TypeError: The name is not text.
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
        raise TypeError(f"the name of a parameter must be text, not {name!r}")


def _is_alike(value: Any, other: Any) -> bool:
    """True for the same setting; only texts and paths of the user's are asked for equality."""
    return value is other or (is_instance(value, (str, PurePath)) and bool(value == other))


@dataclass(repr=False)
class _None(CachePolicy):
    """No key: nothing is looked for, nor found later."""

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
    """The key is what a function returns.

    Attributes:
        cache_key_fn: Called with the task context and the arguments by parameter; returns the key,
            or None for no caching. Without one there is no key.
    """

    cache_key_fn: Callable[..., str | None] | None = None

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """What the function returns."""
        return None if self.cache_key_fn is None else self.cache_key_fn(task_ctx, inputs)


@dataclass(repr=False)
class CompoundCachePolicy(CachePolicy):
    """Several policies together; made by adding them.

    Attributes:
        policies: The policies, without compound ones: those are replaced by their parts. All
            `Inputs` are one, the last, which leaves out what any of them does. Those that give no
            key are left out; if none does, there is none.
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
        """One key of the keys of all."""
        excluded = [each.exclude for each in self.policies if isinstance(each, Inputs)]
        if excluded and excluded[0] and task_ctx is not None:
            # Also from what the other policies know of the task.
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
    """The key is made of the arguments, defaults included; there is none for a task without any.

    Attributes:
        exclude: The names of parameters that are left out.
    """

    exclude: list[str] = field(default_factory=list)

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the arguments.

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
    """The key is made of the source of the task's function (and of nothing that it calls).

    That is the source as it was when the function was decorated, and the bytecode: a change of
    either makes another key.
    """

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the source and of the bytecode; None without a task."""
        if task_ctx is None:
            return None
        return hash_objects(_identity(task_ctx), task_ctx.task.code.source)

    def __repr__(self) -> str:
        return "TASK_SOURCE"


@dataclass(repr=False)
class RunId(CachePolicy):
    """The key is the id of the flow run (of the task run itself outside flows)."""

    def compute_key(
        self,
        task_ctx: TaskContext | None,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A hash of the id; None without a run."""
        if task_ctx is None:
            return None
        run = task_ctx.task_run
        return hash_objects(_identity(task_ctx), str(run.flow_run_id or run.id))

    def __repr__(self) -> str:
        return "RUN_ID"


@dataclass(repr=False)
class FlowParameters(CachePolicy):
    """The key is made of the parameters of the flow that calls the task."""

    def compute_key(
        self,
        task_ctx: TaskContext | None,
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
NONE = _None()
NO_CACHE = _None()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID


def hash_objects(*values: Any) -> str:
    """A hash of values that is the same in every process, as 32 hex digits.

    Raises:
        HashError: A part of them cannot be hashed; the message says of which type.
    """
    return stable_hash(values)


def _identity(
    context: TaskContext | None, without: Collection[str] = (), *, owner_is_input: bool = False
) -> str:
    """Return what keeps the keys of different tasks apart."""
    if context is None or not isinstance(getattr(context, "task", None), Definition):
        return ""  # a key that is made by hand
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
            f"Take it out (cache_policy=INPUTS - {name!r}), or give a cache_key_fn."
            if what == "parameter"
            else "Give a cache_key_fn."
        )
        task = getattr(context, "task", None)
        of = f"of task {task.name!r} " if isinstance(task, Definition) else ""
        raise HashError(
            f"The key {of}cannot be made of its {what} {name!r}: {error}. {advice}"
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
