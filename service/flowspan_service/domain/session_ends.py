"""The decision whether the process of a session is over, or was only silent.

A session that fell silent may come back: its process was stopped, or cut off. Its client then
exports the spans of its runs itself. So the service exports them only when it knows that the
process is over, or when it has waited long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.sessions import BROKEN_OFF, PROCESS_MARK, SessionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

SILENT_US = 300_000_000
"""The time after the verdict until a process that cannot be examined counts as over."""
ALIVE_US = 3_600_000_000
"""The same for a process that exists: it may be stopped, or in a debugger."""
RETURNED_US = 24 * ALIVE_US
"""The same for a session that came back, and has not reported the end of its runs yet."""


class SessionEnd(NamedTuple):
    """The stored facts about the end of a session.

    Attributes:
        status: Its status.
        ended_us: The time of the verdict, by the wall clock; of an OPEN session, the end of its
            lease.
        is_broken_off: True if its last connection was ended by the other side: a process that is
            stopped, or cut off, ends none.
        hostname: The host of its process; empty if unknown.
        process_id: The id of its process; 0 if unknown.
        process_mark: Distinguishes its process from others with that id, on the host of the service
            that saw it; empty if no service could see it.
    """

    status: int
    ended_us: int
    is_broken_off: bool = False
    hostname: str = ""
    process_id: int = 0
    process_mark: str = ""

    @property
    def is_open(self) -> bool:
        """True if the session is OPEN: it came back."""
        return self.status == SessionStatus.OPEN


def end_of(status: int, ended_us: int, client: Mapping[str, str]) -> SessionEnd:
    """Return the facts in the columns of a session.

    Args:
        status: Its status.
        ended_us: The end of its lease.
        client: The facts about its client (`Session.client`).
    """
    process_id = client.get("process_id", "")
    return SessionEnd(
        status,
        ended_us,
        is_broken_off=BROKEN_OFF in client,
        hostname=client.get("hostname", ""),
        process_id=int(process_id) if process_id.isdecimal() else 0,
        process_mark=client.get(PROCESS_MARK, ""),
    )


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
