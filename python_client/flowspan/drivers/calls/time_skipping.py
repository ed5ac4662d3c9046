"""Skipping time in tests: a retry delay that is reported, but not waited for.

Time would have passed meanwhile, so the deadlines of the runs around the one that is retried come
nearer by as much. One that falls into the delay is over: the run that is retried waits a moment, to
be broken off by it. Where nothing can break it off, since it blocks the event loop of the run that
is over time, it goes on, as it would after the delay.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.run import Run


_BREAK_OFF_S = 3.0
"""Maximum time until a run notices its deadline."""


class Limit(Protocol):
    """The deadline of an attempt that is running.

    Attributes:
        thread_id: The thread whose event loop it needs; 0 for none.
    """

    thread_id: int

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
        How long to wait: nothing, unless a deadline that was passed is to break the wait off.
    """
    is_over = False
    above = run.parent
    while above is not None:
        for limit in tuple(_limits.get(above.record.id, ())):
            blocks = limit.thread_id == get_ident() and not run.definition.is_async
            is_over = (limit.advance(delay_s) and not blocks) or is_over
        above = above.parent
    return min(delay_s, _BREAK_OFF_S) if is_over else 0.0
