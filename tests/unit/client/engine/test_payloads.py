from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from flowspan.core.payloads import (
    MAX_PARAMETERS_BYTES,
    PLACEHOLDER,
    encode_parameters,
    encode_value,
)


class Item(BaseModel):
    day: datetime.date
    secret: SecretStr


@dataclass
class Point:
    x: int
    where: Path


class Colour(enum.Enum):
    RED = "red"


class Opaque:
    def __repr__(self) -> str:
        return "<opaque thing>"


def encoded(value: Any) -> Any:
    data, problems = encode_parameters({"v": value})
    assert problems == []
    return json.loads(data)["v"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ä\n", "ä\n"),
        ({"a": (1, 2.5, None, True)}, {"a": [1, 2.5, None, True]}),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (datetime.timedelta(seconds=90), 90.0),
        (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        (Path("/data/x"), "/data/x"),
        (decimal.Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        ({1}, [1]),
        (b"text", "text"),
        (b"\xff", "/w=="),
        (Point(1, Path("y")), {"x": 1, "where": "y"}),
        (
            Item(day=datetime.date(2026, 1, 2), secret=SecretStr("x")),
            {"day": "2026-01-02", "secret": "**********"},
        ),
        (SecretStr("hush"), "**********"),
        ([float("nan"), float("inf")], ["NaN", "Infinity"]),
        ("\ud83d", "\ud83d"),
    ],
)
def test_what_json_can_hold(value: object, expected: object) -> None:
    assert encoded(value) == expected


def test_text_is_utf8() -> None:
    assert encode_parameters({"v": "ä"})[0] == '{"v":"ä"}'.encode()


def test_what_it_cannot_hold_leaves_a_placeholder_and_the_rest() -> None:
    circular: list[object] = []
    circular.append(circular)
    data, problems = encode_parameters({"a": 1, "b": Opaque(), "c": [Opaque()], "d": circular})
    found = json.loads(data)
    assert found["a"] == 1
    assert found["b"][PLACEHOLDER]["repr"] == "<opaque thing>"
    assert found["b"][PLACEHOLDER]["type"].endswith(".Opaque")
    assert found["c"][PLACEHOLDER]["type"] == "list"
    assert [problem.name for problem in problems] == ["b", "c", "d"]


def test_a_broken_repr_and_a_broken_model() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

        def model_dump(self, mode: str) -> object:
            raise RuntimeError("no")

    data, problems = encode_parameters({"a": Broken()})
    assert "RuntimeError" in json.loads(data)["a"][PLACEHOLDER]["repr"]
    assert problems[0].reason == "no"


def test_the_largest_give_way_when_there_is_too_much() -> None:
    data, problems = encode_parameters(
        {"small": "x" * 1000, "huge": "y" * MAX_PARAMETERS_BYTES, "large": "z" * 100_000}
    )
    assert len(data) <= MAX_PARAMETERS_BYTES
    assert [problem.name for problem in problems] == ["huge"]
    assert "bytes" in problems[0].reason
    assert json.loads(data)["large"] == "z" * 100_000


def test_long_reprs_are_cut() -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 10_000

    assert len(encode_parameters({"a": Long()})[0]) < 400


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.builds(Opaque)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.binary(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=4))
def test_always_one_valid_json_object_with_every_parameter(arguments: dict[str, Any]) -> None:
    data, problems = encode_parameters(arguments)
    found = json.loads(data.decode(), parse_constant=pytest.fail)
    assert list(found) == list(arguments)
    for problem in problems:
        assert PLACEHOLDER in found[problem.name]


def test_a_single_value_is_written_or_refused():
    assert encode_value({"a": [1, 2.5, None, "ü"]}) == '{"a":[1,2.5,null,"ü"]}'.encode()
    assert json.loads(encode_value([float("nan"), float("-inf"), "NaN"])) == [None, None, "NaN"]
    assert json.loads(encode_value(Point(1, Path("/x")))) == {"x": 1, "where": "/x"}
    with pytest.raises(TypeError, match="Opaque has no form in JSON"):
        encode_value([Opaque()])
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(ValueError, match="Circular"):
        encode_value(circular)
