"""Pages that end by their size, too: payloads, failures and messages may be large."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowspan_service.app.queries import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan_service.domain.runs import LogEntry, Run, Transition
    from flowspan_service.domain.states import State

T = TypeVar("T")


def bounded(
    items: Iterable[T], size_of: Callable[[T], int], limit: int, limit_bytes: int
) -> Page[T]:
    """The first items, up to the limits.

    Args:
        items: The items, taken one by one and no more of them than needed: ask for one more than
            the limit, to learn whether there is one.
        size_of: How large an item is, in bytes or about so.
        limit: How many at most.
        limit_bytes: The page ends after the item with which it is larger than this.
    """
    page: list[T] = []
    size = 0
    for item in items:
        if len(page) == limit or size > limit_bytes:
            return Page(items=page, has_more=True)
        page.append(item)
        size += size_of(item)
    return Page(items=page, has_more=False)


def run_bytes(run: Run) -> int:
    """How large a run's payloads are."""
    size = 0 if run.parameters is None else len(run.parameters.data)
    return size + _state_bytes(run.state)


def transition_bytes(transition: Transition) -> int:
    """How large a transition's payloads are."""
    return _state_bytes(transition.state)


def log_bytes(entry: LogEntry) -> int:
    """How large a log record is."""
    return len(entry.message.encode())


def _state_bytes(state: State) -> int:
    return len(state.message) + len(state.failure or b"") + len(state.result or b"")
