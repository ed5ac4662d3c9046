"""Previews of task arguments: short, valid JSON that names the element, and no code of users."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import pathlib
import uuid
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, PlainSerializer, RootModel, SecretStr
from tests.support.user_values import VALUES, HostileDict, HostileList, touched

from flowspan.core.limits import MAX_PREVIEW_BYTES
from flowspan.core.values.annotations import unmapped
from flowspan.core.values.preview import preview

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"


class OfColours(enum.Enum):
    BOTH = (1, "two")


@dataclass
class Row:
    number: int
    name: str = "a"
    note: Any = None


class Secretive(BaseModel):
    token: SecretStr = SecretStr("hush")
    left_out: str = Field(default="hush", exclude=True)
    written: Annotated[str, PlainSerializer(len)] = "hush"
    shown: int = 1


class Base(BaseModel):
    a: int = 1


class Derived(Base):
    secret: str = "hush"


class Holder(BaseModel):
    base: Base
    bases: list[Base] = []


class Listed(RootModel[list[int]]):
    pass


class Opaque:
    pass


def shown(value: Any, limit: int = 2048) -> Any:
    data = preview(["x"], [value], limit)
    assert len(data) <= limit
    return json.loads(data)["x"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (17, 17),
        (-1.5, -1.5),
        ('é\n"\\\0', 'é\n"\\\0'),
        ([1, "a", None, [True]], [1, "a", None, [True]]),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        ({"a": {"b": 1}, 1: 2, None: 3}, {"a": {"b": 1}, "1": 2, "null": 3}),
        (OrderedDict(a=1), {"a": 1}),
        (deque([1, 2]), [1, 2]),
        ({7}, [7]),
        (Colour.RED, "red"),
        (OfColours.BOTH, [1, "two"]),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (b"abc", "abc"),
        (Row(1), {"number": 1, "name": "a", "note": None}),
        (Listed([1, 2]), [1, 2]),
        (SecretStr("hush"), "**********"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ([float("inf")], ["Infinity"]),
        (unmapped([1]), [1]),
        (int, "<type>"),
        (print, "<builtin_function_or_method>"),
        (10**100, "<int>"),
        ([10**5000], ["<int>"]),
    ],
)
def test_values_as_json(value: Any, expected: Any) -> None:
    assert shown(value) == expected


def test_a_value_without_a_form_is_its_type() -> None:
    label = f"<{__name__}.Opaque>"
    assert shown(Opaque()) == label
    assert shown([Opaque(), 1]) == [label, 1]
    assert shown({Opaque(): 1}) == {label: 1}
    assert shown(Row(1, note=Opaque()))["note"] == label


def test_a_lone_surrogate_is_escaped() -> None:
    data = preview(["x", "y"], ["\udc80", ["\ud83d"]], 2048)
    assert json.loads(data.decode("utf-8")) == {"x": "\udc80", "y": ["\ud83d"]}


def test_hidden_fields_stay_hidden() -> None:
    values = [Secretive(), [Secretive()], Holder(base=Derived(), bases=[Derived()])]
    names = [f"v{n}" for n in range(len(values))]
    data = preview(names, values, 2048)
    assert b"hush" not in data
    assert json.loads(data)["v0"] == {"token": "**********", "written": "<str>", "shown": 1}
    assert json.loads(data)["v2"] == {"base": {"a": 1}, "bases": [{"a": 1}]}


def test_only_the_beginning_of_a_large_value_is_shown() -> None:
    text = shown("abc" * 10_000)
    assert text.startswith("abcabc")
    assert text.endswith("…")
    numbers = shown(list(range(100_000)))
    assert numbers[:3] == [0, 1, 2]
    assert numbers[-1] == f"… {100_001 - len(numbers)} more"
    by_name = shown({str(n): n for n in range(5000)})
    assert by_name["0"] == 0
    assert by_name["…"] == f"{5001 - len(by_name)} more"
    assert shown(b"x" * 100_000) == "<bytes>"


def test_values_that_contain_themselves_and_deep_ones_end() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert shown(ring)[0] == 1
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    assert "<list>" in json.dumps(shown(deep))
    wide: Any = 0
    for _ in range(12):
        wide = [wide] * 50
    assert shown(wide)


def test_arguments_share_the_room() -> None:
    names = ["row", "text", "rows", "flag"]
    values = [17, "x" * 5000, list(range(5000)), True]
    data = preview(names, values, 256)
    assert len(data) <= 256
    read = json.loads(data)
    assert (read["row"], read["flag"]) == (17, True)
    assert list(read) == names


def test_arguments_without_any_room_are_counted() -> None:
    names = [f"argument_{number}" for number in range(500)]
    read = json.loads(preview(names, ["x" * 100] * 500, 1024))
    assert read["argument_0"].startswith("x")
    assert read["…"] == f"{501 - len(read)} more"


def test_a_larger_limit_shows_more() -> None:
    values = list(range(100_000))
    assert len(shown(values, MAX_PREVIEW_BYTES)) > 4 * len(shown(values, 2048))


@pytest.mark.parametrize("maker", VALUES)
def test_no_code_of_a_value_runs(maker: str) -> None:
    value = VALUES[maker]()
    touched.clear()
    for each in (value, [value], {"a": value}, (value, Row(1, note=value)), unmapped(value)):
        shown(each)
    assert touched == []


def test_subclasses_of_containers_are_read_by_the_methods_of_the_container() -> None:
    touched.clear()
    assert shown(HostileList([1, 2])) == [1, 2]
    assert shown(HostileDict(a=1)) == {"a": 1}
    assert touched == []


def test_a_value_that_changes_meanwhile_is_its_type() -> None:
    class Breaking(dict[str, int]):
        pass

    changing = Breaking({str(n): n for n in range(10)})

    def show_own(value: Any) -> str | None:
        if type(value) is Opaque:
            changing.clear()
        return None

    changing["9"] = Opaque()  # type: ignore[assignment] # what changes it
    data = preview(["x"], [[changing]], 2048, show_own)
    assert isinstance(json.loads(data)["x"], (str, list))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=60,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=30), st.integers(64, 4096))
def test_promise_every_preview_is_one_object_within_the_limit(
    arguments: dict[str, Any], limit: int
) -> None:
    data = preview(list(arguments), list(arguments.values()), limit)
    assert len(data) <= limit

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert isinstance(json.loads(data.decode("utf-8"), parse_constant=refuse), dict)


def depth(value: Any) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(
    st.recursive(st.booleans() | st.integers(-99, 99), lambda inner: st.lists(inner, max_size=3))
)
def test_a_small_value_is_shown_whole(value: Any) -> None:
    if len(json.dumps(value)) < 200 and depth(value) < 5:
        assert shown(value, MAX_PREVIEW_BYTES) == value
