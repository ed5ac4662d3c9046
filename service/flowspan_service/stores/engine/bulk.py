"""Helpers for statements about many rows."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")

IDS_PER_STATEMENT = 500


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in pieces of at most that size."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def weighed(items: Iterable[T], size_of: Callable[[T], int], maximum: int) -> Iterator[list[T]]:
    """Yield the items in pieces that end with the item that takes them above the maximum size.

    Items may be large and drivers copy them: no statement takes too many at once.
    """
    piece: list[T] = []
    size = 0
    for item in items:
        piece.append(item)
        size += size_of(item)
        if size > maximum:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the values of the rows, one after the other."""
    return list(chain.from_iterable(rows))
