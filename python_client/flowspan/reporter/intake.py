"""The queues between the callers and the reporter's thread, and the builder that empties them.

States and logs have separate queues, so that a flood of logs does not delay states. Appending to a
deque is atomic, so the callers share no lock.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from flowspan.core.events import ARTIFACT, CREATED, LOG, STATE
from flowspan.reporter.encoding.events import Encoder, batch_bytes
from flowspan.reporter.outbox import Batch
from flowspan.reporter.short_runs import ShortRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan.core.events import Event
    from flowspan.reporter.tally import Tally

logger = logging.getLogger("flowspan.reporter")

FLUSH = -1
"""Event code of the mark ``(FLUSH, FlushRequest)``, which passes through both queues."""

NO_CONNECTION_YET = "no connection yet"
"""The loop's trouble until the first connection attempt has ended."""

MAX_BATCH_EVENTS = 4000
MAX_BATCH_BYTES = 512 << 10
"""Size at which a batch is closed; its last event may exceed it."""

MAX_WAITING_STATES = 100_000
MAX_WAITING_LOGS = 50_000
MAX_WAITING_LARGE_CHARACTERS = 64 << 20
"""Limits of the queues. Beyond them, producers are slowed down (backpressure)."""

_LARGE_MESSAGE_CHARACTERS = 1024


class FlushRequest:
    """A caller's request to wait until all earlier events are acknowledged.

    Attributes:
        target: The last sequence that must be acknowledged; None until both marks have passed.
        done: Set when all is acknowledged or, if `to_spool` is set, spooled.
        to_spool: Set by the waiting caller when spooling the events is enough.
        is_acked: True if all is acknowledged.
        is_spooled: True if all is acknowledged or in the spool.
    """

    __slots__ = ("_marks", "done", "is_acked", "is_spooled", "target", "to_spool")

    def __init__(self) -> None:
        self.target: int | None = None
        self.done = threading.Event()
        self.to_spool = False
        self.is_acked = False
        self.is_spooled = False
        self._marks = 2

    def is_overtaken_by(self, acked: int) -> bool:
        """Return True if an acknowledgement up to `acked` covers the request."""
        return self.target is not None and self.target <= acked

    def passed(self, sequence: int) -> None:
        """Record that one of the two marks has passed, after the event with this sequence."""
        self._marks -= 1
        if not self._marks:
            self.target = sequence


class Intake:
    """The queues of states and logs.

    Attributes:
        states: Created runs, state changes and artifacts.
        logs: Log records.
        large_bytes: Total size of the queued long messages and artifacts, in characters.
        has_had_artifacts: True if an artifact was ever queued.
    """

    __slots__ = ("_lock", "has_had_artifacts", "large_bytes", "logs", "states")

    def __init__(self) -> None:
        self.states: deque[Event] = deque()
        self.logs: deque[Event] = deque()
        self.large_bytes = 0
        self.has_had_artifacts = False
        self._lock = threading.Lock()

    def put_log(self, event: Event) -> None:
        """Append a log record."""
        size = len(event[6])
        if size > _LARGE_MESSAGE_CHARACTERS:
            with self._lock:
                self.large_bytes += size
        self.logs.append(event)

    def took_log(self, event: Event) -> None:
        """Update `large_bytes` after a log record was dequeued."""
        size = len(event[6])
        if size > _LARGE_MESSAGE_CHARACTERS:
            with self._lock:
                self.large_bytes -= size

    def put_artifact(self, event: Event) -> None:
        """Append an artifact, or a change to one, in order with the states."""
        self.has_had_artifacts = True
        size = _artifact_size(event)
        if size > _LARGE_MESSAGE_CHARACTERS:
            with self._lock:
                self.large_bytes += size
        self.states.append(event)

    def took_artifact(self, event: Event) -> None:
        """Update `large_bytes` after an artifact event was dequeued."""
        size = _artifact_size(event)
        if size > _LARGE_MESSAGE_CHARACTERS:
            with self._lock:
                self.large_bytes -= size

    def __bool__(self) -> bool:
        """Return True if an event is queued."""
        return bool(self.states or self.logs)

    def __len__(self) -> int:
        return len(self.states) + len(self.logs)

    @property
    def is_overfull(self) -> bool:
        """True if a queue exceeds its limit, so that producers should pause."""
        return (
            len(self.states) > MAX_WAITING_STATES
            or len(self.logs) > MAX_WAITING_LOGS
            or self.large_bytes > MAX_WAITING_LARGE_CHARACTERS
        )


def _artifact_size(event: Event) -> int:
    """Return the size of an artifact's description and data, the parts that may be large."""
    description, data = event[5:7] if event[0] == ARTIFACT else event[2:4]
    return len(description or "") + len(data or b"")


class Share:
    """The number of events to take from the front of each queue."""

    __slots__ = ("logs", "states")

    def __init__(self, intake: Intake) -> None:
        # Logs are counted first: a later log may belong to a run that is created in the meantime,
        # and must not overtake its creation.
        self.logs = len(intake.logs)
        self.states = len(intake.states)


class Builder:
    """The builder of batches from the intake; owned by the reporter's thread.

    Args:
        intake: The queues.
        on_bad_event: Called with an event that cannot be encoded, and the error.
        The event is dropped.
        tally: Has the counter of the events, if there are metrics.
    """

    def __init__(
        self,
        intake: Intake,
        on_bad_event: Callable[[Event, Exception], None],
        tally: Tally | None = None,
    ) -> None:
        self._intake = intake
        self._tally = tally
        self._on_bad_event = on_bad_event
        self._encoder = Encoder()
        self._pieces: Iterator[bytes] | None = None
        self._passed: list[FlushRequest] = []

    def __bool__(self) -> bool:
        """Return True if there is an event to build a batch from."""
        return bool(self._intake) or self._pieces is not None

    @property
    def is_within_log(self) -> bool:
        """True if part of a long log record is still to be built."""
        return self._pieces is not None

    def limit_logs(self, max_bytes: int) -> None:
        """Divide log messages into pieces of at most this size, in bytes, and the usual limit."""
        self._encoder.limit_logs(max_bytes)

    def build(
        self, after: int, share: Share | None = None, *, joins: bool = False
    ) -> tuple[Batch | None, list[FlushRequest]]:
        """Build one batch from the queued events, states before logs.

        Args:
            after: The last sequence that was assigned.
            share: The number of events to take, decremented for each one taken; None for all.
            joins: True to report each short run as one event (see `flowspan.reporter.short_runs`).

        Returns:
            The batch, or None if there is nothing to build; and the flush requests whose marks have
            both passed.
        """
        items: list[bytes] = []
        self._passed = []
        share = share or Share(self._intake)
        short_runs = ShortRuns(self._encoder, items, self._on_bad_event) if joins else None
        size = self._take_states(items, after, share, short_runs)
        if size is not None:
            self._take_logs(items, size, after, share)
        if not items:
            return None, self._passed
        batch = Batch(after + 1, after + len(items), batch_bytes(after + 1, items))
        batch.has_short_runs = short_runs is not None and short_runs.has_joined
        return batch, self._passed

    def discard_logs(self, after: int) -> tuple[int, list[FlushRequest]]:
        """Discard the queued logs, because there is no space for them.

        Returns:
            The number discarded, and the flush requests whose marks have both passed.
        """
        self._passed = []
        count = self._discard(self._intake.logs, after)
        if self._pieces is not None:
            self._pieces = None
            count += 1
        return count, self._passed

    def discard_states(self, after: int) -> tuple[int, list[FlushRequest]]:
        """Discard the queued states, as `discard_logs` does with logs."""
        self._passed = []
        return self._discard(self._intake.states, after), self._passed

    def _discard(self, queue: deque[Event], after: int) -> int:
        count = 0
        take, taken = self._taker(queue)
        for _ in range(len(queue)):
            event = take()
            if event[0] == FLUSH:
                self._mark(event[1], after)
                continue
            if event[0] == LOG:
                self._intake.took_log(event)
            elif event[0] > LOG:
                self._intake.took_artifact(event)
            count += 1
        self._count(taken)
        return count

    def _take_states(
        self, items: list[bytes], after: int, share: Share, short_runs: ShortRuns | None
    ) -> int | None:
        """Take states; return their total size, or None if the batch became full first."""
        queue = self._intake.states
        encoder = self._encoder if short_runs is None else short_runs
        encode_state, encode_created = encoder.state, encoder.created
        flushes: list[FlushRequest] = []
        size = taken = 0
        count = min(share.states, MAX_BATCH_EVENTS)
        take, events = self._taker(queue)
        while taken < count and size < MAX_BATCH_BYTES:
            taken += 1
            event = take()
            code = event[0]
            try:
                if code == STATE:
                    item = encode_state(event)
                    if not item and short_runs is not None:
                        size += short_runs.grown
                elif code == FLUSH:
                    flushes.append(event[1])
                    continue
                elif code == CREATED:
                    item = encode_created(event)
                else:
                    item = self._take_artifact(event, short_runs)
            except Exception as error:  # noqa: BLE001 - a bad event must not stop the reporter
                self._on_bad_event(event, error)
                continue
            items.append(item)
            size += len(item)
        share.states -= taken
        self._count(events)
        if short_runs is not None:
            short_runs.finish()
        # Only now: the events before the mark of a flush may have moved behind others. All are in
        # the same batch.
        for request in flushes:
            self._mark(request, after + len(items))
        is_full = size >= MAX_BATCH_BYTES or taken == MAX_BATCH_EVENTS
        return None if is_full else size

    def _taker(self, queue: deque[Event]) -> tuple[Callable[[], Event], list[Event]]:
        """Return the function that takes an event from a queue, and a list for `_count`."""
        taken: list[Event] = []
        if self._tally is None or self._tally.meter is None:
            return queue.popleft, taken
        return partial(_noting, queue.popleft, taken.append), taken

    def _count(self, taken: list[Event]) -> None:
        """Count the events that were taken, if there are metrics."""
        meter = None if self._tally is None else self._tally.meter
        if meter is None or not taken:
            return
        try:
            meter.observe(taken)
        except Exception:
            logger.debug("Events could not be counted.", exc_info=True)

    def _take_artifact(self, event: Event, short_runs: ShortRuns | None) -> bytes:
        self._intake.took_artifact(event)
        item = self._encoder.rare(event)
        if short_runs is not None and event[0] == ARTIFACT:
            short_runs.leave(event[2])
        return item

    def _take_logs(self, items: list[bytes], size: int, after: int, share: Share) -> None:
        """Take logs in order, beginning with the rest of a long record."""
        queue = self._intake.logs
        while len(items) < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
            if self._pieces is None:
                if not share.logs:
                    return
                share.logs -= 1
                event = queue.popleft()
                if event[0] == FLUSH:
                    self._mark(event[1], after + len(items))
                    continue
                self._intake.took_log(event)
                self._pieces = self._guarded(event)
            for item in self._pieces:
                items.append(item)
                size += len(item)
                if size >= MAX_BATCH_BYTES:
                    return
            self._pieces = None

    def _guarded(self, event: Event) -> Iterator[bytes]:
        try:
            if event[0] != LOG:
                raise ValueError("not a log record")
            yield from self._encoder.log(event)
        except Exception as error:  # noqa: BLE001 - a bad event must not stop the reporter
            self._on_bad_event(event, error)

    def _mark(self, request: FlushRequest, sequence: int) -> None:
        request.passed(sequence)
        if request.target is not None:
            self._passed.append(request)


def _noting(take: Callable[[], Event], note: Callable[[Event], object]) -> Event:
    event = take()
    note(event)
    return event
