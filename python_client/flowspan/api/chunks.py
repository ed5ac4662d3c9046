"""Reassembly of long log records from their chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from flowspan.api.convert import instant
from flowspan.api.models import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan.v1 import log_pb2


class ChunkJoiner:
    """Reassembles records that arrive in ascending order of position, with interleaved chunks.

    Chunks of one record share run, attempt, time, logger and chunk count, and arrive in order.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], list[log_pb2.LogRecord]] = {}

    def join(self, records: Iterable[log_pb2.LogRecord]) -> Iterator[LogRecord]:
        """Yield the records that are now complete, each at the place of its last chunk."""
        for record in records:
            if record.chunk_count <= 1:
                yield _whole([record])
                continue
            key = _key(record)
            pieces = self._open.setdefault(key, [])
            pieces.append(record)
            if record.chunk_index == record.chunk_count - 1:
                del self._open[key]
                yield _whole(pieces)

    def resume(self, records: Iterable[log_pb2.LogRecord]) -> None:
        """Add the first chunks of records whose last chunks are still to arrive."""
        for _ in self.join(records):
            pass

    def pieces(self) -> list[log_pb2.LogRecord]:
        """Return the chunks of incomplete records."""
        return [piece for pieces in self._open.values() for piece in pieces]

    def rest(self) -> Iterator[LogRecord]:
        """Yield records whose last chunk never arrived, as far as they were received."""
        pending, self._open = self._open, {}
        for pieces in pending.values():
            yield _whole(pieces)


class BackwardJoiner:
    """Reassembles records that arrive in descending order of position, last chunk first.

    Attributes:
        unfinished: The chunks, in order, of records whose last chunks had not arrived yet.
    """

    def __init__(self) -> None:
        self.unfinished: list[log_pb2.LogRecord] = []
        self._open: dict[tuple[object, ...], list[log_pb2.LogRecord]] = {}

    @property
    def is_waiting(self) -> bool:
        """True if the first chunks of a record are still to arrive."""
        return bool(self._open)

    def join(self, records: Iterable[log_pb2.LogRecord]) -> Iterator[LogRecord]:
        """Yield the records that are now complete, each at the place of its first chunk."""
        for record in records:
            if record.chunk_count <= 1:
                yield _whole([record])
                continue
            key = _key(record)
            pieces = self._open.setdefault(key, [])
            pieces.insert(0, record)
            if record.chunk_index > 0:
                continue
            del self._open[key]
            if pieces[-1].chunk_index == record.chunk_count - 1:
                yield _whole(pieces)
            else:
                self.unfinished[:0] = pieces

    def rest(self) -> Iterator[LogRecord]:
        """Yield the records whose first chunks are missing, as far as they were received."""
        pending, self._open = self._open, {}
        for pieces in pending.values():
            yield _whole(pieces)


def _key(record: log_pb2.LogRecord) -> tuple[object, ...]:
    """Return the key that the chunks of one record share."""
    time = record.time
    return (
        record.run_id,
        record.attempt,
        time.seconds,
        time.nanos,
        record.logger,
        record.chunk_count,
    )


def _whole(pieces: list[log_pb2.LogRecord]) -> LogRecord:
    last = pieces[-1]
    message = last.message if len(pieces) == 1 else "".join(piece.message for piece in pieces)
    return LogRecord(
        position=last.position,
        run_id=UUID(last.run_id),
        level=last.level,
        logged_at=instant(last, "time"),
        logger=last.logger,
        message=message,
        trace_id=last.trace_id,
        span_id=last.span_id,
        attempt=last.attempt,
    )
