"""Conversion of arrays, series, tables and scalars of data libraries to JSON-compatible values.

Types are recognized by class name, so that none of the libraries is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from flowspan.core.values.inspection import names_of, type_name

if TYPE_CHECKING:
    from collections.abc import Callable


class DataTable(Protocol):
    """The static type of a table, series or array of a data library."""

    @property
    def shape(self) -> Any:
        """The numbers of rows and columns."""


MAX_ITEMS = 1 << 20
"""Maximum number of elements to convert. Larger values would exceed every size limit anyway."""


def number_form(value: Any) -> Any:
    """Convert a numpy scalar to a Python scalar.

    Raises:
        TypeError: It is not one, or has no Python equivalent.
    """
    kinds = _names_of(type(value))
    if "numpy.generic" not in kinds:
        raise TypeError(f"{type_name(type(value))} is not a scalar of numpy")
    if "numpy.datetime64" in kinds or "numpy.timedelta64" in kinds:
        return None if str(value) == "NaT" else _time_form(value)
    plain = value.item()
    # `item` returns a number without a Python type (longdouble) unchanged.
    return float(value) if type(plain) is type(value) else plain


def data_form(value: Any) -> Any:
    """Convert a numpy, pandas, polars or pyarrow value to lists, dictionaries and scalars.

    A table becomes a list of rows, each a dictionary by column. Any other collection becomes a list
    of its elements.

    Raises:
        TypeError: Its type is not known.
        ValueError: It has too many elements.
    """
    for name in _names_of(type(value)):
        convert = _CONVERTERS.get(name)
        if convert is not None:
            return convert(value)
    return number_form(value)


def is_table(value: object) -> bool:
    """Return True for data library values that can be shown as a table."""
    return any(name in _TABLES for name in _names_of(type(value)))


def table_form(value: Any) -> list[Any]:
    """Convert a value for which `is_table` is true to rows; a series becomes a single column.

    So does an array, except a numpy array, which already has rows.

    Raises:
        ValueError: It has too many elements.
    """
    names = _names_of(type(value))
    if "pandas.Series" in names:
        column = "value" if value.name is None else value.name
        return _pandas_rows(value.to_frame(column))
    if "polars.Series" in names:
        return [{value.name or "value": item} for item in _listed(value)]
    if "pandas.MultiIndex" in names:
        return _multi_index_rows(value)
    if "pandas.Index" in names:
        column = "value" if value.name is None else _label(value.name)
        return [{column: item} for item in _listed(value)]
    if any(name in _COLUMNS for name in names):
        return [{"value": item} for item in data_form(value)]
    rows: list[Any] = data_form(value)
    return rows


def _names_of(kind: type) -> list[str]:
    """Return the names of a class and its bases, with the package instead of the module."""
    return [f"{module.partition('.')[0]}.{name}" for module, name in names_of(kind)]


def _time_form(value: Any) -> Any:
    if "numpy.datetime64" in _names_of(type(value)):
        return str(value)
    return value.astype("timedelta64[us]").item().total_seconds()


def _check_size(count: int) -> None:
    if count > MAX_ITEMS:
        raise ValueError(f"it has {count} elements; at most {MAX_ITEMS} can be shown")


def _array(value: Any) -> Any:
    _check_size(value.size)
    if value.dtype.kind in "mM":  # Python's types are not precise enough for all of them
        return [_array(item) if item.ndim else number_form(item) for item in value]
    return value.tolist()


def _listed(value: Any) -> list[Any]:
    _check_size(len(value))
    items: list[Any] = value.to_list()
    return items


def _pandas_rows(value: Any) -> list[dict[str, Any]]:
    _check_size(value.size)
    # Row labels belong to the table, unless they are mere row numbers, as sorting and filtering
    # leave them.
    index = value.index
    if index.nlevels > 1 or index.name is not None or index.dtype.kind not in "iu":
        value = value.reset_index(allow_duplicates=True)
    columns = _distinct([_label(label) for label in value.columns])
    return [
        dict(zip(columns, row, strict=True)) for row in value.itertuples(index=False, name=None)
    ]


def _multi_index_rows(value: Any) -> list[dict[str, Any]]:
    _check_size(len(value) * value.nlevels)
    # The same names that pandas gives row labels when they become columns.
    names = [f"level_{at}" if name is None else name for at, name in enumerate(value.names)]
    return _pandas_rows(value.to_frame(index=False, name=names, allow_duplicates=True))


def _pandas_array(value: Any) -> list[Any]:
    _check_size(value.size)
    items: list[Any] = value.tolist()
    return items


def _polars_rows(value: Any) -> list[dict[str, Any]]:
    _check_size(value.height * value.width)
    rows: list[dict[str, Any]] = value.to_dicts()
    return rows


def _arrow_array(value: Any) -> list[Any]:
    _check_size(len(value))
    items: list[Any] = value.to_pylist()
    return items


def _arrow_rows(value: Any) -> list[dict[str, Any]]:
    _check_size(value.num_rows * value.num_columns)
    columns = _distinct(list(value.column_names))
    rows: list[dict[str, Any]] = value.rename_columns(columns).to_pylist()
    return rows


def _label(label: Any) -> str:
    """Return a column label as text; the parts of a multi-level label are joined by a slash."""
    return "/".join(map(str, label)) if type(label) is tuple else str(label)


def _distinct(labels: list[str]) -> list[str]:
    """Disambiguate duplicate labels, as pandas does when it reads a file ("a", "a.1")."""
    seen: dict[str, int] = {}
    distinct = []
    for label in labels:
        count = seen.get(label, 0)
        seen[label] = count + 1
        distinct.append(f"{label}.{count}" if count else label)
    return distinct


def _nothing(_: Any) -> None:
    return None


_COLUMNS = frozenset({"pandas.ExtensionArray", "pyarrow.Array", "pyarrow.ChunkedArray"})
"""Arrays that become a table with one column."""

_TABLES = _COLUMNS | frozenset(
    {
        "numpy.ndarray",
        "pandas.DataFrame",
        "pandas.Index",
        "pandas.Series",
        "polars.DataFrame",
        "polars.Series",
        "pyarrow.RecordBatch",
        "pyarrow.Table",
    }
)

_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "numpy.ndarray": _array,
    "pandas.DataFrame": _pandas_rows,
    "pandas.ExtensionArray": _pandas_array,  # including those of other libraries
    "pandas.Index": _listed,
    "pandas.NAType": _nothing,
    "pandas.NaTType": _nothing,
    "pandas.Interval": str,
    "pandas.Period": str,
    "pandas.Series": _listed,
    "polars.DataFrame": _polars_rows,
    "polars.Series": _listed,
    "pyarrow.Array": _arrow_array,
    "pyarrow.ChunkedArray": _arrow_array,
    "pyarrow.RecordBatch": _arrow_rows,
    "pyarrow.Scalar": lambda value: value.as_py(),
    "pyarrow.Table": _arrow_rows,
}
