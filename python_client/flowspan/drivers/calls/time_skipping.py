"""Time skipping in tests: retry delays are reported but not waited for.

The deadlines of the enclosing runs move closer by the skipped time. If a deadline falls into the
delay, the retried run waits briefly to be interrupted by it. If nothing can interrupt it, because
it blocks the event loop of the timed-out run, it continues, as it would after a real delay.
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
    """The deadline of a running attempt.

    Attributes:
        thread_id: The thread whose event loop it needs; 0 for none.
    """

    thread_id: int

    def advance(self, seconds: float) -> bool:
        """Move it closer; return True if it has passed. May be called from any thread."""


_limits: dict[str, list[Limit]] = {}
"""The active deadlines, by the ids of their runs."""


@contextmanager
def limited_by(run: Run, limit: Limit) -> Iterator[None]:
    """Register the deadline of a run for the duration of the block."""
    limits = _limits.setdefault(run.record.id, [])
    limits.append(limit)
    try:
        yield
    finally:
        limits.remove(limit)
        if not limits:
            _limits.pop(run.record.id, None)


def skip(run: Run, delay_s: float) -> float:
    """Skip a retry delay.

    Args:
        run: The run that is retried after the delay.
        delay_s: The delay.

    Returns:
        The remaining wait: 0, unless a deadline that has passed must interrupt it.
    """
    is_over = False
    above = run.parent
    while above is not None:
        for limit in tuple(_limits.get(above.record.id, ())):
            blocks = limit.thread_id == get_ident() and not run.definition.is_async
            is_over = (limit.advance(delay_s) and not blocks) or is_over
        above = above.parent
    return min(delay_s, _BREAK_OFF_S) if is_over else 0.0
