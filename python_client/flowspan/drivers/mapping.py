"""`task.map`: one call for each element."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowspan.core.annotations import Annotation, unmapped
from flowspan.core.states import State
from flowspan.drivers.futures import TaskFuture
from flowspan.exceptions import MappingLengthMismatch, MappingMissingIterable

if TYPE_CHECKING:
    from collections.abc import Iterator

    Call = tuple[tuple[Any, ...], dict[str, Any]]

_NOT_MAPPED = (str, bytes, bytearray, io.IOBase, State)


def split_calls(task_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Call]:
    """The arguments of each call that `map` makes.

    Args:
        task_name: For errors.
        args: The positional arguments given to `map`.
        kwargs: The keyword arguments given to `map`.

    Raises:
        MappingMissingIterable: There is nothing to map over.
        MappingLengthMismatch: The iterables are not of the same length.
    """
    columns = [_column(value) for value in (*args, *kwargs.values())]
    lengths = [len(column) for column, is_mapped in columns if is_mapped]
    if not lengths:
        raise MappingMissingIterable(
            f"Task {task_name!r}: map needs at least one iterable among its arguments; to run the "
            "task once, call it or use submit."
        )
    if len(set(lengths)) > 1:
        labels = [f"argument {i}" for i in range(1, len(args) + 1)] + [
            f"{name!r}" for name in kwargs
        ]
        sizes = ", ".join(
            f"{label} has {len(column)}"
            for label, (column, is_mapped) in zip(labels, columns, strict=True)
            if is_mapped
        )
        raise MappingLengthMismatch(
            f"Task {task_name!r}: the iterables given to map must be of the same length: {sizes}. "
            "Give one that is meant for every call as unmapped(…)."
        )
    names = list(kwargs)
    for i in range(lengths[0]):
        values = [column[i] if is_mapped else column[0] for column, is_mapped in columns]
        yield tuple(values[: len(args)]), dict(zip(names, values[len(args) :], strict=True))


def _column(value: Any) -> tuple[list[Any], bool]:
    """The values for the calls, and whether there is one for each (else one for all)."""
    if isinstance(value, unmapped):
        return [value.unwrap()], False
    if isinstance(value, Annotation):
        column, is_mapped = _column(value.unwrap())
        return [value.rewrap(item) for item in column], is_mapped
    if isinstance(value, TaskFuture):
        result = value.result()
        return (list(result), True) if _is_mapped(result) else ([value], False)
    if _is_mapped(value):
        return list(value), True
    return [value], False


def _is_mapped(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, _NOT_MAPPED)
