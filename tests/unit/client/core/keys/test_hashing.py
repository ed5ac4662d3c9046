"""Equal and different hashes of values."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import functools
import itertools
import math
import operator
import pathlib
import re
import subprocess
import sys
import threading
import typing
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import attrs
import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    computed_field,
    create_model,
)

from flowspan import flow, task
from flowspan.core.keys.hashing import stable_hash
from flowspan.exceptions import HashError

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = dt.datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - naive times are supported


class Text(str):
    pass


class Bytes(bytes):
    pass


class Number(int):
    pass


class Items(list[Any]):
    pass


class Table(dict[Any, Any]):
    pass


class Pair(tuple[Any, ...]):
    pass


class Frozen(frozenset[Any]):
    pass


class Day(dt.date):
    pass


class Moment(dt.datetime):
    pass


class Price(Decimal):
    pass


class File(type(pathlib.PurePath())):  # type: ignore[misc] # the class is the system's
    pass


class Zone(dt.tzinfo):
    def __init__(self, hours: int = 0) -> None:
        self.hours = hours

    def utcoffset(self, _when: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=self.hours)


class Flags(enum.Flag):
    A = 1
    B = 2


class Numbers(enum.IntEnum):
    A = 1


class Bits(enum.IntFlag):
    A = 1


class Texts(enum.StrEnum):
    A = "a"


class Mixed(enum.Enum):
    A = 1
    B = (1, 2)
    C = [3]  # noqa: RUF012 - an enum's member


@dataclass
class Point:
    x: int
    seen: list[int] = field(default_factory=list, compare=False)

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.x


@dataclass(frozen=True, slots=True)
class Slotted:
    x: int


class OfSlotted(Slotted):
    pass


class Slots:
    __slots__ = ("__hidden", "a")

    def hide(self, value: int) -> Slots:
        self.__hidden = value
        return self


class MoreSlots(Slots):
    __slots__ = ("b",)


class BothWays:
    __slots__ = ("__dict__", "a")


def hiding(thing: Any, value: int) -> Any:
    """Set an instance attribute that is hidden by a slot."""
    thing.__dict__["a"] = value
    return thing


class Anything(MoreSlots):
    pass


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 1
    _private: int = PrivateAttr(default=0)

    @computed_field  # type: ignore[prop-decorator] # pydantic style
    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.x


@attrs.define
class Defined:
    x: int = 0


class OfDefined(Defined):
    pass


class Stateful:
    """Pickled through its own `__getstate__`."""

    def __init__(self, x: int) -> None:
        self.x = x
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, int]:
        return {"x": self.x}


class Reduced:
    """Pickled through its own `__reduce__`."""

    def __init__(self, x: int) -> None:
        self.x = x
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, (self.x,)


class Node:
    def __init__(self, below: Node | None = None) -> None:
        self.below = below
        self.above: Node | None = None
        if below is not None:
            below.above = self


def with_(thing: Any, **attributes: Any) -> Any:
    """Set attributes in a way that also works on frozen objects."""
    for name, value in attributes.items():
        object.__setattr__(thing, name, value)
    return thing


def read(thing: Any) -> Any:
    """Compute the cached properties of an object."""
    assert thing.twice
    return thing


def local_class(number: int) -> Any:
    class Local:
        value = number

        def method(self) -> int:
            return number

    return Local


def local_dataclass(number: int) -> Any:
    @dataclass
    class Local:
        value: int = number

    return Local


def local_model(number: int) -> Any:
    class Local(BaseModel):
        value: int = number

    return Local


def model_of(kind: Any) -> Any:
    return create_model("Local", value=(kind, ...))


def local_enum(number: int) -> Any:
    class Local(enum.Enum):
        A = number

    return Local


@task
def a_task(x: int) -> int:
    return x


DIFFERENT: dict[str, list[Any]] = {
    "zeros": [0.0, -0.0, 0, False, None, "0", b"0", Decimal(0), Decimal("0.0"), 0j, -0j],
    "ones": [1, 1.0, True, "1", b"1", 1j, Decimal(1), Number(1), Numbers.A, Bits.A, Mixed.A],
    "texts": ["a", b"a", bytearray(b"a"), Text("a"), Bytes(b"a"), Texts.A, pathlib.PurePath("a")],
    "containers": [[1], (1,), {1}, frozenset({1}), {1: 1}, {1: 1.0}, {True: 1}, {"1": 1}],
    "subclasses": [[1], Items([1]), (1,), Pair((1,)), {1: 1}, Table({1: 1}), Frozen({1})],
    "flags": [Flags(0), Flags.A, Flags.B, Flags.A | Flags.B, Bits(0), Bits.A, Bits(8), Flags, 0],
    "enums": [Mixed.A, Mixed.B, Mixed.C, Mixed, Numbers.A, Texts.A],
    "mappings": [
        *({1: 2}, collections.OrderedDict({1: 2}), collections.Counter({1: 2}), Table({1: 2})),
        *(collections.defaultdict(int, {1: 2}), collections.defaultdict(float, {1: 2})),
        MappingProxyType({1: 2}),
    ],
    "ordered": [
        collections.OrderedDict([(1, 2), (3, 4)]),
        collections.OrderedDict([(3, 4), (1, 2)]),
    ],
    "queues": [collections.deque([1]), collections.deque([1], 3), [1]],
    "times": [
        *(AUTUMN, AUTUMN.replace(fold=1), AUTUMN.replace(tzinfo=BERLIN), AUTUMN.date()),
        *(AUTUMN.replace(tzinfo=BERLIN, fold=1), AUTUMN.replace(tzinfo=dt.UTC), AUTUMN.time()),
        *(AUTUMN.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), dt.time(2, 30, fold=1)),
        *(AUTUMN.replace(tzinfo=Zone(1)), AUTUMN.replace(tzinfo=Zone(2)), dt.timedelta(1)),
    ],
    "types": [
        *(int, str, type(None), None, list, list[int], list[str], dict[str, int], int | str),
        *(int | bytes | None, typing.Literal[1], typing.Literal["1"], typing.Any),
        *(typing.Annotated[int, 1], typing.Callable[[int], str], Mixed, Point, Model),
    ],
    "modules": [math, operator, sys],
    "slices": [slice(1), slice(1, None), slice(1, [2]), range(1), range(1, 2)],
    "dataclass": [Point(1), Point(2), Point(1, [1]), with_(Point(1), more=1)],
    "slotted": [Slotted(1), Slotted(2), OfSlotted(1), with_(OfSlotted(1), more=1)],
    "dictionary and slots": [
        *(BothWays(), with_(BothWays(), a=1), with_(BothWays(), b=1), with_(BothWays(), a=1, b=1)),
        *(hiding(with_(BothWays(), a=1), 2), hiding(BothWays(), 2)),
    ],
    "slots": [
        *(Slots(), with_(Slots(), a=1), Slots().hide(1), MoreSlots(), with_(MoreSlots(), b=1)),
        *(Anything(), with_(Anything(), a=1), with_(Anything(), b=1), with_(Anything(), c=1)),
        Anything().hide(1),
    ],
    "models": [
        *(Model(x=1), Model(x=2), Model(), Model(x=1, more=1)),  # type: ignore[call-arg]
        *(with_(Model(x=1), __pydantic_private__={"_private": 5}), {"x": 1}),
    ],
    "attrs": [Defined(1), Defined(2), OfDefined(1), with_(OfDefined(1), more=1)],
    "dates with more": [Day(2026, 1, 1), with_(Day(2026, 1, 1), more=1), dt.date(2026, 1, 1)],
    "moments with more": [Moment(2026, 1, 1), with_(Moment(2026, 1, 1), more=1)],
    "decimals with more": [Price(1), with_(Price(1), more=1), Decimal(1)],
    "texts with more": [Text("a"), with_(Text("a"), more=1)],
    "lists with more": [Items([1]), with_(Items([1]), more=1)],
    "dictionaries with more": [Table({1: 2}), with_(Table({1: 2}), more=1)],
    "tuples with more": [Pair((1,)), with_(Pair((1,)), more=1)],
    "sets with more": [Frozen({1}), with_(Frozen({1}), more=1)],
    "paths with more": [File("a"), with_(File("a"), more=1), pathlib.PurePath("a")],
    "errors": [
        *(ValueError("a"), ValueError("b"), TypeError("a"), with_(ValueError("a"), more=1)),
        *(with_(ValueError("a"), __cause__=KeyError(key)) for key in "bc"),
    ],
    "custom state": [Stateful(1), Stateful(2)],
    "custom reduce": [Reduced(1), Reduced(2)],
    "local classes": [local_class(1), local_class(2), local_class(1)(), local_class(2)()],
    "local dataclasses": [local_dataclass(1), local_dataclass(2), local_dataclass(1)()],
    "local models": [local_model(1), local_model(2), local_model(1)()],
    "types of fields": [model_of(int), model_of(str), model_of(list[int])],
    "local enums": [local_enum(1), local_enum(2), local_enum(1).A, local_enum(2).A],
    "tasks": [
        *(a_task, a_task.with_options(name="other"), a_task.with_options(retries=3), a_task.fn),
        flow(a_task.fn),
    ],
    "counts": [itertools.count(), itertools.count(1), itertools.count(0, 2)],
    "patterns": [re.compile("a"), re.compile("a", re.IGNORECASE), re.compile("b")],
    "nodes": [Node(), Node(Node()), Node(Node(Node()))],
    "nested": [[[1], 2], ([1], 2), [(1,), 2], [[1, 2]], [1, [2]], [[[1], 2]], [([1], 2)]],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_values_have_different_hashes(kind: str) -> None:
    values = DIFFERENT[kind]
    hashes = [stable_hash(value) for value in values]
    same = [
        (values[i], values[j])
        for i in range(len(values))
        for j in range(i)
        if hashes[i] == hashes[j]
    ]
    assert not same
    assert hashes == [stable_hash(value) for value in values]


def shared(value: Any) -> list[Any]:
    return [value, value]


EQUAL: dict[str, tuple[Any, Any]] = {
    "NaN": (float("nan"), -float("nan")),
    "order of a dictionary": ({1: "a", "b": 2, None: 3}, {None: 3, "b": 2, 1: "a"}),
    # Both numbers hash to the same table entry, so iteration follows insertion order.
    "order of a set": ({0, 8}, {8, 0}),
    "order of a dictionary's subclass": (Table({1: 2, 3: 4}), Table({3: 4, 1: 2})),
    "order of a defaultdict": (
        collections.defaultdict(int, {1: 2, 3: 4}),
        collections.defaultdict(int, {3: 4, 1: 2}),
    ),
    "order of a counter": (collections.Counter("ab"), collections.Counter("ba")),
    "order of attributes": (SimpleNamespace(a=1, b=2), SimpleNamespace(b=2, a=1)),
    "shared parts": (shared([1, {}]), [[1, {}], [1, {}]]),
    "interned texts": (shared("".join(["a", "b"])), ["".join(["a", "b"]), "".join(["ab"])]),
    "attributes of interned names": (with_(Node(), x="ab"), with_(Node(), x="".join(["a", "b"]))),
    "dataclass": (Point(1, [2]), Point(1, [2])),
    "computed before": (read(Point(1)), Point(1)),
    "computed in a model": (read(Model(x=1)), Model(x=1)),
    "slotted": (with_(OfSlotted(1), more=[1]), with_(OfSlotted(1), more=[1])),
    "attrs": (with_(OfDefined(1), more=1), with_(OfDefined(1), more=1)),
    "sets of a subclass": (Frozen({0, 8}), Frozen({8, 0})),
    "objects that hold sets": (with_(Node(), x={0, 8}), with_(Node(), x={8, 0})),
    "custom state": (Stateful(1), Stateful(1)),
    "custom reduce": (Reduced(1), Reduced(1)),
    "local classes": (local_class(1), local_class(1)),
    "local dataclasses": (local_dataclass(1)(2), local_dataclass(1)(2)),
    "local models": (local_model(1)(value=2), local_model(1)(value=2)),
    "local enums": (local_enum(1).A, local_enum(1).A),
    "circles": (Node(Node(Node())), Node(Node(Node()))),
    "tasks": (a_task, a_task.with_options()),
    "zones": (AUTUMN.replace(tzinfo=Zone(1)), AUTUMN.replace(tzinfo=Zone(1))),
}


@pytest.mark.parametrize("kind", EQUAL)
def test_equal_values_have_the_same_hash(kind: str) -> None:
    first, second = EQUAL[kind]
    assert stable_hash(first) == stable_hash(second)


def circle() -> list[Any]:
    found: list[Any] = []
    found.append({"x": found})
    return found


class Refusing:
    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (threading.Lock(), "_thread.lock"),
        ((each for each in ()), "builtins.generator"),
        (object(), "only its identity"),
        (itertools.cycle([1]), "itertools.cycle"),
        (sys.stdout, "cannot be pickled"),
        (Mock(), "is a mock"),
        (circle(), "contains itself"),
        (Refusing(), "RuntimeError: not today"),
        (with_(Node(), lock=threading.Lock()), r"_thread.lock.*\(at lock\)"),
    ],
    ids=[
        "lock",
        "generator",
        "object",
        "itertools",
        "file",
        "mock",
        "circle",
        "refusing",
        "inside",
    ],
)
def test_what_cannot_be_told_apart_is_refused(value: Any, why: str) -> None:
    with pytest.raises(HashError, match=why):
        stable_hash([value])


def test_the_error_says_where_it_is() -> None:
    with pytest.raises(HashError, match="at rows → 2026 → client"):
        stable_hash({"rows": {"2026": [1, {"client": threading.Lock()}]}})


def test_depth_and_sharing_cost_nothing() -> None:
    deep: Any = []
    chain = None
    twice: Any = [1]
    for _ in range(5000):
        deep, chain = [deep], Node(chain)
    for _ in range(200):
        twice = [twice, twice]
    assert len({stable_hash(each) for each in (deep, [deep], chain, twice)}) == 4
    assert stable_hash(10**6000) != stable_hash(10**6000 + 1)
    assert stable_hash([10**6000]) != stable_hash([10**6000 + 1])


PROGRAM = """
import dataclasses, enum, functools, sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
from pydantic import BaseModel
from flowspan import task
from flowspan.core.keys.hashing import stable_hash
from flowspan.core.keys.task_identity import identity_of

FACTOR = 2

class Plain:
    def __init__(self, **state):
        self.__dict__.update(state)

@dataclasses.dataclass
class Point:
    tags: set

class Model(BaseModel):
    tags: frozenset[str] = frozenset()

class Colour(enum.Enum):
    RED = frozenset("abc")

def double(x):
    return x * FACTOR if x in {"a", "b", "c"} else x

def made(tags):
    class Local:
        names = tags
    return lambda x: (x, tags, Local)

@task
def load(x):
    return x

def made_task(names):
    @task
    def local(x):
        return names
    return local

tags = set("abcdefgh")
for value in [
    Plain(tags=tags), Point(tags), Model(tags=tags), Colour.RED, {1: frozenset(tags)}, Plain,
    double, made(tags), functools.partial(double, tags), Plain(x="ab", y="a" + "b"), load,
    datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), made(tags)(1)[2](), Exception(tags),
]:
    print(stable_hash(value))
print(identity_of(load), load.code.source)
print(identity_of(made_task(tags)), made_task(tags).code.source)
"""


def test_hashes_are_the_same_in_every_process(tmp_path: pathlib.Path) -> None:
    """This includes instances of the program's own classes, and objects that contain sets."""
    (tmp_path / "program.py").write_text(PROGRAM)
    found = {
        subprocess.run(
            [sys.executable, "program.py"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
            cwd=tmp_path,
        ).stdout
        for seed in ("1", "2", "3")
    }
    (lines,) = found
    assert len(set(lines.splitlines())) == 16


TASKS = """
from flowspan import task
from flowspan.core.keys.task_identity import identity_of

@task
def load(x):
    return {result}

print(identity_of(load))
"""


def test_tasks_of_two_programs_are_told_apart(tmp_path: pathlib.Path) -> None:
    """Both programs run as `__main__`."""
    found = []
    for name, result in (("one.py", "x"), ("two.py", "-x"), ("three.py", "x")):
        (tmp_path / name).write_text(TASKS.format(result=result))
        command = [sys.executable, name]
        run = subprocess.run(command, capture_output=True, check=True, text=True, cwd=tmp_path)
        found.append(run.stdout)
    assert found[0] != found[1]
    assert found[0] == found[2]


def test_a_program_that_is_started_by_its_name_goes_by_that(tmp_path: pathlib.Path) -> None:
    (tmp_path / "one.py").write_text(TASKS.format(result="x"))
    outputs = {
        subprocess.run(command, capture_output=True, check=True, text=True, cwd=tmp_path).stdout
        for command in ([sys.executable, "-m", "one"], [sys.executable, "-c", "import one"])
    }
    assert len(outputs) == 1
