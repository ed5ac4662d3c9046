from __future__ import annotations

import datetime
import decimal
import enum
import importlib
import json
import uuid
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from tests.support.user_values import HOSTILE, array, frame, orm_dataclass, touched

from flowspan.core.limits import MAX_PARAMETERS_BYTES
from flowspan.core.values.payloads import (
    encode_parameters,
    encode_value,
)
from flowspan.core.values.recording import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable


class Item(BaseModel):
    day: datetime.date
    secret: SecretStr


@dataclass
class Point:
    x: int
    where: Path


@dataclass
class Tagged:
    where: Path
    kind: ClassVar[str] = "tagged"
    scale: InitVar[int] = 1


class Colour(enum.Enum):
    RED = "red"


class Opaque:
    def __repr__(self) -> str:
        raise AssertionError("the value must not be accessed")


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
    assert found["b"][PLACEHOLDER]["repr"].endswith(".Opaque object>")
    assert found["b"][PLACEHOLDER]["type"].endswith(".Opaque")
    assert found["c"][PLACEHOLDER]["type"] == "list"
    assert [problem.name for problem in problems] == ["b", "c", "d"]


def test_what_only_looks_like_a_model() -> None:
    class Pretending:
        def model_dump(self, mode: str) -> object:
            raise RuntimeError("no")

    data, problems = encode_parameters({"a": Pretending()})
    assert json.loads(data)["a"][PLACEHOLDER]["repr"].endswith("Pretending object>")
    assert problems[0].reason.endswith("Pretending cannot be represented in JSON")


def test_the_largest_give_way_when_there_is_too_much() -> None:
    data, problems = encode_parameters(
        {"small": "x" * 1000, "huge": "y" * MAX_PARAMETERS_BYTES, "large": "z" * 100_000}
    )
    assert len(data) <= MAX_PARAMETERS_BYTES
    assert [problem.name for problem in problems] == ["huge"]
    assert "bytes" in problems[0].reason
    assert json.loads(data)["large"] == "z" * 100_000


def test_what_is_too_large_is_shown_by_its_beginning() -> None:
    data, _ = encode_parameters({"a": "x" * MAX_PARAMETERS_BYTES})
    shown = json.loads(data)["a"][PLACEHOLDER]["repr"]
    assert shown.startswith('"xxx')
    assert len(shown) < 300


def test_what_is_recorded_unasked_is_read_past_methods_and_properties() -> None:
    touched.clear()
    arguments = {name: make() for name, make in HOSTILE.items()}
    found = json.loads(encode_parameters(arguments)[0])
    assert found["hostile dict"] == {"a": 1, "b": [2]}
    assert found["hostile list"] == found["hostile tuple"] == [1, [2]]
    assert sorted(found["hostile set"], key=str) == [1, [2]]
    for name in ("hostile", "lazy field", "lazy proxy", "lazy rows"):
        assert PLACEHOLDER in found[name]
    assert touched == []
    assert PLACEHOLDER in json.loads(encode_parameters({"row": orm_dataclass()})[0])["row"]


@pytest.mark.parametrize("name", ["a\ud800", "é" * 100_000])
def test_names_of_parameters_of_any_kind(name: str) -> None:
    data, _ = encode_parameters({name: Opaque(), "b": "x" * MAX_PARAMETERS_BYTES})
    assert list(json.loads(data)) == [name, "b"]


def of_library(name: str) -> Callable[[Callable[[Any], Any]], Callable[[], Any]]:
    """Create a value of a library that only these tests import."""
    return lambda make: lambda: make(importlib.import_module(name))


of_numpy, of_pandas, of_polars = map(of_library, ("numpy", "pandas", "polars"))


_WRITTEN = [
    (of_numpy(lambda np: np.int64(3)), 3),
    (of_numpy(lambda np: np.float32(1.5)), 1.5),
    (of_numpy(lambda np: np.bool_(True)), True),
    (of_numpy(lambda np: np.str_("s")), "s"),
    (of_numpy(lambda np: np.float64("nan")), None),
    (of_numpy(lambda np: np.longdouble(1.25)), 1.25),
    (of_numpy(lambda np: np.datetime64("2026-01-02")), "2026-01-02"),
    (of_numpy(lambda np: np.datetime64("NaT", "s")), None),
    (of_numpy(lambda np: np.timedelta64(1500, "ms")), 1.5),
    (of_numpy(lambda np: np.array([[1, 2], [3, 4]])), [[1, 2], [3, 4]]),
    (of_numpy(lambda np: np.array(5)), 5),
    (of_numpy(lambda np: np.array(["2026-01-02"], "M8[D]")), ["2026-01-02"]),
    (of_numpy(lambda np: {np.int64(1): {np.int32(2): (np.int8(3),)}}), {"1": {"2": [3]}}),
    (of_pandas(lambda pd: pd.Series([1.5, None])), [1.5, None]),
    (
        of_pandas(lambda pd: [pd.NA, pd.NaT, pd.Timestamp("2026-01-02")]),
        [None, None, "2026-01-02T00:00:00"],
    ),
    (of_pandas(lambda pd: pd.Index(["a"])), ["a"]),
    (of_pandas(lambda pd: pd.Categorical(["u", "v"])), ["u", "v"]),
    (
        of_pandas(lambda pd: {"table": pd.DataFrame({"a": [1], "b": ["x"]})}),
        {"table": [{"a": 1, "b": "x"}]},
    ),
    (of_pandas(lambda pd: pd.DataFrame({"a": [1, 2]})[1:]), [{"a": 2}]),
    (of_pandas(lambda pd: pd.DataFrame({"a": [1]}, index=["x"])), [{"index": "x", "a": 1}]),
    (
        of_pandas(lambda pd: pd.DataFrame({"k": ["x", "x"], "a": [1, 2]}).groupby("k").sum()),
        [{"k": "x", "a": 3}],
    ),
    (of_pandas(lambda pd: pd.DataFrame([[1, 2]], columns=["a", "a"])), [{"a": 1, "a.1": 2}]),
    (of_pandas(lambda pd: pd.DataFrame({("a", 1): [2]})), [{"a/1": 2}]),
    (of_pandas(lambda pd: pd.DataFrame({0: [None]})), [{"0": None}]),
    (of_pandas(lambda pd: pd.DataFrame()), []),
    (of_polars(lambda pl: pl.DataFrame({"a": [1, None]})), [{"a": 1}, {"a": None}]),
    (of_polars(lambda pl: pl.Series([[1], [2, 3]])), [[1], [2, 3]]),
]


@pytest.mark.parametrize(("make", "expected"), _WRITTEN, ids=map(str, range(len(_WRITTEN))))
def test_what_data_libraries_hold_is_written_where_it_is_asked_for(
    make: Callable[[], Any], expected: object
) -> None:
    assert json.loads(encode_value(make())) == expected


def test_a_table_as_a_parameter_is_not_read() -> None:
    data, problems = encode_parameters({"frame": frame(), "array": array(), "n": array()[0][0]})
    found = json.loads(data)
    assert found["n"] == 1
    assert PLACEHOLDER in found["frame"]
    assert PLACEHOLDER in found["array"]
    assert [problem.name for problem in problems] == ["frame", "array"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (of_numpy(lambda np: np.array([1j])), TypeError),
        (of_numpy(lambda np: np.zeros(2 << 20, "i1")), ValueError),
        (of_polars(lambda pl: pl.DataFrame({"a": [1]}).lazy()), TypeError),
    ],
    ids=["complex", "too large", "lazy"],
)
def test_what_has_no_form_is_refused(make: Callable[[], Any], error: type[Exception]) -> None:
    value = make()
    with pytest.raises(error):
        encode_value(value)


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
    assert json.loads(encode_value(Tagged(Path("/x")))) == {"where": "/x"}
    with pytest.raises(TypeError, match="Opaque cannot be represented in JSON"):
        encode_value([Opaque()])
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(ValueError, match="Circular"):
        encode_value(circular)
