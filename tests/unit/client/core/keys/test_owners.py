"""Objects whose methods are called, as part of a task's identity or as inputs."""

from __future__ import annotations

import functools
import pickle
from types import MethodType
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped] # untyped
import pytest
from tests.unit.client.core.keys.test_task_identity import POLICIES, key

from flowspan import task
from flowspan.cache_policies import FLOW_PARAMETERS, INPUTS, RUN_ID, TASK_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.cache_policies import CachePolicy


class Loader:
    def __init__(self, table: Any) -> None:
        self.table = table

    def load(self, day: str) -> Any:
        return self.table, day

    def rows(self, day: str) -> Any:
        yield self.table, day

    def of_this(this, self: str) -> Any:  # noqa: N805 - the subject of the test
        return this.table, self

    def of_two(self, day: str, other: str) -> Any:
        return self.table, day, other

    def __getitem__(self, day: str) -> Any:
        return self.table, day

    of_m = functools.partialmethod(of_two, "m")
    of_n = functools.partialmethod(of_m, "n")


class Calling:
    def __init__(self, fn: Any) -> None:
        self.fn = fn

    def __call__(self, day: str) -> Any:
        return self.fn(day)


class Slotted:
    __slots__ = ("fn",)

    def __init__(self, fn: Any) -> None:
        self.fn = fn

    def __call__(self, day: str) -> Any:
        return self.fn(day)


class Derived(functools.partial):  # type: ignore[type-arg] # any type
    pass


def plain(day: str, **others: Any) -> Any:
    return day, others


def with_class(table: Any) -> Any:
    """Return a task whose class holds the data that other makers store in an object."""

    class Local:
        held = table

        @classmethod
        def load(cls, day: str) -> Any:
            return cls.held, day

    return Local


def wrapping(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


def named(fn: Any) -> Any:
    return task(name="load")(fn)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "bound": lambda table: named(Loader(table).load),
    "partial": lambda table: named(functools.partial(Loader(table).load)),
    "partial of all": lambda table: named(functools.partial(Loader(table).load, "m")),
    "partial by keyword": lambda table: named(functools.partial(Loader(table).load, day="m")),
    "partial of a partial": lambda table: named(Derived(functools.partial(Loader(table).load))),
    "derived partial": lambda table: named(Derived(Loader(table).load)),
    "partialmethod": lambda table: named(Loader(table).of_m),
    "nested partialmethod": lambda table: named(Loader(table).of_n),
    "self by keyword": lambda table: named(functools.partial(plain, self=table)),
    "object with a method": lambda table: named(Calling(Loader(table).load)),
    "slotted object": lambda table: named(Slotted(Loader(table).load)),
    "partial of an object": lambda table: named(functools.partial(Calling(Loader(table).load))),
    "method of a partial": lambda table: named(
        MethodType(functools.partial(Calling(Loader(table).load)), "m")
    ),
    "method of a method": lambda table: named(MethodType(Loader(table).load, "m")),
    "another parameter is self": lambda table: named(Loader(table).of_this),
    "wrapped": lambda table: named(wrapping(Loader(table).load)),
    "wrapped partial": lambda table: named(wrapping(functools.partial(Loader(table).load))),
    "generator": lambda table: named(Loader(table).rows)._collected,
    "partial of a generator": lambda table: named(functools.partial(Loader(table).rows))._collected,
    "item": lambda table: named(functools.partial(Loader(table).__getitem__)),
    "method of a builtin": lambda table: named([table].count),
    "partial of a builtin": lambda table: named(functools.partial([table].count)),
    "class method": lambda table: named(with_class(table).load),
    "partial of a class method": lambda table: named(functools.partial(with_class(table).load)),
}


def calls(kind: str) -> tuple[str, ...]:
    if kind in {"partial of all", "partial by keyword", "nested partialmethod"}:
        return ()
    return () if kind.startswith("method of a ") and "builtin" not in kind else ("m",)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_objects_tell_tasks_apart(policy: CachePolicy, kind: str) -> None:
    tables = ["a", "b", 1, 1.0, True, ["a"], {"a": 1}, Loader("a"), Loader("b"), len]
    make, args = MAKERS[kind], calls(kind)
    tasks = [make(table) for table in tables]
    keys = [key(policy, each, args=args) for each in tasks]
    if kind == "partial of all" and policy == INPUTS:
        assert set(keys) == {None}  # Such a task has no inputs.
        return
    assert None not in keys
    assert len(set(keys)) == len(tables)
    assert keys == [key(policy, each, args=args) for each in tasks]
    assert keys == [key(policy, make(table), args=args) for table in tables]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_copy_in_another_process_is_the_same_task(policy: CachePolicy, kind: str) -> None:
    load = MAKERS[kind]("a")
    copied = pickle.loads(cloudpickle.dumps(load))  # noqa: S301 - pickled by this test
    args = calls(kind)
    assert key(policy, load, args=args) == key(policy, copied, args=args)


def test_an_object_can_be_left_out_wherever_it_is() -> None:
    kinds = ["bound", "partial", "partialmethod", "nested partialmethod", "generator"]
    for policy in (INPUTS - "self", INPUTS - "self" + RUN_ID):
        for kind in kinds:
            keys = [key(policy, MAKERS[kind](table), args=calls(kind)) for table in "ab"]
            assert len(set(keys)) == 1


def test_a_parameter_named_self_counts() -> None:
    load = MAKERS["another parameter is self"]("a")
    assert key(INPUTS, load, "m") != key(INPUTS, load, "n")


def test_an_object_is_asked_for_nothing() -> None:
    class Owner:
        def __getattr__(self, name: str) -> Any:
            if name in {"__self__", "_is_coroutine_marker"}:
                raise AssertionError(f"{name} was asked for")
            raise AttributeError(name)

        def __call__(self, day: str) -> str:
            return day

    assert key(INPUTS, named(Owner()))


class Counting:
    """Changes its own attributes with each call; the test changes them as well."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.calls = 0
        self.seen: list[Any] = []

    def load(self, day: str) -> Any:
        self.calls += 1
        self.count(day)
        self.last_day = day
        return self.table, day

    def count(self, day: str) -> None:
        self.seen.append(day)


class CountingItself(Counting):
    def __call__(self, day: str) -> Any:
        self.calls += 1
        self.seen.append(day)
        self.last_day = day
        return self.table, day


@pytest.mark.parametrize("policy", [TASK_SOURCE, RUN_ID, FLOW_PARAMETERS], ids=repr)
@pytest.mark.parametrize("take", [lambda of: of.load, lambda of: of], ids=["bound", "object"])
def test_what_a_method_changes_hides_no_other_attribute(policy: CachePolicy, take: Any) -> None:
    owner = CountingItself("a")
    load = named(take(owner))
    before = key(policy, load)
    take(owner)("m")
    assert key(policy, load) == before
    owner.table = "b"
    changed = key(policy, load)
    assert changed != before
    take(owner)("m")
    assert key(policy, load) == changed
    assert key(policy, named(take(CountingItself("a")))) == before
    assert not load.code.first_seen.local
