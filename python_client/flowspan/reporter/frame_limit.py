"""The limit on the size of a frame, and the division of batches that exceed it.

The service states its limit in Welcome. gRPC and proxies in between may have lower ones, which show
only when they refuse a message: RESOURCE_EXHAUSTED without ErrorInfo. Such a message would be
refused each time, so it is never sent again: a batch is sent in smaller parts, and an event that is
too large on its own is replaced by a placeholder.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from flowspan.reporter.encoding.events import batch_bytes, batch_frame
from flowspan.reporter.encoding.single_events import item_of, single_events
from flowspan.reporter.placeholders import PLACEHOLDER
from flowspan.v1 import report_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNLIMITED = 1 << 62
OVERHEAD_BYTES = 32
"""Upper bound for the bytes of a frame besides the items of its batch."""


class FrameLimit:
    """The limit, as far as it is known, and the frames in flight.

    Args:
        on_lost: Called once with the sequence of each event that is too large to be sent.
    """

    def __init__(self, on_lost: Callable[[int], object]) -> None:
        self._on_lost = on_lost
        self._stated = _UNLIMITED
        self._refused = _UNLIMITED
        """The size of the smallest frame that is known to be refused."""
        self._target = _UNLIMITED
        """The size that a frame of several events must not exceed."""
        self._lost: set[int] = set()
        self._in_flight: deque[tuple[int, int]] = deque()
        """The last sequence and the size of each frame that is not acknowledged."""

    def connected(self, max_frame_bytes: int) -> None:
        """Begin a connection to a service with this limit; 0 if it states none."""
        self._in_flight.clear()
        self._stated = max_frame_bytes or _UNLIMITED
        self._aim()

    @property
    def largest(self) -> int:
        """The largest frame that may be accepted, in bytes."""
        return min(self._stated, self._refused - 1)

    @property
    def target(self) -> int:
        """The size that a frame of several events does not exceed, in bytes."""
        return self._target

    def acked(self, up_to: int) -> None:
        """Note that the service has accepted the frames up to this sequence."""
        while self._in_flight and self._in_flight[0][0] <= up_to:
            self._in_flight.popleft()

    def frames(self, data: bytes, last: int) -> Iterator[bytes]:
        """Yield the frames to send for a batch, usually one, and note them as in flight.

        Args:
            data: The bytes of the batch.
            last: The sequence of its last event.
        """
        frame = batch_frame(data)
        if len(frame) <= self._target:
            self._in_flight.append((last, len(frame)))
            yield frame
            return
        for part_last, part in self._divided(data):
            frame = batch_frame(part)
            self._in_flight.append((part_last, len(frame)))
            yield frame

    def learn(self) -> bool:
        """Note that a frame in flight was refused as too large; return False if none is in flight.

        The largest one is at least as large as the refused one, so it is certainly too large.
        """
        if not self._in_flight:
            return False
        self._refused = min(self._refused, max(size for _, size in self._in_flight))
        self._in_flight.clear()
        self._aim()
        return True

    def _aim(self) -> None:
        # Half of a refused size: if that is still too much, a few attempts find the limit.
        self._target = min(self._stated, self._refused // 2)

    def _divided(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the last sequence and the bytes of batches that each fit into a frame."""
        largest = self.largest
        batch = report_pb2.Batch.FromString(data)
        first = following = batch.first_sequence
        items: list[bytes] = []
        size = OVERHEAD_BYTES
        # One event for each sequence, so that the parts can be counted.
        for event in single_events(batch):
            item = item_of(event.SerializeToString())
            if len(item) + OVERHEAD_BYTES > largest:
                self._lose(following)
                item = item_of(PLACEHOLDER)
            if items and size + len(item) > self._target:
                yield following - 1, batch_bytes(first, items)
                first, items, size = following, [], OVERHEAD_BYTES
            items.append(item)
            size += len(item)
            following += 1
        yield following - 1, batch_bytes(first, items)

    def _lose(self, sequence: int) -> None:
        if sequence not in self._lost:
            self._lost.add(sequence)
            self._on_lost(sequence)
