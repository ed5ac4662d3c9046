"""Skipping time in tests: a retry delay that is reported, but not waited for.

The clock of runs would have moved on meanwhile, so the deadlines of the runs around the one that is
retried come nearer by as much. A deadline that falls into the delay is over: the run that is
retried then waits, and is broken off by it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.runs import Run


class Limit(Protocol):
    """The deadline of an attempt that is running."""

    def advance(self, seconds: float) -> bool:
        """Bring it nearer; True if it is over then. May be called from any thread."""


_limits: dict[str, list[Limit]] = {}
"""The deadlines that count, by the ids of their runs."""


@contextmanager
def limited_by(run: Run, limit: Limit) -> Iterator[None]:
    """Note the deadline of a run while the block runs."""
    limits = _limits.setdefault(run.record.id, [])
    limits.append(limit)
    try:
        yield
    finally:
        limits.remove(limit)
        if not limits:
            _limits.pop(run.record.id, None)


def skip(run: Run, delay_s: float) -> float:
    """Let the time of a retry delay pass without waiting for it.

    Args:
        run: The run that is tried again after the delay.
        delay_s: The delay.

    Returns:
        How long to wait: nothing, or all of it, where a deadline breaks the wait off.
    """
    is_over = False
    above = run.parent
    while above is not None:
        for limit in tuple(_limits.get(above.record.id, ())):
            is_over = limit.advance(delay_s) or is_over
        above = above.parent
    return delay_s if is_over else 0.0
