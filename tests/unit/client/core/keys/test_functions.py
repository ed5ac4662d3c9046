"""Functions, classes and other callables as inputs."""

from __future__ import annotations

import functools
import math
import operator
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.core.keys.bytecode import changed_attributes, changed_names, global_names
from flowspan.core.keys.hashing import stable_hash
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Callable

FACTOR = 1
TABLE = {"factor": 1}
SETTINGS = SimpleNamespace(factor=1)
LOCK = threading.Lock()


class Config:
    factor = 1


def times_factor(value: int) -> int:
    return value * FACTOR


def times_table(value: int) -> int:
    return value * TABLE["factor"]


def times_settings(value: int) -> int:
    return value * SETTINGS.factor  # type: ignore[no-any-return] # an int


def times_config(value: int) -> int:
    return value * Config.factor


def times_nested(value: int) -> list[int]:
    return [times_factor(each) for each in range(value)]


def even(number: int) -> bool:
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    return number != 0 and even(number - 1)


def locked(value: int) -> int:
    with LOCK:
        return value


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, value: int) -> int:
        return value * self.factor

    def times(self, value: int) -> int:
        return value * self.factor

    def plus(self, value: int) -> int:
        return value + self.factor

    @classmethod
    def made(cls) -> Scale:
        return cls(1)

    @staticmethod
    def free(value: int) -> int:
        return value


class OtherScale(Scale):
    pass


def closing(over: Any) -> Callable[[Any], Any]:
    return lambda value: (value, over)


def by_default(factor: Any) -> Callable[[Any], Any]:
    def function(value: Any, factor: Any = factor) -> Any:
        return value * factor

    return function


def by_keyword(factor: Any) -> Callable[[Any], Any]:
    def function(value: Any, *, factor: Any = factor) -> Any:
        return value * factor

    return function


def recursive(first: Any) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        return first if value < 2 else function(value - 1)

    return function


def wrapped(factor: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args) * factor

    return wrapper


def with_attribute(factor: Any) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        return value * function.factor  # type: ignore[attr-defined] # set below

    function.factor = factor  # type: ignore[attr-defined] # under test
    return function


def calling_what_it_wraps(factor: Any) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        return value, factor

    @functools.wraps(function)
    def wrapper(value: Any) -> Any:
        return wrapper.__wrapped__(value)

    return wrapper


def cached_with_attribute(factor: Any) -> Callable[[Any], Any]:
    return functools.lru_cache(with_attribute(factor))


MAKERS = [
    calling_what_it_wraps,
    cached_with_attribute,
    closing,
    by_default,
    by_keyword,
    recursive,
    with_attribute,
]


@pytest.mark.parametrize("make", MAKERS)
def test_functions_are_told_apart_by_what_they_hold(make: Callable[[Any], Any]) -> None:
    values = [1, 1.0, True, "1", [1], {"a": 1}, {"a": 2}, Scale(1), Scale(2), times_factor, even]
    hashes = [stable_hash(make(value)) for value in values]
    assert len(set(hashes)) == len(values)
    assert hashes == [stable_hash(make(value)) for value in values]


DIFFERENT: dict[str, list[Any]] = {
    # All on one line, and so with the same source line.
    "lambdas": [*(lambda v, n=n: v * n for n in (1, 2, 3)), lambda v: v, lambda v: -v],
    "constants": [lambda v: v + 1, lambda v: v + 2, lambda v: v + 1.0, lambda v: v + True],
    "globals": [lambda v: FACTOR + v, lambda v: TABLE[v], lambda v: math.pi + v, lambda v: v],
    "attributes": [lambda v: v.a, lambda v: v.b, lambda v: v.a()],
    "nested code": [lambda v: [x + 1 for x in v], lambda v: [x + 2 for x in v]],
    "nested functions": [lambda: lambda: 1, lambda: lambda: 2],
    "functions": [times_factor, times_table, times_nested, even, odd],
    "methods": [
        *(Scale(1).times, Scale(2).times, Scale(1).plus, OtherScale(1).times),
        *(Scale.times, Scale.made, OtherScale.made, Scale.free),
    ],
    "objects": [Scale(1), Scale(2), OtherScale(1), Scale],
    "partials": [
        *(functools.partial(times_factor), functools.partial(times_factor, 1), times_factor),
        *(functools.partial(times_factor, value=1), functools.partial(even, 1)),
        functools.partial(functools.partial(closing, 1), 2),
    ],
    "builtins": [len, max, [].append, [1].append, str.upper, "a".upper, "b".upper, dict.fromkeys],
    "operators": [operator.itemgetter(1), operator.itemgetter(2), operator.attrgetter("a")],
    "wrapped": [wrapped(1, even), wrapped(2, even), wrapped(1, odd), even],
    "cached": [functools.lru_cache(even), functools.lru_cache(odd), even],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_functions_have_different_hashes(kind: str) -> None:
    functions = DIFFERENT[kind]
    assert len({stable_hash(each) for each in functions}) == len(functions)


def test_partials_of_partials_are_one() -> None:
    nested = functools.partial(functools.partial(closing, 1), 2)
    assert stable_hash(nested) == stable_hash(functools.partial(closing, 1, 2))


@pytest.mark.parametrize(
    ("function", "change"),
    [
        (times_factor, ("FACTOR", 2)),
        (times_nested, ("FACTOR", 2)),
        (times_table, ("TABLE", {"factor": 2})),
        (times_settings, ("SETTINGS", SimpleNamespace(factor=2))),
        (lambda v: FACTOR * v, ("FACTOR", 2)),
        (functools.partial(times_factor, 1), ("FACTOR", 2)),
        (closing(times_factor), ("FACTOR", 2)),
        (even, ("odd", times_factor)),
    ],
    ids=["global", "nested", "item", "attribute", "lambda", "partial", "closure", "function"],
)
def test_what_a_function_refers_to_counts(
    function: Any, change: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stable_hash(function)
    monkeypatch.setitem(globals(), *change)
    assert stable_hash(function) != before
    monkeypatch.undo()
    assert stable_hash(function) == before


def test_what_is_changed_in_place_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"factor": 1}
    functions = [times_table, times_settings, times_config, closing(held)]
    before = [stable_hash(each) for each in functions]
    monkeypatch.setitem(TABLE, "factor", 2)
    monkeypatch.setattr(SETTINGS, "factor", 2)
    monkeypatch.setattr(Config, "factor", 2)
    held["factor"] = 2
    after = [stable_hash(each) for each in functions]
    assert not set(before) & set(after)


def test_the_global_that_cannot_be_hashed_is_named() -> None:
    with pytest.raises(HashError, match=r"_thread.lock.*\(at LOCK\)"):
        stable_hash(locked)


def test_nothing_is_called() -> None:
    """Hashing calls no referenced function, no property and no metaclass `__getattr__`."""

    class Meta(type):
        def __getattr__(cls, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

    class Owner(metaclass=Meta):
        @property
        def made_up(self) -> int:
            raise AssertionError("it was asked for")

    def called() -> None:
        raise AssertionError("it was called")

    def function() -> Any:
        return Owner.made_up, Owner.missing, called()

    assert stable_hash(function)


def changing(self: Any, x: Any) -> Any:
    return self, x


def made_changing() -> Callable[..., Any]:
    calls: list[Any] = []
    counts: dict[Any, Any] = {}
    rows: dict[Any, Any] = {}
    read: dict[Any, Any] = {}
    number, text, part = 0, [1, 2], [0]

    def function(self: Any, x: Any) -> Any:
        nonlocal number
        number += 1
        calls.append(x)
        counts[x] = counts["a"] = 1
        counts["a"] += 2
        rows["a"].extend([x])
        text[0:1] = []
        self.seen.add(x)
        x.deep.er = read["a"]
        inner = [part.append(each) for each in read.values()]
        return inner, len(read), read.get(x), lambda: x.y

    return function


def test_what_a_function_changes_is_seen_in_its_code() -> None:
    changed = changed_names(made_changing().__code__)
    assert changed == {"number", "calls", "counts", "rows", "text", "self", "x", "part"}
    assert changed_names(changing.__code__) == set()


def test_which_attributes_a_function_changes_is_seen_in_its_code() -> None:
    others: Any = None

    def function(self: Any) -> None:
        self.n += 1
        self.read.deeper = self.items["a"]
        others.at = 1
        others.seen.append(self.plain)
        others.cache["a"]["b"] = 1
        del FACTOR.gone  # type: ignore[attr-defined] # never called

    assert changed_attributes(function.__code__) == {
        *(("self", "n"), ("self", "read"), ("others", "at"), ("others", "seen")),
        *(("others", "cache"), ("FACTOR", "gone")),
    }


def test_what_a_function_refers_to_is_seen_in_its_code() -> None:
    def function(value: Any) -> Any:
        return math.pi, Config.factor.real, [FACTOR for _ in value]

    assert set(global_names(function.__code__)) == {
        ("math", "pi"),
        ("Config", "factor", "real"),
        ("FACTOR",),
    }
