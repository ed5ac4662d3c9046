"""The ordered batches of a session that the service has not acknowledged yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from flowspan.reporter.encoding.single_events import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator


ON_DISK_ELSEWHERE = -1
"""Offset of a batch that need not be written to the spool, because it can be rebuilt."""


class Batch:
    """A sequence of encoded events.

    Attributes:
        first: The sequence of its first event.
        last: The sequence of its last event.
        data: The bytes of the flowspan.v1.Batch; None while they are only in the spool.
        size: The size of those bytes.
        offset: The position in the spool, of one record or of several consecutive ones; None if it
            is not there.
        has_short_runs: True if it has events that only some services know (RunCompleted).
    """

    __slots__ = ("data", "first", "has_short_runs", "last", "offset", "size")

    def __init__(self, first: int, last: int, data: bytes) -> None:
        self.first = first
        self.last = last
        self.data: bytes | None = data
        self.size = len(data)
        self.offset: int | None = None
        self.has_short_runs = False


class Outbox:
    """Batches waiting to be sent, behind sent batches waiting for their acknowledgement.

    Attributes:
        acked: The last acknowledged sequence.
        built: The last sequence assigned to an event.
        memory_bytes: Total size of the batches held in memory.
        sent_bytes: Total size of the batches sent but not acknowledged.
    """

    def __init__(self) -> None:
        self.acked = 0
        self.built = 0
        self.memory_bytes = 0
        self.sent_bytes = 0
        self._sent: deque[Batch] = deque()
        self._waiting: deque[Batch] = deque()

    def add(self, batch: Batch) -> None:
        """Append a batch, which continues where the last one ended."""
        self.built = batch.last
        if batch.data is not None:
            self.memory_bytes += batch.size
        self._waiting.append(batch)

    @property
    def next(self) -> Batch | None:
        """The batch to send next; None if all are sent."""
        return self._waiting[0] if self._waiting else None

    def sent(self, batch: Batch) -> None:
        """Mark the next batch as sent."""
        self._waiting.popleft()
        self._sent.append(batch)
        self.sent_bytes += batch.size

    def divide_next(self, parts: list[Batch]) -> None:
        """Replace the next batch by its parts, whose bytes are in memory, but for stored ones."""
        batch = self._waiting.popleft()
        self.release(batch)
        parts = [part for part in parts if part.last > self.acked]
        for part in parts:
            # Its bytes are never released, so this position is never read.
            part.offset = batch.offset
            self.memory_bytes += part.size
        self._waiting.extendleft(reversed(parts))

    def replace(self, batches: list[Batch]) -> None:
        """Replace all batches, none of which may be sent, by ones with other sequences."""
        self._waiting = deque(batches)
        self.built = batches[-1].last
        self.memory_bytes = sum(batch.size for batch in batches if batch.data is not None)

    @property
    def unacked_events(self) -> int:
        """Number of events sent but not acknowledged."""
        return self._sent[-1].last - self.acked if self._sent else 0

    @property
    def is_empty(self) -> bool:
        """True if every batch is acknowledged."""
        return not self._sent and not self._waiting

    def ack(self, up_to: int) -> None:
        """Drop the batches that the service has stored."""
        if up_to <= self.acked:
            return
        self.acked = up_to
        for queue in (self._sent, self._waiting):
            while queue and queue[0].last <= up_to:
                batch = queue.popleft()
                if queue is self._sent:
                    self.sent_bytes -= batch.size
                self.release(batch)

    def rewind(self) -> None:
        """Queue the unacknowledged batches again, because the connection broke."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.sent_bytes = 0

    def fill(self, after: int, batches: list[Batch]) -> None:
        """Prepend batches, because the service has lost everything after a sequence."""
        self.acked = after
        for batch in batches:
            batch.offset = ON_DISK_ELSEWHERE  # a spool may start after these batches
        self._waiting.extendleft(reversed(batches))
        self.memory_bytes += sum(batch.size for batch in batches)

    def release(self, batch: Batch) -> None:
        """Drop a batch's bytes from memory."""
        if batch.data is not None:
            self.memory_bytes -= batch.size
            batch.data = None

    def load(self, batch: Batch, data: bytes) -> None:
        """Restore or replace a batch's bytes."""
        self.memory_bytes += len(data) - (batch.size if batch.data is not None else 0)
        batch.data, batch.size = data, len(data)

    def expand(self, batch: Batch) -> None:
        """Replace the events that only some services know, before another service may get them."""
        if not batch.has_short_runs or batch.data is None:
            return
        size = batch.size
        self.load(batch, expanded(batch.data))
        batch.has_short_runs = False
        if batch in self._sent:
            self.sent_bytes += batch.size - size

    def join_last(self, *, max_events: int, max_bytes: int) -> None:
        """Join the last two batches if both are small and only on disk.

        Otherwise a long outage would leave a million small batches to track and to send.
        """
        if len(self._waiting) < 2:
            return
        before, last = self._waiting[-2], self._waiting[-1]
        if (
            before.data is None
            and last.data is None
            and last.last - before.first < max_events
            and before.size + last.size <= max_bytes
        ):
            before.last = last.last
            before.size += last.size
            self._waiting.pop()

    def __iter__(self) -> Iterator[Batch]:
        """Yield all batches, in order."""
        yield from self._sent
        yield from self._waiting

    def find(self, sequence: int) -> Batch | None:
        """Return the batch that contains the event."""
        return next((batch for batch in self if batch.first <= sequence <= batch.last), None)

    def not_on_disk(self) -> list[Batch]:
        """Return the batches that are not in the spool, in order: always the last ones."""
        missing: list[Batch] = []
        for queue in (self._waiting, self._sent):
            for batch in reversed(queue):
                if batch.offset is not None:
                    missing.reverse()
                    return missing
                missing.append(batch)
        missing.reverse()
        return missing

    @property
    def is_on_disk(self) -> bool:
        """True if any batch is in the spool; its first batch then is."""
        first = self._sent[0] if self._sent else self.next
        return first is not None and first.offset is not None
