from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan import cache_policies, task
from flowspan.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    hash_objects,
)
from flowspan.core.transactions import IsolationLevel
from flowspan.exceptions import HashError
from flowspan.locking.memory import MemoryLockManager

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeRun:
    """A run reduced to the attributes that policies read."""

    def __init__(self, run_id: str = "t", flow_run_id: str | None = "f") -> None:
        self.id = run_id
        self.flow_run_id = flow_run_id


class Context:
    def __init__(self, fn: Callable[..., Any], run: FakeRun | None = None) -> None:
        self.task = task(fn)
        self.task_run = run or FakeRun()


def one(x: int) -> int:
    return x


def other(x: int) -> int:
    return x


def key(
    policy: CachePolicy,
    inputs: dict[str, Any] | None = None,
    *,
    fn: Callable[..., Any] = one,
    run: FakeRun | None = None,
    flow: dict[str, Any] | None = None,
) -> str | None:
    context: Any = Context(fn, run)
    return policy.compute_key(context, {"x": 1} if inputs is None else inputs, flow or {})


def test_what_changes_a_key() -> None:
    assert key(INPUTS) == key(INPUTS, run=FakeRun("u", "g"), flow={"p": 1})
    assert key(INPUTS) != key(INPUTS, {"x": 2})
    assert key(RUN_ID) == key(RUN_ID, {"x": 2})
    assert key(RUN_ID) != key(RUN_ID, run=FakeRun("t", "g"))
    assert key(RUN_ID, run=FakeRun("t", None)) != key(RUN_ID, run=FakeRun("u", None))
    assert key(TASK_SOURCE) == key(TASK_SOURCE, {"x": 2})
    assert key(FLOW_PARAMETERS, flow={"p": 1}) != key(FLOW_PARAMETERS, flow={"p": 2})
    assert key(FLOW_PARAMETERS) is None
    assert key(NO_CACHE) is None
    assert len({key(DEFAULT), key(DEFAULT, {"x": 2}), key(DEFAULT, run=FakeRun("t", "g"))}) == 3


@pytest.mark.parametrize("policy", [INPUTS, RUN_ID, TASK_SOURCE, DEFAULT], ids=repr)
def test_two_tasks_never_share_a_key(policy: CachePolicy) -> None:
    assert key(policy) != key(policy, fn=other)


def test_adding_and_taking_out() -> None:
    assert repr(DEFAULT - "b" - "a") == "TASK_SOURCE + RUN_ID + INPUTS - 'a' - 'b'"
    policy = INPUTS + TASK_SOURCE - "x"
    assert key(policy) == key(policy, {"x": 2})
    assert key(policy) != key(policy, {"y": 2})
    assert NONE == NO_CACHE
    assert NO_CACHE + INPUTS is INPUTS
    assert INPUTS + NO_CACHE is INPUTS
    assert key(FLOW_PARAMETERS + INPUTS) is not None
    assert key(FLOW_PARAMETERS + FLOW_PARAMETERS) is None
    for nothing in (RUN_ID, TASK_SOURCE + RUN_ID, NO_CACHE):
        assert nothing - "x" is nothing
    for policy in (INPUTS, RUN_ID, DEFAULT):
        with pytest.raises(TypeError, match="must be a string"):
            policy - 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        INPUTS + "x"  # type: ignore[operator]


def test_a_policy_of_ones_own() -> None:
    class Even(CachePolicy):
        def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kw: Any) -> Any:
            return "even" if inputs["x"] % 2 == 0 else None

    policy = Even()
    assert [key(policy, {"x": x}) for x in range(3)] == ["even", None, "even"]
    both = policy + INPUTS
    assert key(both, {"x": 2}) != key(both, {"x": 4})
    made = CachePolicy.from_cache_key_fn(lambda context, inputs: context.task.name)
    assert isinstance(made, CacheKeyFnPolicy)
    assert key(made) == "one"


def test_settings_go_along() -> None:
    locks = MemoryLockManager()
    policy = INPUTS.configure(
        key_storage="keys", lock_manager=locks, isolation_level="SERIALIZABLE"
    )
    assert INPUTS.lock_manager is None
    for each in (policy, policy + RUN_ID, RUN_ID + policy, policy - "x", policy + RUN_ID - "x"):
        assert each.key_storage == "keys"
        assert each.lock_manager is locks
        assert each.isolation_level == IsolationLevel.SERIALIZABLE
    with pytest.raises(ValueError, match="different key_storage"):
        policy + RUN_ID.configure(key_storage="others")
    with pytest.raises(ValueError, match="SOMETIMES"):
        INPUTS.configure(isolation_level="SOMETIMES")


@pytest.mark.parametrize("policy", [INPUTS, DEFAULT], ids=repr)
def test_the_parameter_that_cannot_be_hashed_is_named(policy: CachePolicy) -> None:
    with pytest.raises(HashError, match=r"parameter 'x'.*_thread.lock.*INPUTS - 'x'"):
        key(policy, {"a": 1, "x": [threading.Lock()]})


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    x: Any
    y: Any = None


VALUES = [
    *[None, True, 1, 1.0, "1", b"1", 1j, (1,), [1], {1}, frozenset({1}), {1: 1}, {"1": 1}],
    *[Point(1), Point(1, 1), Point("1"), Colour.RED, Colour, one, other, [[1]], [1, [1]]],
]


def test_different_values_have_different_hashes() -> None:
    assert len({hash_objects(value) for value in VALUES}) == len(VALUES)


HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inside: (
        st.lists(inside)
        | st.dictionaries(st.text(), inside)
        | st.tuples(inside)
        | st.builds(Point, inside)
    ),
    max_leaves=8,
)


@given(first=HASHABLE, second=HASHABLE)
def test_equal_hashes_are_of_equal_values(first: Any, second: Any) -> None:
    assert (hash_objects(first) == hash_objects(second)) == (repr(first) == repr(second))


@given(items=st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_a_dictionary_does_not_matter(items: dict[str, int]) -> None:
    backwards = dict(reversed(items.items()))
    assert hash_objects(items, set(items)) == hash_objects(backwards, set(backwards))


def test_what_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(HashError, match="contains itself"):
        hash_objects(circle)


HASHES = """
import datetime, decimal, pathlib, uuid
from flowspan.cache_policies import hash_objects
print(hash_objects(
    {"a", "b", "c"}, {"k": frozenset("xyz")}, datetime.date(2026, 1, 1), decimal.Decimal("1.0"),
    pathlib.PurePosixPath("/a"), uuid.UUID(int=1), slice(1), range(3), Exception("pickled"),
))
"""


def test_hashes_are_the_same_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", HASHES],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_function_without_source_has_its_code() -> None:
    made: dict[str, Any] = {}
    exec("def f(x): return x + 1\ndef g(x): return x + 2", made)  # noqa: S102 - has no source
    assert key(TASK_SOURCE, fn=made["f"]) != key(TASK_SOURCE, fn=made["g"])
    assert cache_policies.hash_objects(made["f"]) != cache_policies.hash_objects(made["g"])
