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
            key = (
                record.run_id,
                record.attempt,
                record.time.seconds,
                record.time.nanos,
                record.logger,
                record.chunk_count,
            )
            pieces = self._open.setdefault(key, [])
            pieces.append(record)
            if record.chunk_index == record.chunk_count - 1:
                del self._open[key]
                yield _whole(pieces)

    def rest(self) -> Iterator[LogRecord]:
        """Records whose last piece never came, as far as they came: nothing is left out."""
        pending, self._open = self._open, {}
        for pieces in pending.values():
            yield _whole(pieces)


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
