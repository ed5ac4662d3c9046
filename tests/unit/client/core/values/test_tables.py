"""Arrays and columns of data libraries: as values, in cells, and as tables of one column."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.artifacts.objects import TableArtifact
from flowspan.core.values import tables
from flowspan.core.values.payloads import encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAYS = ["2026-01-02", None]
AT_MIDNIGHT = ["2026-01-02T00:00:00", None]

ARRAYS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "strings": (lambda pd: pd.array(["a", None], dtype="string"), ["a", None]),
    "unique": (lambda pd: pd.DataFrame({"c": ["x", "y", "x"]})["c"].unique(), ["x", "y"]),
    "values": (lambda pd: pd.Series([1, None], dtype="Int64").values, [1, None]),
    "strings of python": (
        lambda pd: pd.array(["a", None], dtype=pd.StringDtype("python")),
        ["a", None],
    ),
    "integers": (lambda pd: pd.array([1, None], dtype="Int64"), [1, None]),
    "small integers": (lambda pd: pd.array([1, None], dtype="UInt8"), [1, None]),
    "floats": (lambda pd: pd.array([1.5, None], dtype="Float64"), [1.5, None]),
    "booleans": (lambda pd: pd.array([True, None], dtype="boolean"), [True, None]),
    "times": (lambda pd: pd.to_datetime(DAYS).array, AT_MIDNIGHT),
    "times of a zone": (
        lambda pd: pd.to_datetime(DAYS, utc=True).array,
        ["2026-01-02T00:00:00+00:00", None],
    ),
    "durations": (lambda pd: pd.to_timedelta(["1s", None]).array, [1.0, None]),
    "periods": (lambda pd: pd.PeriodIndex(["2026-01", None], freq="M").array, ["2026-01", None]),
    "intervals": (lambda pd: pd.interval_range(0, 2).array, ["(0, 1]", "(1, 2]"]),
    "sparse": (lambda pd: pd.arrays.SparseArray([0, 1, float("nan")]), [0, 1, None]),
    "plain": (lambda pd: pd.Series([1, 2]).array, [1, 2]),
    "categories": (lambda pd: pd.Categorical(["a", None, "b"]), ["a", None, "b"]),
    "categories of times": (lambda pd: pd.Categorical(pd.to_datetime(DAYS)), AT_MIDNIGHT),
    "empty": (lambda pd: pd.array([], dtype="Int64"), []),
    "index": (lambda pd: pd.Index([1, 2]), [1, 2]),
    "index of strings": (lambda pd: pd.Index(["a", None]), ["a", None]),
    "range": (lambda pd: pd.RangeIndex(2), [0, 1]),
    "index of times": (lambda pd: pd.DatetimeIndex(DAYS), AT_MIDNIGHT),
    "index of durations": (lambda pd: pd.to_timedelta(["1s"]), [1.0]),
    "index of periods": (lambda pd: pd.PeriodIndex(["2026-01"], freq="M"), ["2026-01"]),
    "index of intervals": (lambda pd: pd.interval_range(0, 1), ["(0, 1]"]),
    "index of categories": (lambda pd: pd.CategoricalIndex(["a"]), ["a"]),
}


def written(value: Any) -> Any:
    return json.loads(encode_value(value))


def as_table(value: Any) -> Any:
    return written(TableArtifact(table=value).format())


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_and_indexes_of_pandas_may_be_anywhere(name: str) -> None:
    make, items = ARRAYS[name]
    value = make(pytest.importorskip("pandas"))
    assert written(value) == items
    assert written({"a": [value]}) == {"a": [items]}
    assert as_table({"city": value}) == {"city": items}
    assert as_table([[value]]) == [[items]]
    assert as_table(value) == [{"value": item} for item in items]


def subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def test_no_array_of_pandas_is_left_out() -> None:
    pd = pytest.importorskip("pandas")
    shown = {type(make(pd)) for make, _ in ARRAYS.values()} | {pd.MultiIndex}
    assert shown >= {each for each in subclasses(pd.Index) if each.__name__ in vars(pd)}
    arrays = {getattr(pd.arrays, name) for name in pd.arrays.__all__ if "Arrow" not in name}
    assert {base for kind in shown for base in kind.__mro__} >= arrays
    other = type("GeometryArray", (pd.api.extensions.ExtensionArray,), {"__module__": "geo"})
    assert tables.is_table(other())


def test_an_index_names_its_columns() -> None:
    pd = pytest.importorskip("pandas")
    assert as_table(pd.Index(["a"], name="n")) == [{"n": "a"}]
    assert as_table(pd.Index(["a"], name=("n", 1))) == [{"n/1": "a"}]
    levels = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])
    assert as_table(levels) == [{"x": "a", "level_1": 1}, {"x": "b", "level_1": 2}]
    assert written(levels) == [["a", 1], ["b", 2]]
    alike = pd.MultiIndex.from_tuples([("a", 1)], names=["x", "x"])
    assert as_table(alike) == [{"x": "a", "x.1": 1}]


def test_an_array_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pd = pytest.importorskip("pandas")
    monkeypatch.setattr(tables, "MAX_ITEMS", 2)
    for value in (pd.array([1, 2, 3]), pd.Categorical(["a"] * 3), pd.Index(["a"] * 3)):
        for form in (written, as_table):
            with pytest.raises(ValueError, match="it has 3 elements"):
                form(value)


class _OfArrow:
    """The common part of pyarrow's arrays, which have no `to_list`."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def to_pylist(self) -> Any:
        return self._items

    def as_py(self) -> Any:
        return self._items


def of_arrow(base: str, name: str, items: Any) -> Any:
    root = type(base, (_OfArrow,), {"__module__": "pyarrow.lib"})
    return type(name, (root,), {"__module__": "pyarrow.lib"})(items)


@pytest.mark.parametrize("base", ["Array", "ChunkedArray"])
def test_arrays_of_pyarrow_have_a_method_of_their_own(base: str) -> None:
    value = of_arrow(base, "Int64Array", [1, None])
    assert written({"a": value}) == {"a": [1, None]}
    assert as_table(value) == [{"value": 1}, {"value": None}]
    assert written(of_arrow("Scalar", "Int64Scalar", 1)) == 1


def test_real_arrays_of_pyarrow() -> None:
    pa: Any = importlib.import_module("pyarrow")
    table = pa.table({"a": [1, None]})
    words = pa.array(["a", None])
    for value, items in (
        (table["a"], [1, None]),
        (words, ["a", None]),
        (words.dictionary_encode(), ["a", None]),
        (pa.array([[1], None]), [[1], None]),
        (pa.array([{"x": 1}]), [{"x": 1}]),
        (pa.RunEndEncodedArray.from_arrays([2], ["a"]), ["a", "a"]),
    ):
        assert written({"a": value}) == {"a": items}
        assert as_table(value) == [{"value": item} for item in items]
    for rows in (table, table.to_batches()[0]):
        assert written(rows) == as_table(rows) == [{"a": 1}, {"a": None}]
    assert written([pa.scalar(1), pa.scalar(None), pa.scalar([1])]) == [1, None, [1]]
