"""Splitting of `task.map` into one call for each element."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from flowspan.core.values.annotations import Annotation, allow_failure, unmapped
from flowspan.core.values.inspection import is_instance, type_attribute
from flowspan.drivers.futures.arguments import UPSTREAM, pending_in, resolve
from flowspan.drivers.futures.future import wait_until_done
from flowspan.exceptions import MappingLengthMismatch, MappingMissingIterable

if TYPE_CHECKING:
    from collections.abc import Iterator

    Call = tuple[tuple[Any, ...], dict[str, Any]]

# Not io.IOBase itself: as an abstract class, it would hash the class of a value.
_NOT_MAPPED = (str, bytes, bytearray, io.IOBase.__bases__[0])


def split_calls(task_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Call]:
    """Yield the arguments of each call that `map` makes.

    Args:
        task_name: The name of the task, for errors.
        args: The positional arguments given to `map`.
        kwargs: The keyword arguments given to `map`.

    Raises:
        MappingMissingIterable: There is nothing to map over.
        MappingLengthMismatch: The iterables have different lengths.
        UpstreamFailed: A mapped future or state did not complete.
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
    """Return the values for the calls, and True if there is one for each (False: one for all)."""
    if is_instance(value, unmapped):
        return [value.unwrap()], False
    if is_instance(value, allow_failure) and is_instance(value.unwrap(), UPSTREAM):
        column, is_mapped = _column(_mapped(value))
        return [value.rewrap(item) for item in column], is_mapped
    if is_instance(value, Annotation):
        column, is_mapped = _column(value.unwrap())
        return [value.rewrap(item) for item in column], is_mapped
    items = _items_of(_mapped(value))
    return ([value], False) if items is None else (items, True)


def _mapped(value: Any) -> Any:
    """Return the value to map over: the result of a future or state, else the value itself.

    Raises:
        UpstreamFailed: The upstream run did not complete.
    """
    if not is_instance(value, (*UPSTREAM, allow_failure)):
        return value
    while pending := pending_in(value):
        wait_until_done(pending)
    return resolve(value)


def _items_of(value: Any) -> list[Any] | None:
    """Return the elements of a mapped value; None for a value that every call gets unchanged."""
    kind = type(value)
    if issubclass(kind, _NOT_MAPPED) or type_attribute(kind, "__iter__") is None:
        return None
    # A pydantic model is iterable over its fields, but users see it as one value.
    if type_attribute(kind, "__pydantic_fields__") is not None or _is_old_model(kind):
        return None
    try:
        items = iter(value)
    except TypeError:  # an array or tensor without dimensions
        return None
    return [item for item in items]  # noqa: C416 - `list` would call `__length_hint__`


def _is_old_model(kind: type) -> bool:
    """Return True for models of pydantic 1 and of its copy in pydantic 2."""
    return type_attribute(kind, "__fields__") is not None and any(
        base.__module__ in {"pydantic.main", "pydantic.v1.main"} for base in kind.__mro__
    )
