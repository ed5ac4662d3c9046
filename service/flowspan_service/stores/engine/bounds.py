"""Keyset pages, bounded by the number of items and by their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flowspan_service.app.ports.pages import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from flowspan_service.domain.runs import Run, RunDetails
    from flowspan_service.domain.states import State

T = TypeVar("T")

OBJECT_BYTES = 256
"""The approximate size of the ids, times, numbers and names in the message of an object."""


class Limits(Protocol):
    """The bounds in a query."""

    @property
    def limit(self) -> int:
        """The maximum number of items."""
        ...

    @property
    def limit_bytes(self) -> int:
        """The size after which the page ends."""
        ...


def fetch_page(
    connection: Connection,
    statement: Select[*tuple[Any, ...]],
    make: Callable[[Sequence[Any]], T],
    size_of: Callable[[T], int],
    query: Limits,
    *,
    rows_buffered: int,
    is_wanted: Callable[[T], bool] | None = None,
) -> Page[T]:
    """Return the first items of a statement's answer, up to the limits of the query.

    Args:
        connection: The database.
        statement: The rows in the order of the page, from the key after the last page on. It yields
            at least one row more than the limit, if there is one.
        make: Creates an item from a row.
        size_of: Returns the approximate size of an item in bytes.
        query: The limits.
        rows_buffered: The number of rows fetched at once, so that a page of large rows is not
            loaded whole; 0 fetches all at once.
        is_wanted: A filter that the database does not apply.
    """
    if rows_buffered:
        connection = connection.execution_options(yield_per=rows_buffered)
    with connection.execute(statement) as rows:
        items: Iterable[T] = map(make, rows)
        if is_wanted is not None:
            items = filter(is_wanted, items)
        return bounded(items, size_of, query.limit, query.limit_bytes)


def bounded(
    items: Iterable[T], size_of: Callable[[T], int], limit: int, limit_bytes: int
) -> Page[T]:
    """Return the first items, up to the limits.

    Args:
        items: The items. Only as many as needed are taken, one by one: pass one more than the limit
            to learn whether there is one.
        size_of: Returns the approximate size of an item in bytes.
        limit: The maximum number of items.
        limit_bytes: The page ends after the item that takes it above this size.
    """
    page: list[T] = []
    size = 0
    for item in items:
        if len(page) == limit or size > limit_bytes:
            return Page(items=page, has_more=True)
        page.append(item)
        size += size_of(item)
    return Page(items=page, has_more=False)


def unchanged_bytes(run: Run) -> int:
    """Return the size of the texts and values that a run has from its creation."""
    size = _created_bytes(run)
    return size + tag_bytes(run.tags) if run.tags else size


def _created_bytes(run: Run) -> int:
    size = 0 if run.parameters is None else len(run.parameters.data)
    if run.details is not None and run.details.inputs is not None:
        size += len(run.details.inputs)
    return size


def payload_bytes(run: Run) -> int:
    """Return the size of the values of a run: parameters, inputs, result and failure."""
    state = run.state
    size = _created_bytes(run)
    if state.failure is not None:
        size += len(state.failure)
    return size if state.result is None else size + len(state.result)


def state_bytes(state: State) -> int:
    """Return the size of the texts and values of a state."""
    size = text_bytes(state.message) if state.message else 0
    if state.failure is not None:
        size += len(state.failure)
    return size if state.result is None else size + len(state.result)


def detail_bytes(details: RunDetails) -> int:
    """Return the size of the details of a run in its message."""
    size = 0 if details.definition is None else len(details.definition.data)
    return size if details.inputs is None else size + len(details.inputs)


def tag_bytes(tags: Sequence[str]) -> int:
    """Return the size of tags."""
    return sum(map(text_bytes, tags)) + 2 * len(tags)


def text_bytes(text: str) -> int:
    """Return the size of a string. Strings know whether they are ASCII, and most are."""
    return len(text) if text.isascii() else len(text.encode())
