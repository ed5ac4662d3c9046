"""The decision whether the process of a session is over, or was only silent.

A session that fell silent may come back: its process was stopped, or cut off. Its client then
exports the spans of its runs itself. So the service exports them only when it knows that the
process is over, or when it has waited long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.sessions import SessionStatus

if TYPE_CHECKING:
    from flowspan_service.domain.sessions import SessionEnd

SILENT_US = 300_000_000
"""The time after which a LOST session counts as over if its process cannot be examined."""
ALIVE_US = 3_600_000_000
"""The same for a process that exists: it may be stopped, or in a debugger."""
RETURNED_US = 24 * ALIVE_US
"""The same for a session that came back, and has not reported the end of its runs yet."""


def remaining_us(end: SessionEnd | None, *, now_us: int, exists: bool | None) -> int:
    """Return the time after which the process of a session counts as over; 0 if it is over.

    Args:
        end: The facts; None for a session that is forgotten, and so ended long ago.
        now_us: The wall clock.
        exists: Whether its process exists; None if that is unknown.
    """
    if end is None or end.status == SessionStatus.CLOSED:
        return 0
    if end.status == SessionStatus.OPEN:
        return max(0, end.ended_us + RETURNED_US - now_us)
    if end.is_broken_off or exists is False:
        return 0
    waited_us = ALIVE_US if exists else SILENT_US
    return max(0, end.ended_us + waited_us - now_us)
