"""Decomposition of numpy, pandas and polars values into hashable forms.

Equal values may have different memory layouts and so different pickles. None of the libraries is
imported here: a value of a library implies that it is already loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def _of_array(array: Any) -> list[Any]:
    """Return type, shape and elements of an array, in C order."""
    dtype = array.dtype
    head = [type(array), dtype.str, array.shape]
    if dtype.names is not None:  # not the bytes: there may be padding between the fields
        return [*head, *((name, array[name]) for name in dtype.names)]
    if dtype.hasobject:
        return [*head, dtype.metadata and dict(dtype.metadata), array.ravel().tolist()]
    return [*head, array.tobytes()]


def _of_masked(array: Any) -> list[Any]:
    """Return the parts of a masked array; a missing mask or fill value counts as the default."""
    from numpy.ma import getmaskarray  # noqa: PLC0415 - already imported by the array

    filling = array.fill_value
    filling = filling.item() if hasattr(filling, "item") else filling
    return [type(array), array.data, getmaskarray(array), filling]


def _of_dtype(dtype: Any) -> list[Any]:
    if dtype.names is None:
        return [type(dtype), dtype.str, dtype.metadata and dict(dtype.metadata)]
    fields = [(name, *dtype.fields[name]) for name in dtype.names]
    return [type(dtype), dtype.itemsize, fields]


def _of_frame(frame: Any) -> list[Any]:
    """Return the parts of a pandas frame: its columns one by one, whatever its block layout."""
    columns = [frame.iloc[:, index].array for index in range(frame.shape[1])]
    flags = frame.flags.allows_duplicate_labels
    return [type(frame), frame.columns, frame.index, columns, frame.attrs, flags]


def _of_series(series: Any) -> list[Any]:
    flags = series.flags.allows_duplicate_labels
    return [type(series), series.name, series.index, series.array, series.attrs, flags]


def _of_extension(array: Any) -> list[Any]:
    """Return type and values of a pandas column; the data under missing values is ignored."""
    return [type(array), array.dtype, array.astype(object)]


def _of_pandas_array(array: Any) -> list[Any]:
    return [type(array), array.to_numpy()]


def _of_polars_frame(frame: Any) -> list[Any]:
    return [type(frame), *frame.get_columns()]


def _of_polars_series(series: Any) -> list[Any]:
    return [type(series), series.name, repr(series.dtype), series.to_list()]


_EXTENSIONS = (
    *("ArrowExtensionArray", "ArrowStringArray", "BooleanArray", "Categorical", "DatetimeArray"),
    *("FloatingArray", "IntegerArray", "IntervalArray", "PeriodArray", "SparseArray"),
    *("StringArray", "TimedeltaArray"),
)

FORMS: dict[tuple[str, str], Callable[[Any], list[Any]]] = {
    ("numpy", "ndarray"): _of_array,
    ("numpy", "dtype"): _of_dtype,
    ("numpy", "MaskedArray"): _of_masked,
    ("pandas", "DataFrame"): _of_frame,
    ("pandas", "Series"): _of_series,
    ("pandas", "NumpyExtensionArray"): _of_pandas_array,
    ("polars", "DataFrame"): _of_polars_frame,
    ("polars", "Series"): _of_polars_series,
    **{("pandas", name): _of_extension for name in _EXTENSIONS},
}
