"""Counters of the reporter for metrics, over all sessions of the process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowspan.core.events import Event
    from flowspan.reporter.backlog import Backlog


class Meter(Protocol):
    """A counter of the reported events.

    Attributes:
        observe: Called with the events of each batch but its logs, in the reporter's thread, in
            order. May change between two batches.
    """

    observe: Callable[[Sequence[Event]], object]

    def shutdown(self) -> None:
        """Export the last counts; bounded."""
        ...

    def close(self) -> None:
        """Export the last counts in the background."""
        ...


class Tally:
    """The counts. The reporter's thread changes them, any thread may read them.

    Attributes:
        lost_logs: Number of log records that were dropped for lack of space.
        lost_states: Number of states that were dropped for lack of space.
        meter: The counter of the reported events; None without metrics.
        meter_key: The choice that led to the meter.
    """

    def __init__(self) -> None:
        self.meter: Meter | None = None
        self.meter_key: object = None
        self.reset()

    def reset(self) -> None:
        """Begin anew, in the child of a fork."""
        self.lost_logs = self.lost_states = 0
        self._lock = threading.Lock()
        self._backlogs: list[Backlog] = []
        self._spooled_before = 0
        """Events that backlogs of earlier sessions have spooled."""

    def add(self, backlog: Backlog) -> None:
        """Add the backlog of a session that begins."""
        with self._lock:
            self._backlogs.append(backlog)

    def remove(self, backlog: Backlog) -> None:
        """Remove the backlog of a session that ended."""
        with self._lock:
            if backlog in self._backlogs:
                self._backlogs.remove(backlog)
                self._spooled_before += backlog.spool.spooled_events

    def spooled_events(self) -> int:
        """Return the number of events that were written to spools."""
        with self._lock:
            now = sum(backlog.spool.spooled_events for backlog in self._backlogs)
            return self._spooled_before + now

    def waiting_events(self) -> int:
        """Return the number of events that the service has not acknowledged."""
        return sum(backlog.waiting_events for backlog in self._current())

    def spool_bytes(self) -> int:
        """Return the size of the spools of this process."""
        return sum(backlog.spool.size_bytes for backlog in self._current())

    def _current(self) -> list[Backlog]:
        with self._lock:
            return self._backlogs.copy()

    def close(self) -> None:
        """Export the last counts, at the end of the process."""
        if self.meter is not None:
            self.meter.shutdown()


process_tally = Tally()
"""The counts of this process."""
