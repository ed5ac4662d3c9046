"""The batches of a session that are not acked yet, in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


ON_DISK_ELSEWHERE = -1
"""The offset of a batch that need not be written, for it can be made again."""


class Batch:
    """A run of events, encoded.

    Attributes:
        first: The sequence of its first event.
        last: The sequence of its last event.
        data: The bytes of the flowspan.v1.Batch; None while they are only in the spool.
        size: How many bytes those are.
        offset: Where the batch is in the spool, in one record or in several on end; None while it
            is not there.
    """

    __slots__ = ("data", "first", "last", "offset", "size")

    def __init__(self, first: int, last: int, data: bytes) -> None:
        self.first = first
        self.last = last
        self.data: bytes | None = data
        self.size = len(data)
        self.offset: int | None = None


class Outbox:
    """Batches that wait to be sent, after batches that were sent and wait for their ack.

    Attributes:
        acked: The last sequence that is acked.
        built: The last sequence that was given to an event.
        memory_bytes: How large the batches are that are held in memory.
        sent_bytes: How large the batches are that were sent and not acked.
    """

    def __init__(self) -> None:
        self.acked = 0
        self.built = 0
        self.memory_bytes = 0
        self.sent_bytes = 0
        self._sent: deque[Batch] = deque()
        self._waiting: deque[Batch] = deque()

    def add(self, batch: Batch) -> None:
        """Appends a batch; it begins where the last one ended."""
        self.built = batch.last
        if batch.data is not None:
            self.memory_bytes += batch.size
        self._waiting.append(batch)

    @property
    def next(self) -> Batch | None:
        """The batch to send next; None if all were sent."""
        return self._waiting[0] if self._waiting else None

    def sent(self, batch: Batch) -> None:
        """Notes that the next batch was sent."""
        self._waiting.popleft()
        self._sent.append(batch)
        self.sent_bytes += batch.size

    @property
    def unacked_events(self) -> int:
        """How many events were sent and are not acked."""
        return self._sent[-1].last - self.acked if self._sent else 0

    @property
    def is_empty(self) -> bool:
        """Whether all that was built is acked."""
        return not self._sent and not self._waiting

    def ack(self, up_to: int) -> None:
        """Forgets what is stored by the service."""
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
        """Makes all that is not acked wait again: the connection broke."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.sent_bytes = 0

    def fill(self, after: int, batches: list[Batch]) -> None:
        """Puts batches before all others: the service has forgotten what came after a sequence."""
        self.acked = after
        for batch in batches:
            batch.offset = ON_DISK_ELSEWHERE  # a spool of what comes after them is one of them, too
        self._waiting.extendleft(reversed(batches))
        self.memory_bytes += sum(batch.size for batch in batches)

    def release(self, batch: Batch) -> None:
        """Lets go of a batch's bytes."""
        if batch.data is not None:
            self.memory_bytes -= batch.size
            batch.data = None

    def load(self, batch: Batch, data: bytes) -> None:
        """Gives a batch its bytes back, or others."""
        self.memory_bytes += len(data) - (batch.size if batch.data is not None else 0)
        batch.data, batch.size = data, len(data)

    def join_last(self, *, max_events: int, max_bytes: int) -> None:
        """Makes one batch of the last two, where both are on disk alone and not large.

        A long outage would else leave a million small batches to remember, and to send.
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
        """All batches, in order."""
        yield from self._sent
        yield from self._waiting

    def find(self, sequence: int) -> Batch | None:
        """The batch that has the event."""
        return next((batch for batch in self if batch.first <= sequence <= batch.last), None)

    def not_on_disk(self) -> list[Batch]:
        """The batches that are not in the spool, in order: they are the last ones."""
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
        """Whether something of it is in the spool: then its first batch is."""
        first = self._sent[0] if self._sent else self.next
        return first is not None and first.offset is not None
