"""The exporter of spans for crashed runs, and for clients without an OpenTelemetry SDK.

Each span is exported at least once, whichever service process dies. The claim of the loop stores
the position up to which the spans of all processes over the database were exported. One process at
a time exports: it takes the claim, reads the runs that ended after the position, sends their spans,
stores the new position, and releases the claim. If it dies before it stored the position, another
process continues from the stored one after the lease. A span that is exported twice is identical.

The spans of a run go where its client exports its own, or else to the receiver of the service. Each
receiver has a lane of its own (`span_lanes`), and runs whose process may come back wait
(`span_doubts`). The stored position is below all runs that are not done. What is done beyond it is
known to this process alone: after its death, it is done again.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import structlog

from flowspan_service.domain.states import Cause
from flowspan_service.domain.traces import needs_span
from flowspan_service.loops.loop_claims import HeldClaim
from flowspan_service.loops.span_doubts import Doubts
from flowspan_service.loops.span_lanes import Lane, in_thread
from flowspan_service.loops.unreceived_spans import UnreceivedSpans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowspan_service.app.ports import Clock, Heads, Store
    from flowspan_service.app.ports.runs import SpanRuns
    from flowspan_service.domain.otlp_receivers import Receiver, Receivers
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import SpanSource
    from flowspan_service.loops.span_lanes import Sender
    from flowspan_service.loops.span_watermark import OldWatermark

log = structlog.get_logger("flowspan.spans")

LOOP = "spans"
"""The name of the claim."""
CLIENTS_LOOP = "spans to clients' receivers"
"""The name of the claim of services without a receiver: they pass the runs of clients that name
none, which a service with one must not."""

PAGE = 500
"""The maximum number of runs between two writes of the position."""
MOVE_AFTER = 20_000
"""The number of positions without a span after which the position is stored anyway."""
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
RETRY_S = 0.5
"""The pause while another process holds the claim."""
RENEW_S = 3.0
"""The interval of renewals of the claim while receivers keep this process waiting."""
LOOK_INTERVAL_S = 10.0
"""The interval between checks for spans that a dead process left."""
SHORTEST_REST_S = 0.001
SHARED_DOUBT_S = 1.0
"""The interval between checks for runs of other processes while this one keeps the claim."""
CLOSE_TIMEOUT_S = 2.0
MAX_LANES = 32
"""The maximum number of receivers at a time. Idle ones give way; then the search waits."""
MAX_LOOK_BACK = 1_000_000
"""The maximum look-back in positions: a database may be used for long without an exporter."""
UNKNOWN_LOOK_BACK = 10_000
"""The look-back of the first service with an exporter, in positions …"""
UNKNOWN_LOOK_BACK_US = 600_000_000
"""… and in microseconds; the shorter one counts."""


class _Outcome(Enum):
    """The result of a search for spans to export."""

    DONE = "nothing is left"
    WAITING = "the rest must wait for receivers, or for processes that may come back"
    HELD = "another process holds the claim"
    FAILED = "the store cannot be used"


class _Quiet(NamedTuple):
    """A range of positions that this process knows to need no span."""

    after: int
    upto: int

    def skip(self, position: int) -> int:
        """Return the end of the range for a position in it, and any other position unchanged."""
        return self.upto if self.after <= position < self.upto else position


class SpanExporter:
    """A commit listener with a thread that exports.

    Args:
        store: The store.
        clock: The time.
        receivers: Where the spans go.
        senders: Returns a sender to a receiver.
        exists: Returns whether a process exists, by its id, host and mark; None if unknown.
        holder: The name of this process in the claim.
        is_shared: True if other service processes may use the same database. An exporter that is
            alone sleeps until a commit needs it.
        old_watermark: The position that an earlier version left.
        delay_s: The delay of the first search.
        spawn: Starts the threads that send.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        receivers: Receivers,
        senders: Callable[[Receiver], Sender],
        exists: Callable[[int, str, str], bool | None],
        holder: str,
        is_shared: bool,
        old_watermark: OldWatermark,
        delay_s: float = 0.0,
        spawn: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._store = store
        self._clock = clock
        self._receivers = receivers
        self._senders = senders
        loop = LOOP if receivers.own is not None else CLIENTS_LOOP
        self._claim = HeldClaim(store, loop, holder=holder)
        self._is_shared = is_shared and receivers.has_any
        self._old_watermark = old_watermark
        self._delay_s = delay_s
        self._spawn = spawn
        self._lanes: dict[Receiver, Lane] = {}
        self._doubts = Doubts(clock, exists)
        self._unreceived = UnreceivedSpans(clock)
        self._since_us = 0
        """The time before which the first search skips runs."""
        self._wanted = 0
        """The position of the last own commit that needs a span."""
        self._scanned = 0
        """The position up to which this process has looked."""
        self._stored = 0
        """The stored position, as last seen."""
        self._has_row = False
        """True if a position is stored. Without a receiver of the service, none is until a run has
        another one: the first service with a receiver looks back."""
        self._moved_us = 0
        """The time of the last write of the claim."""
        self._quiet = _Quiet(0, 0)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        """Listen to the store, and export the spans that earlier processes left."""
        self._store.on_commit(self)
        self._thread.start()

    def close(self) -> None:
        """End the exporter within two seconds. The next process exports the remaining spans."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)
        for lane in list(self._lanes.values()):
            lane.close()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)

    def waiting_count(self) -> int:
        """Return the number of runs whose spans wait for their receiver. For any thread."""
        return sum(lane.waiting_count for lane in list(self._lanes.values()))

    def __call__(self, *, position: int, ended: Sequence[Run], before: Heads, **_: object) -> None:
        """Note a commit with runs that need a span; called in the thread of the writer."""
        if any(run.trace is not None and self._is_wanted(run) for run in ended):
            self._wanted = position
            self._wake.set()
            return
        quiet = self._quiet
        if quiet.upto == before.position:
            self._quiet = _Quiet(quiet.after, position)
        elif quiet.upto <= self._scanned:  # the search is past it
            self._quiet = _Quiet(before.position, position)
        if self._has_row and position - self._stored >= MOVE_AFTER:
            self._wake.set()

    def _is_wanted(self, run: Run) -> bool:
        if not needs_span(run):
            return False
        if self._receivers.own is not None or run.cause == Cause.SESSION_LOST:
            return True
        return not self._unreceived.is_known(run.session_id)

    # The thread

    def _run(self) -> None:
        self._stop.wait(self._delay_s)
        self._repeat(self._begin)
        while not self._stop.is_set():
            self._sleep(self._repeat(self._look))

    def _sleep(self, outcome: _Outcome) -> None:
        """Sleep until there may be something to do."""
        while not self._stop.is_set():
            is_woken = self._wake.wait(self._rest_s(outcome))
            if is_woken or self._is_shared or self._is_due():
                break
        self._wake.clear()

    def _is_due(self) -> bool:
        now_us = self._clock.monotonic_us()
        lanes = self._lanes.values()
        is_due = any(lane.has_backlog and not lane.pause_us(now_us) for lane in lanes)
        return is_due or bool(self._doubts.due())

    def _rest_s(self, outcome: _Outcome) -> float | None:
        """Return the time to sleep after a search; None to sleep until a commit needs it."""
        rests = [LOOK_INTERVAL_S] if self._is_shared else []
        if outcome is _Outcome.WAITING:
            now_us = self._clock.monotonic_us()
            pauses = [lane.pause_us(now_us) for lane in self._lanes.values() if lane.has_backlog]
            doubt_us = self._doubts.pause_us()
            if doubt_us is not None:
                pauses.append(doubt_us)
                rests += [SHARED_DOUBT_S] if self._is_shared else []
            rests += [max(each / 1e6, SHORTEST_REST_S) for each in pauses]
        return min(rests, default=None)

    def _repeat(self, step: Callable[[], _Outcome]) -> _Outcome:
        """Repeat a step until it was not kept from its work, with pauses."""
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                outcome = step()
            except Exception:
                if self._stop.is_set():
                    break
                log.warning("spans_not_looked_for", exc_info=True)
                outcome = _Outcome.FAILED
            if outcome in (_Outcome.DONE, _Outcome.WAITING):
                return outcome
            if outcome is _Outcome.HELD:
                self._stop.wait(RETRY_S)
                continue
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
        return _Outcome.DONE

    def _begin(self) -> _Outcome:
        """Create the claim if it is missing, and take over the position of an earlier version."""
        claim, head = self._claim.look(), self._store.position()
        left = self._old_watermark.load() if self._receivers.own is not None else None
        if left is not None and left > head:
            left = None  # it belongs to another database
        begin_at = max(0, head - UNKNOWN_LOOK_BACK) if self._receivers.has_any else head
        if claim is None and left is None:
            self._since_us = self._clock.now_us() - UNKNOWN_LOOK_BACK_US
        elif claim is None:
            begin_at = head
        if self._receivers.own is not None and (claim is None or left is not None):
            taken = self._claim.take(begin_at=begin_at, rewind_to=left)
            if taken is None:
                return _Outcome.HELD
            claim = taken
            self._claim.move(None, keep=False)
        if claim is not None and claim.position is not None:
            self._has_row, begin_at = True, claim.position
        self._stored = self._scanned = begin_at
        self._wanted = max(self._wanted, head)
        if self._receivers.own is not None:
            self._forget_old_watermark()
        if head > MAX_LOOK_BACK:
            self._quiet = _Quiet(0, head - MAX_LOOK_BACK)
        return _Outcome.DONE

    def _forget_old_watermark(self) -> None:
        try:
            self._old_watermark.remove()
        except OSError as error:
            log.warning("spans_old_watermark_not_removed", error=str(error))

    def _look(self) -> _Outcome:
        """Export the spans that are due. Take the claim only if the position must be stored."""
        claim = self._claim.look()
        if claim is not None and not self._claim.is_free(claim):
            return _Outcome.HELD
        if claim is not None and claim.position is not None:
            self._adopt(claim.position)
        if not self._is_waiting() and self._has_no_work():
            return _Outcome.DONE
        taken = self._claim.take(begin_at=self._stored)
        if taken is None:
            return _Outcome.HELD
        self._adopt(taken.position or 0)
        return self._work()

    def _is_waiting(self) -> bool:
        lanes = self._lanes.values()
        return bool(self._doubts) or any(lane.is_busy or lane.has_backlog for lane in lanes)

    def _has_no_work(self) -> bool:
        """Look for work without the claim; return True if it found none.

        A service without a receiver passes the runs of clients that name none.
        """
        if self._receivers.own is not None and self._wanted > self._scanned:
            return False
        while True:
            page = self._page()
            if any(self._receivers.own or each for each in self._receivers_of(page.items)):
                return False
            self._scanned = max(self._scanned, page.looked_at)
            if not page.has_more:
                break
        self._since_us = 0
        return not self._has_row or self._scanned - self._stored < MOVE_AFTER

    def _receivers_of(self, runs: Sequence[Run]) -> list[Receiver | None]:
        sources = self._sources(runs)
        found = []
        for run in filter(needs_span, runs):
            receiver = self._receivers.of(sources.get(run.session_id or ""))
            if receiver is None:
                self._unreceived.note(run)
            found.append(receiver)
        return found

    def _sources(self, runs: Sequence[Run]) -> dict[str, SpanSource]:
        return self._store.sessions.span_sources(
            {run.session_id for run in runs if run.session_id is not None}
        )

    def _adopt(self, position: int) -> None:
        """Continue from a stored position, which another process may have moved."""
        self._has_row = True
        if position < self._stored:  # it was set back
            for lane in self._lanes.values():
                lane.forget()
            self._doubts.forget()
            self._scanned = position
        elif position > self._stored:
            for lane in self._lanes.values():
                lane.pass_to(position)
            self._doubts.pass_to(position)
            self._scanned = max(self._scanned, position)
        self._stored = position

    # With the claim

    def _work(self) -> _Outcome:
        while True:
            self._wake.clear()
            self._settle_lanes()
            self._settle_doubts()
            has_more = self._send_backlogs()
            has_more = self._scan() or has_more
            outcome = self._move(has_more=has_more and not self._stop.is_set())
            if outcome is not None:
                return outcome

    def _move(self, *, has_more: bool) -> _Outcome | None:
        """Store the position; return the outcome, or None to go on."""
        position = self._low_position()
        is_busy = any(lane.is_busy for lane in self._lanes.values())
        if self._stop.is_set():
            return self._release(position, _Outcome.DONE)
        if has_more or is_busy:
            now_us = self._clock.monotonic_us()
            if position != self._stored or now_us - self._moved_us >= RENEW_S * 1e6:
                if not self._claim.move(position, keep=True):
                    return _Outcome.HELD
                self._stored, self._moved_us = position, now_us
            if not has_more:
                self._wake.wait(RENEW_S)
            return None
        if not self._is_waiting():
            return self._release(position, _Outcome.DONE)
        # Another process may reach a receiver that this one does not.
        is_failing = any(lane.is_failing for lane in self._lanes.values())
        keeps = self._is_shared and not is_failing
        return self._release(position, _Outcome.WAITING, keep=keeps)

    def _release(self, position: int, outcome: _Outcome, *, keep: bool = False) -> _Outcome:
        if not self._claim.move(position, keep=keep):
            return _Outcome.HELD
        self._stored, self._moved_us = position, self._clock.monotonic_us()
        return outcome

    def _low_position(self) -> int:
        """Return the position up to which everything is done."""
        waiting = [lane.low_position() for lane in self._lanes.values()]
        lows = [each for each in (*waiting, self._doubts.low_position()) if each is not None]
        return max(self._stored, min(min(lows, default=self._scanned + 1) - 1, self._scanned))

    def _settle_lanes(self) -> None:
        now_us = self._clock.monotonic_us()
        for lane in list(self._lanes.values()):
            lane.settle(now_us)
            if lane.is_hopeless(now_us):
                self._give_up(lane)

    def _give_up(self, lane: Lane) -> None:
        count = len(lane.late)
        after = self._scanned if lane.missed_from is None else lane.missed_from - 1
        while after < self._scanned:
            page = self._store.runs.needing_spans(after=after, since_us=0, limit=PAGE)
            count += len(self._for_lane(lane, page.items))
            after = page.looked_at
        log.warning("spans_given_up", receiver=lane.receiver.shown, run_count=count)
        del self._lanes[lane.receiver]
        lane.close()

    def _settle_doubts(self) -> None:
        due = self._doubts.due()
        if not due:
            return
        sources = self._store.sessions.span_sources(due)
        for session_id in due:
            source = sources.get(session_id)
            if source is not None and source.end is not None and source.end.is_open:
                self._drop_reported(session_id)
            if session_id in self._doubts:
                self._settle_doubt(session_id, source)

    def _drop_reported(self, session_id: str) -> None:
        """Drop the runs that a session which came back has ended: their client has the spans."""
        runs = self._doubts.runs_of(session_id)
        found = {run.id: run for run in self._store.runs.load(list(runs.values()))}
        gone = [
            position
            for position, run_id in runs.items()
            if run_id not in found or not _is_at(found[run_id], position)
        ]
        self._doubts.drop(session_id, gone)

    def _settle_doubt(self, session_id: str, source: SpanSource | None) -> None:
        receiver = self._receivers.of(source)
        if receiver is not None and not self._has_room(receiver):
            return  # it is checked again
        runs = self._doubts.settle(session_id, source)
        lane = self._lane(receiver) if runs and receiver is not None else None
        if lane is not None:
            for position, run_id in runs.items():
                lane.add_late(position, run_id)

    def _send_backlogs(self) -> bool:
        """Send a page of each lane that is due; return True if there was something to do."""
        now_us = self._clock.monotonic_us()
        did = False
        for lane in list(self._lanes.values()):
            if lane.has_backlog and not lane.is_busy and not lane.pause_us(now_us):
                did = True
                if lane.late:
                    self._send_late(lane)
                else:
                    self._send_missed(lane)
        return did

    def _send_late(self, lane: Lane) -> None:
        wanted = dict(sorted(lane.late.items())[:PAGE])
        runs = {run.id: run for run in self._store.runs.load(list(wanted.values()))}
        for position in wanted:
            del lane.late[position]
        due = [runs[run_id] for at, run_id in wanted.items() if _is_at(runs.get(run_id), at)]
        if due:
            lane.start(due, are_late=True)

    def _send_missed(self, lane: Lane) -> None:
        """Read a page again from the first missed run on, and send its runs of the lane."""
        assert lane.missed_from is not None  # noqa: S101 - the caller has checked it
        after = lane.missed_from - 1
        page = self._store.runs.needing_spans(after=after, since_us=0, limit=PAGE)
        runs = self._for_lane(lane, page.items)
        is_all = page.looked_at >= self._scanned
        lane.read_again(len(runs), None if is_all else page.looked_at + 1)
        if runs:
            lane.start(runs)

    def _for_lane(self, lane: Lane, runs: Sequence[Run]) -> list[Run]:
        """Return the runs of a lane that were looked at before, and are not in doubt."""
        known = [run for run in runs if run.position <= self._scanned]
        return self._by_receiver(known).get(lane.receiver, [])

    def _scan(self) -> bool:
        """Look at a page of new runs; return True if there is more to do at once."""
        if self._doubts.is_full:
            return False
        page = self._page()
        found = self._by_receiver(page.items)
        lanes = {receiver: self._lane(receiver) for receiver in found}
        now_us = self._clock.monotonic_us()
        if any(lane is None for lane in lanes.values()):
            return False  # all lanes are taken; the page is read again
        for receiver, runs in found.items():
            lane = lanes[receiver]
            assert lane is not None  # noqa: S101 - checked above
            lane.offer(runs, now_us)
        self._scanned = max(self._scanned, page.looked_at)
        if not page.has_more:
            self._since_us = 0
        return page.has_more

    def _by_receiver(self, runs: Sequence[Run]) -> dict[Receiver, list[Run]]:
        """Return the runs that are not in doubt by receiver, each in order."""
        sources = self._sources(runs)
        found: dict[Receiver, list[Run]] = defaultdict(list)
        for run in filter(needs_span, runs):
            source = sources.get(run.session_id or "")
            receiver = self._receivers.of(source)
            if receiver is None:
                self._unreceived.note(run)
            elif run.cause != Cause.SESSION_LOST or not self._doubts.note(run, source):
                found[receiver].append(run)
        return found

    def _lane(self, receiver: Receiver) -> Lane | None:
        """Return the lane of a receiver; None if all are taken by others."""
        if not self._has_room(receiver):
            return None
        lane = self._lanes.get(receiver)
        if lane is None:
            sender = self._senders(receiver)
            lane = self._lanes[receiver] = Lane(receiver, sender, self._wake.set, self._spawn)
        return lane

    def _has_room(self, receiver: Receiver) -> bool:
        lanes = self._lanes
        return receiver in lanes or len(lanes) < MAX_LANES or self._close_idle_lane()

    def _close_idle_lane(self) -> bool:
        for receiver, lane in self._lanes.items():
            if not (lane.is_busy or lane.has_backlog or receiver.is_own):
                del self._lanes[receiver]
                lane.close()
                return True
        return False

    def _page(self) -> SpanRuns:
        after = self._quiet.skip(self._scanned)
        return self._store.runs.needing_spans(after=after, since_us=self._since_us, limit=PAGE)


def _is_at(run: Run | None, position: int) -> bool:
    """Return True if the end of a run at a position is still its last transition."""
    return run is not None and run.position == position and needs_span(run)
