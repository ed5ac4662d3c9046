"""A lane: the runs whose spans go to one receiver.

Each receiver has its own lane, so that a slow or dead one holds up no other. A lane sends one page
of runs at a time, in a thread of its own, and pauses after a failure. It keeps no runs that wait:
only the position from which to read them again, so its memory does not grow while the receiver is
away. Runs that were in doubt (`span_doubts`) come later than their position; it keeps their ids.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import structlog

from flowspan_service.loops.otlp_connections import suppress_instrumentation
from flowspan_service.loops.receiver_failures import Failures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowspan_service.domain.otlp_receivers import Receiver
    from flowspan_service.domain.runs import Run

log = structlog.get_logger("flowspan.spans")

MAX_LATE = 10_000
"""The maximum number of ids that a lane keeps. Above it, runs are read (and sent) again."""


class Sender(Protocol):
    """Makes the spans of runs, and sends them to a receiver. Used by one thread at a time."""

    def send(self, runs: Sequence[Run]) -> bool:
        """Send the spans of the runs; return True if the receiver accepted all. May block."""
        ...

    def close(self) -> None:
        """Close the connection, and abort an export in flight. Called in another thread."""
        ...


def in_thread(work: Callable[[], None]) -> None:
    """Do work in a thread that does not keep the process alive."""

    def run() -> None:
        suppress_instrumentation()
        work()

    threading.Thread(target=run, name="spans-sender", daemon=True).start()


class Lane:
    """The runs whose spans go to one receiver. For the exporter's thread only, but for `_send`.

    Args:
        receiver: The receiver.
        sender: Sends to it.
        on_end: Called in the sending thread when a page was sent, or failed.
        spawn: Starts the sending thread.
    """

    def __init__(
        self,
        receiver: Receiver,
        sender: Sender,
        on_end: Callable[[], None],
        spawn: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self.receiver = receiver
        self.late: dict[int, str] = {}
        """The ids of runs below `missed_from` that were in doubt when their position was read."""
        self.missed_from: int | None = None
        """The position of the first run that is not done, `late` ones apart; None if all are."""
        self._missed_count = 0
        self._sender = sender
        self._on_end = on_end
        self._spawn = spawn
        self._sending: list[tuple[int, str]] = []
        self._sending_late = False
        self._outcome: bool | None = None
        self._is_closed = False
        self._failures = Failures(receiver)

    @property
    def is_busy(self) -> bool:
        """True while a page is under way, or its outcome was not read."""
        return bool(self._sending)

    @property
    def has_backlog(self) -> bool:
        """True if runs wait that are not under way."""
        return bool(self.late) or self.missed_from is not None

    @property
    def waiting_count(self) -> int:
        """The number of runs that are not done, as far as this process knows. For any thread."""
        missed = self._missed_count if self.missed_from is not None else 0
        return missed + len(self.late) + len(self._sending)

    @property
    def is_failing(self) -> bool:
        """True if the last page failed."""
        return self._failures.is_failing

    def pause_us(self, now_us: int) -> int:
        """Return the time until the next try; 0 if it is due."""
        return self._failures.pause_us(now_us)

    def low_position(self) -> int | None:
        """Return the lowest position of a run that is not done; None if all are."""
        waiting = [position for position, _ in self._sending]
        waiting += self.late
        if self.missed_from is not None:
            waiting.append(self.missed_from)
        return min(waiting, default=None)

    def offer(self, runs: Sequence[Run], now_us: int) -> None:
        """Send new runs, or leave them for later."""
        if self.is_busy or self.has_backlog or self.pause_us(now_us):
            self.miss(runs[0].position, len(runs))
        else:
            self.start(runs)

    def miss(self, position: int, count: int = 0) -> None:
        """Note that runs from a position on are not done, and how many they are."""
        if self.missed_from is None:
            self._missed_count = 0
        if self.missed_from is None or position < self.missed_from:
            self.missed_from = position
        late = {at: run_id for at, run_id in self.late.items() if at < self.missed_from}
        self._missed_count += count + len(self.late) - len(late)
        self.late = late

    def read_again(self, count: int, next_from: int | None) -> None:
        """Note that a number of missed runs were read again.

        Args:
            count: Their number.
            next_from: The position from which to read further ones; None if these were all.
        """
        self.missed_from = next_from
        self._missed_count = max(0, self._missed_count - count)

    def add_late(self, position: int, run_id: str) -> None:
        """Add a run whose position was passed while it was in doubt."""
        if self.missed_from is not None and position >= self.missed_from:
            return  # it is read again anyway
        self.late[position] = run_id
        if len(self.late) > MAX_LATE:
            self.miss(min(self.late))

    def pass_to(self, position: int) -> None:
        """Drop the runs up to a position, which another process has exported."""
        if self.missed_from is not None:
            self.missed_from = max(self.missed_from, position + 1)
        self.late = {at: run_id for at, run_id in self.late.items() if at > position}

    def forget(self) -> None:
        """Drop all that waits."""
        self.late, self.missed_from = {}, None

    def start(self, runs: Sequence[Run], *, are_late: bool = False) -> None:
        """Send runs in a thread.

        Args:
            runs: At least one run.
            are_late: True if they are from `late`, which the caller has removed there.
        """
        self._sending = [(run.position, run.id) for run in runs]
        self._sending_late = are_late
        self._outcome = None
        self._spawn(lambda: self._send(runs))

    def _send(self, runs: Sequence[Run]) -> None:
        accepted = False
        try:
            accepted = self._sender.send(runs)
        except Exception:
            if self._is_closed:
                return
            log.warning("spans_not_sent", receiver=self.receiver.shown, exc_info=True)
        self._outcome = accepted
        self._on_end()

    def settle(self, now_us: int) -> bool:
        """Read the outcome of a page that has ended; return True if there was one."""
        accepted = self._outcome
        if accepted is None or not self._sending:
            return False
        sent, self._sending, self._outcome = self._sending, [], None
        if accepted:
            self._succeed()
        else:
            self._fail(sent, now_us)
        return True

    def _succeed(self) -> None:
        if self._failures.end():
            log.info("spans_exported_again", receiver=self.receiver.shown)

    def _fail(self, sent: Sequence[tuple[int, str]], now_us: int) -> None:
        if self._failures.add(now_us):
            hint = self.receiver.hint
            log.warning(
                "spans_wait",
                receiver=self.receiver.shown,
                reason="they cannot be exported; the export is retried",
                **({"hint": hint} if hint else {}),
            )
        if self._sending_late:
            for position, run_id in sent:
                self.add_late(position, run_id)
        else:
            self.miss(sent[0][0], len(sent))

    def is_hopeless(self, now_us: int) -> bool:
        """Return True if nothing more is sent to the receiver."""
        return not self.is_busy and self._failures.is_hopeless(now_us)

    def close(self) -> None:
        """Close the connection. A page under way has no outcome then."""
        self._is_closed = True
        self._sender.close()
