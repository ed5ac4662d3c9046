"""Objects with flows and tasks as methods are never asked for their class."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, task
from flowspan.cache_policies import INPUTS, TASK_SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recorder import Recorder

BOTH = pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])
asked: list[str] = []


class Base:
    def documented(self, x: int = 1) -> int:
        """Gives x.

        Nothing else.
        """
        return x


class Lazy(Base):
    """Loads its target when asked for its class."""

    @property
    def __class__(self) -> Any:
        asked.append("__class__")
        raise RuntimeError("loaded")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __hash__(self) -> int:
        raise RuntimeError("hashed")

    def __bool__(self) -> bool:
        raise RuntimeError("asked for its truth")

    @task
    def get(self, x: int = 1) -> int:
        return x

    @flow
    def report(self, x: int = 1) -> int:
        return x

    def plain(self, x: int = 1) -> int:
        return x

    def documented(self, x: int = 1) -> int:
        return x


@pytest.fixture(autouse=True)
def _unasked() -> None:
    asked.clear()


@pytest.mark.parametrize("name", ["get", "report"])
def test_copies_of_bound_methods(recorder: Recorder, name: str) -> None:
    bound = getattr(Lazy(), name)
    assert bound(2) == 2
    assert bound.with_options(retries=1)(2) == 2
    assert bound.with_options(name="other").with_options(retries=1)(x=3) == 3
    assert bound(2, return_state=True).result() == 2
    assert asked == []


@BOTH
@pytest.mark.parametrize("wrap", [lambda fn: fn, functools.partial], ids=["method", "partial"])
def test_methods_that_are_decorated_when_bound(
    recorder: Recorder, decorator: Any, wrap: Any
) -> None:
    it = decorator(wrap(Lazy().plain))
    assert it(2) == 2
    assert it.description is None
    assert it.with_options(retries=1)(x=3) == 3
    assert asked == []


@BOTH
def test_the_docstring_is_inherited(recorder: Recorder, decorator: Any) -> None:
    assert decorator(Lazy().documented).description == "Gives x.\n\nNothing else."
    assert asked == []


@pytest.mark.parametrize("policy", [INPUTS - "self", TASK_SOURCE], ids=repr)
def test_keys(recorder: Recorder, tmp_path: Path, policy: Any) -> None:
    """Hashing may access an object; an error there must not prevent its tasks from running."""
    options: dict[str, Any] = {"cache_policy": policy, "result_storage": tmp_path}
    bound = Lazy().get.with_options(**options)
    assert [bound(2), bound(2)] == [2, 2]
    again = task(name="plain", **options)(Lazy().plain)
    assert [again(2), again(2)] == [2, 2]


def test_in_a_flow_with_retries(recorder: Recorder) -> None:
    lazy, calls = Lazy(), []

    @flow(retries=1)
    def outer() -> int:
        calls.append(1)
        values = lazy.get(2), lazy.get.submit(3).result(), *lazy.get.map([4]).result()
        if len(calls) == 1:
            raise RuntimeError("once more")
        return sum(values)

    assert outer() == 9
