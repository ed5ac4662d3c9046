"""Pages that end by their size, too: payloads, failures and messages may be large."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from flowspan_service.app.queries import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flowspan_service.domain.artifacts import Artifact
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.domain.states import State
    from flowspan_service.domain.variables import Variable

T = TypeVar("T")

RUN_BYTES = 512
TRANSITION_BYTES = 100
RECORD_BYTES = 100
OBJECT_BYTES = 256
"""What ids, times, numbers and names take in a message, or about so."""


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
    """How large a run's message is, or about so."""
    size = RUN_BYTES + _state_bytes(run.state)
    if run.parameters is not None:
        size += len(run.parameters.data)
    return size + tag_bytes(run.tags) if run.tags else size


def payload_bytes(run: Run) -> int:
    """How large the values are that a run holds: parameters, result and failure."""
    state = run.state
    size = 0 if run.parameters is None else len(run.parameters.data)
    if state.failure is not None:
        size += len(state.failure)
    return size if state.result is None else size + len(state.result)


def transition_bytes(transition: Transition) -> int:
    """How large a transition's message is, or about so."""
    return TRANSITION_BYTES + _state_bytes(transition.state)


def log_bytes(entry: LogEntry) -> int:
    """How large a log record's message is, or about so."""
    return RECORD_BYTES + text_bytes(entry.logger) + text_bytes(entry.message)


def artifact_bytes(artifact: Artifact) -> int:
    """How large an artifact's message is, or about so."""
    size = OBJECT_BYTES + text_bytes(artifact.key or "") + text_bytes(artifact.description)
    return size if artifact.data is None else size + len(artifact.data.data)


def variable_bytes(variable: Variable) -> int:
    """How large a variable's message is, or about so."""
    size = OBJECT_BYTES + text_bytes(variable.name) + tag_bytes(variable.tags)
    return size + len(variable.value.data)


def tag_bytes(tags: Sequence[str]) -> int:
    """How large tags are."""
    return sum(map(text_bytes, tags)) + 2 * len(tags)


def text_bytes(text: str) -> int:
    """How large a text is; the most are ASCII, which their strings know."""
    return len(text) if text.isascii() else len(text.encode())


def _state_bytes(state: State) -> int:
    size = text_bytes(state.message) if state.message else 0
    if state.failure is not None:
        size += len(state.failure)
    return size if state.result is None else size + len(state.result)
