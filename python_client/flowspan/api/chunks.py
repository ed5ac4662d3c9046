"""Joins the pieces of long log records."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from flowspan.api.convert import instant
from flowspan.api.models import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowspan.v1 import log_pb2


class ChunkJoiner:
    """Makes whole records of what arrives in order of position, pieces of several records mixed.

    The pieces of one record have the run, the attempt, the time, the logger and the number of
    pieces in common, and come in order.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], list[log_pb2.LogRecord]] = {}

    def join(self, records: Iterable[log_pb2.LogRecord]) -> Iterator[LogRecord]:
        """The records that are whole now; a long one comes where its last piece came."""
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
        """Take the first pieces of records whose last pieces are still to come."""
        for _ in self.join(records):
            pass

    def pieces(self) -> list[log_pb2.LogRecord]:
        """Return the pieces of the records that are not whole yet."""
        return [piece for pieces in self._open.values() for piece in pieces]

    def rest(self) -> Iterator[LogRecord]:
        """Records whose last piece never came, as far as they came: nothing is left out."""
        pending, self._open = self._open, {}
        for pieces in pending.values():
            yield _whole(pieces)


class BackwardJoiner:
    """The same for records that arrive in descending order of position, the last piece first.

    Attributes:
        unfinished: The pieces, in order, of records whose last pieces are not there yet.
    """

    def __init__(self) -> None:
        self.unfinished: list[log_pb2.LogRecord] = []
        self._open: dict[tuple[object, ...], list[log_pb2.LogRecord]] = {}

    @property
    def is_waiting(self) -> bool:
        """True if the first pieces of a record are still to come."""
        return bool(self._open)

    def join(self, records: Iterable[log_pb2.LogRecord]) -> Iterator[LogRecord]:
        """Return the records that are whole now; a long one comes where its first piece came."""
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
        """Return the records whose first pieces are not there, as far as they are."""
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
