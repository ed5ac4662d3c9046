"""Arrays and tables of numpy, pandas and polars, as inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from flowspan.core.keys.hashing import stable_hash

if TYPE_CHECKING:
    from collections.abc import Callable

ARRAY = np.arange(6).reshape(2, 3)
OBJECTS = np.array([["a", {"b"}], [1, None]], dtype=object)
FIELDS = np.array([(1, 2.0), (3, 4.0)], dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True))


class Named(np.ndarray[Any, Any]):
    pass


def named(name: str) -> Named:
    array = ARRAY.view(Named)
    array.__dict__["name"] = name
    return array


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": ["x", None], **columns})


def changed(change: Callable[[pd.DataFrame], object]) -> pd.DataFrame:
    copied = frame()
    change(copied)
    return copied


DIFFERENT: dict[str, list[Any]] = {
    "arrays": [
        *(ARRAY, ARRAY.T, ARRAY.reshape(3, 2), ARRAY.ravel(), ARRAY.tolist(), ARRAY + 1),
        *(ARRAY.astype("int32"), ARRAY.astype(">i8"), ARRAY.astype(float), ARRAY.astype(object)),
        *(ARRAY.view(Named), named("a"), named("b"), np.ma.array(ARRAY, mask=ARRAY > 2)),
        *(np.zeros(0), np.zeros((0, 1)), np.array(1), np.array(0.0), np.array(-0.0)),
    ],
    "masked": [
        *(np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 3], mask=[0, 1])),
        *(np.ma.array([1, 2], fill_value=5), np.ma.array([1.0, 2.0]), np.ma.array([[1, 2]])),
        *(np.array([1, 2]), np.ma.masked_equal([1, 2], 2), np.ma.masked),
    ],
    "objects": [OBJECTS, OBJECTS.T, np.array([["a", {"c"}], [1, None]], dtype=object)],
    "fields": [FIELDS, FIELDS[::-1], FIELDS["a"], FIELDS.astype([("a", "i1"), ("c", "f8")])],
    "times": [np.array(["2026-01-01"], dtype=f"M8[{unit}]") for unit in ("D", "s", "ns")],
    "scalars": [np.float64(1), np.float32(1), np.int64(1), np.bool_(True), 1.0, 1, True],
    "functions": [np.add, np.subtract, np.mean, np.dtype("i4"), np.dtype("i8"), np.float64],
    "generators": [np.random.default_rng(1), np.random.default_rng(2)],
    "frames": [
        *(frame(), frame(a=[1, 3]), frame(a=[1.0, 2.0]), frame()[["b", "a"]], frame(c=[1, 2])),
        *(frame().astype({"a": "int32"}), frame().astype({"a": "Int64"}), frame()[:1]),
        *(frame().astype({"b": "category"}), frame().rename(columns={"a": "z"})),
        *(frame().set_index("a"), frame().set_index([[5, 6]]), frame().rename_axis("i")),
        changed(lambda it: it.attrs.update(unit="m")),
        frame().set_flags(allows_duplicate_labels=False),
    ],
    "series": [
        *(pd.Series([1, 2]), pd.Series([1, 2], name="a"), pd.Series([1, 2], dtype="Int64")),
        *(pd.Series([1, None], dtype="Int64"), pd.Series([1.0, 2.0]), pd.Index([1, 2])),
        *(pd.Series(["1", "2"]), pd.Series(["1", "2"], dtype="category"), pd.RangeIndex(1, 3)),
    ],
    "dates": [
        *(pd.date_range("2026", periods=2), pd.date_range("2026", periods=2, tz="UTC")),
        *(pd.date_range("2026", periods=2, tz="Europe/Berlin"), pd.Timestamp("2026")),
        *(pd.Timestamp("2026", tz="UTC"), pd.NaT, pd.NA, pd.Timedelta(1), pd.Period("2026")),
    ],
    "polars": [
        *(pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]}), pl.DataFrame({"a": [2]})),
        *(pl.DataFrame({"a": [1.0]}), pl.DataFrame({"a": [1]}, schema={"a": pl.Int8})),
        *(pl.Series("a", [1]), pl.Series("b", [1]), pl.col("a"), pl.col("b"), pl.Int8, pl.Int16),
        *(pl.DataFrame({"a": [1]}).lazy(), pl.DataFrame({"a": [2]}).lazy()),
    ],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_values_have_different_hashes(kind: str) -> None:
    values = DIFFERENT[kind]
    assert len({stable_hash(value) for value in values}) == len(values)


def column_by_column() -> pd.DataFrame:
    made = pd.DataFrame({"a": [1, 2]})
    made["b"] = ["x", None]
    return made


def gaps(number: int) -> Any:
    """Return equal records with different padding bytes between their fields."""
    made = np.full(FIELDS.nbytes, number, dtype=np.uint8).view(FIELDS.dtype)
    for name in ("a", "b"):
        made[name] = FIELDS[name]
    return made


def masked(under: int) -> Any:
    made = pd.array([under, 2], dtype="Int64")
    made[0] = pd.NA
    return made


EQUAL: dict[str, tuple[Any, Any]] = {
    "order in memory": (ARRAY, np.asfortranarray(ARRAY)),
    "order of objects": (OBJECTS, np.asfortranarray(OBJECTS)),
    "order of masked ones": (np.ma.array(ARRAY), np.ma.array(np.asfortranarray(ARRAY))),
    "no mask": (np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 0])),
    "steps": (np.arange(4)[::2], np.array([0, 2])),
    "gaps": (gaps(1), gaps(2)),
    "blocks": (frame(), column_by_column()),
    "under what is missing": (pd.Series(masked(1)), pd.Series(masked(5))),
    "chunks": (
        pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False),
        pl.DataFrame({"a": [1, 2]}),
    ),
    "copies": (frame().set_index("b"), frame().set_index("b").copy()),
}


@pytest.mark.parametrize("kind", EQUAL)
def test_equal_values_have_the_same_hash(kind: str) -> None:
    first, second = EQUAL[kind]
    assert stable_hash(first) == stable_hash(second)
