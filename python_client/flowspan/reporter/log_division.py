"""The division of log records that are larger than a frame of the service.

A long message is divided into numbered pieces before the limit of a frame is known. If a piece
turns out to be too large, it is divided further, all pieces of its message are numbered anew, and
the events behind it get later sequences. The service must not have stored any of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from flowspan.reporter.encoding.events import batch_bytes, items_of
from flowspan.reporter.encoding.single_events import item_of, single_events
from flowspan.reporter.frame_limit import OVERHEAD_BYTES
from flowspan.reporter.outbox import Batch
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from flowspan.v1 import log_pb2

_NUMBERS_BYTES = 24
"""Upper bound for the growth of a piece by its numbers and by longer lengths."""

_MIN_PIECE_BYTES = 16


class _Text:
    """The pieces of one message, as far as the service has not stored them."""

    __slots__ = ("count", "is_divided", "taken")

    def __init__(self) -> None:
        self.count = 0
        self.is_divided = False
        self.taken = 0


class LogDivision:
    """The division of the log records of consecutive batches, in two passes.

    Call `look` with each batch, and then, if `is_needed`, `divided` with each in the same order. If
    the service has already stored the first pieces of a message, the others become a message of
    their own: the number of pieces that is stored cannot change.

    Args:
        after: The last sequence that the service has stored.
        largest: The size of the largest frame, in bytes. Records that fit are left as they are.
        target: The size of the frames of the new pieces, in bytes.

    Attributes:
        is_needed: True if a record must be divided, as far as the first pass has come.
    """

    def __init__(self, *, after: int, largest: int, target: int) -> None:
        self.is_needed = False
        self._after = after
        self._largest = largest
        self._target = target
        self._open: _Text | None = None
        self._texts: deque[_Text] = deque()
        self._grown_at: list[int] = []
        """The former sequences of the divided records, in order."""
        self._grown_by: list[int] = [0]
        """The number of additional events up to each of them; one more element at the front."""

    def look(self, data: bytes) -> None:
        """Count the pieces of the log records in a batch."""
        batch = report_pb2.Batch.FromString(data)
        sequence = batch.first_sequence
        for event in single_events(batch):
            if sequence > self._after and event.HasField("log"):
                count = len(self._pieces(event))
                text = self._text_of(event.log)
                text.count += count
                text.is_divided |= count > 1
                self.is_needed |= text.is_divided
            sequence += 1

    def divided(self, batch: Batch, data: bytes) -> Batch:
        """Return a batch with divided records and with sequences that continue the last one's."""
        message = report_pb2.Batch.FromString(data)
        moved_by = self._grown_by[-1]
        items: list[bytes] = []
        sequence = message.first_sequence
        is_changed = False
        for event in single_events(message):
            new = [event]
            if sequence > self._after and event.HasField("log"):
                new = self._renumbered(event)
                is_changed |= new[0] is not event
            if len(new) > 1:
                self._grown_at.append(sequence)
                self._grown_by.append(self._grown_by[-1] + len(new) - 1)
            items += [item_of(each.SerializeToString()) for each in new]
            sequence += 1
        first = batch.first + moved_by
        if is_changed:
            return Batch(first, first + len(items) - 1, batch_bytes(first, items))
        new_batch = Batch(
            first, batch.last + moved_by, batch_bytes(first, [items_of(batch.first, data)])
        )
        new_batch.has_short_runs = batch.has_short_runs
        return new_batch

    def moved(self, sequence: int) -> int:
        """Return the new sequence of an event; of the last piece of a divided record."""
        return sequence + self._grown_by[bisect_right(self._grown_at, sequence)]

    def _text_of(self, log: log_pb2.LogRecord) -> _Text:
        """Return the message of a record, which begins a new one unless it is a later piece."""
        text = self._open
        if text is None or log.chunk_index == 0:
            text = self._open = _Text()
            self._texts.append(text)
        if log.chunk_index + 1 >= log.chunk_count:
            self._open = None
        return text

    def _renumbered(self, event: report_pb2.Event) -> list[report_pb2.Event]:
        """Return the event, or its pieces with their new numbers."""
        text = self._texts[0]
        pieces = self._pieces(event)
        numbered = [event]
        if text.is_divided:
            numbered = []
            for index, piece in enumerate(pieces, start=text.taken):
                part = report_pb2.Event()
                part.CopyFrom(event)
                part.log.message = piece
                part.log.chunk_index, part.log.chunk_count = index, text.count
                numbered.append(part)
        text.taken += len(pieces)
        if text.taken == text.count:
            self._texts.popleft()
        return numbered

    def _pieces(self, event: report_pb2.Event) -> list[str]:
        """Divide the message of a record, if it does not fit into a frame."""
        message = event.log.message
        size = len(item_of(event.SerializeToString())) + OVERHEAD_BYTES
        if size <= self._largest:
            return [message]
        data = message.encode()
        room = self._target - (size - len(data)) - _NUMBERS_BYTES
        if room < _MIN_PIECE_BYTES:  # its other fields are too large
            return [message]
        return _cut(data, room)


def _cut(data: bytes, room: int) -> list[str]:
    """Divide UTF-8 into pieces of at most `room` bytes, and never within a character."""
    pieces = []
    start = 0
    while start < len(data):
        end = min(start + room, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    return pieces
