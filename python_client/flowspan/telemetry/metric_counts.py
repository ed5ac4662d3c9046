"""Counts of the runs of this process, from the events that they report.

The reporter's thread counts, so the threads of flows pay nothing. Another thread reads the counts
without a lock: a value that is just being counted may be in one of two numbers that belong
together, and is in both at the next look.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.core.events import CREATED, STATE
from flowspan.telemetry.metric_families import RUN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowspan.core.events import Event, RunRecord

_RUNNING = 3
_CANCELLING = 5
_COMPLETED = 6
"""The first of the types of terminal states."""
STATE_NAMES = {6: "COMPLETED", 7: "FAILED", 8: "CANCELLED", 9: "CRASHED"}
KINDS = {True: "flow", False: "task"}


class _OpenRun:
    """A run that has not ended; times are in nanoseconds.

    Attributes:
        record: The run.
        started: The time of its start; 0 before.
        since: The time since which its code runs; 0 while it does not.
        ran: The time that its code ran before.
    """

    __slots__ = ("ran", "record", "since", "started")

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.started = self.since = self.ran = 0

    def pause(self, now: int) -> None:
        """Note that its code no longer runs."""
        if now > self.since:
            self.ran += now - self.since
        self.since = 0


class Durations:
    """A histogram of durations in seconds.

    Attributes:
        counts: The number of durations in each bucket; the last one is above all bounds.
        total: The sum of the durations.
        exemplars: By bucket: the last duration, its end in nanoseconds since 1970 UTC, and its run.
    """

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(RUN_SECONDS) + 1)
        self.total = 0.0
        self.exemplars: dict[int, tuple[float, int, RunRecord]] = {}


class RunCounts:
    """The counts.

    Args:
        on_duration: Called with the duration of each ended run in seconds, and True for a flow run;
            None for no call.

    Attributes:
        began_ns: The time at which the counting began, in nanoseconds since 1970 UTC.
        ended: The number of ended runs, by True for flow runs, and by state.
        durations: The durations, by True for flow runs.
    """

    def __init__(self, on_duration: Callable[[float, bool], object] | None = None) -> None:
        self._on_duration = on_duration
        self.reset()

    def reset(self) -> None:
        """Begin anew, in the child of a fork."""
        self.began_ns = clock.now_ns()
        self.ended: dict[tuple[bool, int], int] = {}
        self.durations = {True: Durations(), False: Durations()}
        self._open: dict[str, _OpenRun] = {}

    def note(self, events: Iterable[Event]) -> None:
        """Count events of states, in order; others are ignored."""
        runs = self._open
        for event in events:
            code = event[0]
            if code == STATE:
                run = runs.get(event[1])
                if run is None:
                    continue
                state, now = event[3], event[6]
                if state == _RUNNING:
                    if not run.since:
                        run.since = now
                        run.started = run.started or now
                elif state >= _COMPLETED:
                    del runs[event[1]]
                    self._note_end(run, state, now)
                elif run.since and state != _CANCELLING:
                    run.pause(now)
            elif code == CREATED:
                record = event[1]
                runs[record.id] = _OpenRun(record)

    def _note_end(self, run: _OpenRun, state: int, now: int) -> None:
        is_flow = run.record.is_flow
        key = is_flow, state
        self.ended[key] = self.ended.get(key, 0) + 1
        if not run.started:
            return
        if run.since:
            run.pause(now)
        seconds = run.ran / 1e9
        durations = self.durations[is_flow]
        bucket = bisect_left(RUN_SECONDS, seconds)
        durations.counts[bucket] += 1
        durations.total += seconds
        durations.exemplars[bucket] = seconds, now, run.record
        if self._on_duration is not None:
            self._on_duration(seconds, is_flow)
