"""Crashed runs in doubt: their process fell silent, and may come back.

`domain.session_ends` has the rule. This process examines the processes of its own machine once a
second; all else follows from what is stored about the session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan_service.domain.session_ends import remaining_us
from flowspan_service.domain.sessions import SessionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan_service.app.ports import Clock
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import SessionEnd, SpanSource

EXAMINE_US = 1_000_000
"""The interval between two looks at a process."""
READ_US = 10_000_000
"""The interval between two looks at what is stored: the session may have come back."""
MAX_RUNS = 10_000
"""The maximum number of runs in doubt. Above it, the search for more pauses."""


@dataclass(slots=True)
class _Doubt:
    """The runs of one session. The times are on the monotonic clock."""

    end: SessionEnd
    read_us: int
    """The time at which the stored facts are read again."""
    check_us: int
    """The time of the next check of any kind."""
    runs: dict[int, str] = field(default_factory=dict)
    """Their ids, by position."""


class Doubts:
    """The crashed runs whose process may come back. For the exporter's thread only.

    Args:
        clock: The time.
        exists: Returns whether a process exists, by its id, host and mark; None if unknown.
    """

    def __init__(self, clock: Clock, exists: Callable[[int, str, str], bool | None]) -> None:
        self._clock = clock
        self._exists = exists
        self._sessions: dict[str, _Doubt] = {}
        self._run_count = 0

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._sessions

    @property
    def is_full(self) -> bool:
        """True if no more runs are taken."""
        return self._run_count >= MAX_RUNS

    def note(self, run: Run, source: SpanSource | None) -> bool:
        """Return True if the process of a crashed run may come back, and note the run then."""
        end = None if source is None else source.end
        left_us = self._left_us(end)
        if end is None or not left_us:
            return False
        session_id = run.session_id or ""
        if session_id not in self._sessions:
            self._sessions[session_id] = self._scheduled(end, left_us, {})
        runs = self._sessions[session_id].runs
        if run.position not in runs:
            runs[run.position] = run.id
            self._run_count += 1
        return True

    def low_position(self) -> int | None:
        """Return the lowest position of a run in doubt; None without one."""
        return min((min(doubt.runs) for doubt in self._sessions.values()), default=None)

    def pause_us(self) -> int | None:
        """Return the time until the next check; None if nothing is in doubt."""
        if not self._sessions:
            return None
        due_us = min(doubt.check_us for doubt in self._sessions.values())
        return max(0, due_us - self._clock.monotonic_us())

    def due(self) -> list[str]:
        """Return the sessions whose stored facts must be read again."""
        now_us, due = self._clock.monotonic_us(), []
        for session_id, doubt in self._sessions.items():
            if doubt.check_us > now_us:
                continue
            if now_us < doubt.read_us and self._state_of(doubt.end):
                doubt.check_us = min(now_us + EXAMINE_US, doubt.read_us)
            else:
                due.append(session_id)
        return due

    def runs_of(self, session_id: str) -> dict[int, str]:
        """Return the ids of the runs in doubt of a session, by position."""
        return dict(self._sessions[session_id].runs)

    def settle(self, session_id: str, source: SpanSource | None) -> dict[int, str]:
        """Judge a session by facts that were just read.

        Returns:
            The ids of its runs by position if its process is over; they are in doubt no more.
        """
        end = None if source is None else source.end
        left_us = self._left_us(end)
        runs = self._sessions[session_id].runs
        if end is not None and left_us:
            self._sessions[session_id] = self._scheduled(end, left_us, runs)
            return {}
        self.drop(session_id, list(runs))
        return runs

    def drop(self, session_id: str, positions: Iterable[int]) -> None:
        """Drop runs of a session."""
        doubt = self._sessions[session_id]
        kept = {at: run_id for at, run_id in doubt.runs.items() if at not in set(positions)}
        self._run_count -= len(doubt.runs) - len(kept)
        doubt.runs = kept
        if not kept:
            del self._sessions[session_id]

    def pass_to(self, position: int) -> None:
        """Drop the runs up to a position, which another process has exported."""
        for session_id, doubt in list(self._sessions.items()):
            self.drop(session_id, [each for each in doubt.runs if each <= position])

    def forget(self) -> None:
        """Drop all."""
        self._sessions.clear()
        self._run_count = 0

    def _scheduled(self, end: SessionEnd, left_us: int, runs: dict[int, str]) -> _Doubt:
        now_us = self._clock.monotonic_us()
        read_us = now_us + min(left_us, READ_US)
        check_us = min(read_us, now_us + EXAMINE_US) if self._state_of(end) else read_us
        return _Doubt(end, read_us, check_us, runs)

    def _state_of(self, end: SessionEnd) -> bool | None:
        """Return whether the process of a LOST session exists; None if that is unknown."""
        if not end.process_mark or end.status != SessionStatus.LOST:
            return None
        return self._exists(end.process_id, end.hostname, end.process_mark)

    def _left_us(self, end: SessionEnd | None) -> int:
        exists = None if end is None else self._state_of(end)
        return remaining_us(end, now_us=self._clock.now_us(), exists=exists)
