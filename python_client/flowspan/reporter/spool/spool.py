"""The spool: on-disk storage for unacknowledged batches, within size limits.

Without a connection, every batch is written to the file as soon as it is built; batches in flight
when the connection broke are appended at once. The file is deleted when all of it is acknowledged.
If the file is full, states may still use a reserve that logs may not; if it cannot be written,
memory holds a limited amount. Events that fit nowhere are dropped, and their number is reported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import logging
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.connection.client_identity import client_info
from flowspan.private_files import own_home
from flowspan.reporter.encoding.events import batch_bytes, items_of
from flowspan.reporter.intake import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from flowspan.reporter.placeholders import placeholder_items
from flowspan.reporter.spool.file import SUFFIX, SpoolFile
from flowspan.reporter.spool.format import Damage, SpoolHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flowspan.config import Config
    from flowspan.reporter.outbox import Batch, Outbox
    from flowspan.reporter.spool.format import Record

logger = logging.getLogger("flowspan.reporter")

_RESERVE_BYTES = 64 << 20
_RELEASE_ABOVE_BYTES = 8 << 20
"""Size of the outbox above which batches that are on disk are released from memory."""

_MEMORY_BYTES = 64 << 20
_MEMORY_RESERVE_BYTES = 32 << 20
_RETRY_S = 5.0
_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Room(enum.Enum):
    """The kinds of events that there is room for."""

    ALL = "all"
    STATES = "states"
    NOTHING = "nothing"


def spool_folder(home: Path) -> Path:
    """Return the spool folder of a home."""
    return home / "spool"


class Spool:
    """The spool of this process's session; owned by the reporter's thread.

    Args:
        config: The location and the size limit.
        session_id: The session whose events it stores.
        secret: The secret of the session, for a process that later sends an abandoned spool.

    Attributes:
        problem: The reason why events are not spooled, and what to do about it, as a sentence;
            empty while the spool works.
        spooled_events: Number of events that were written to the file, again if it was another one.
    """

    def __init__(self, config: Config, session_id: str, *, secret: bytes = b"") -> None:
        self._home = config.home
        self._folder = spool_folder(config.home)
        self._header = SpoolHeader(session_id, config.address or "", secret=secret)
        self._limit = config.spool_max_bytes
        self._reserve = min(_RESERVE_BYTES, self._limit // 8)
        self._file: SpoolFile | None = None
        self._others_bytes = 0
        self._retry_at = 0.0
        self._is_full = False
        self._unsynced = False
        self._is_damaged = False
        self._missing_events = 0
        self.problem = ""
        self.spooled_events = 0

    @property
    def size_bytes(self) -> int:
        """The size of its file; 0 without one."""
        file = self._file
        return 0 if file is None else file.size

    @property
    def is_full(self) -> bool:
        """True if the spool has reached its limit."""
        return self._is_full

    @property
    def limit_bytes(self) -> int:
        """Maximum size."""
        return self._limit

    @property
    def path(self) -> Path:
        """The path of its file, which may not exist."""
        return self._folder / f"{self._header.session_id}{SUFFIX}"

    def room(self, outbox: Outbox) -> Room:
        """Return the kinds of events that may be built while there is no connection."""
        if not self._is_full and clock.monotonic() >= self._retry_at:
            used = self._others_bytes + (self._file.size if self._file is not None else 0)
            return Room.ALL if used < self._limit - self._reserve else Room.STATES
        # New batches stay in memory. That is right for logs if the file cannot be written, but not
        # if it is full: then the user's limit applies.
        if outbox.memory_bytes >= _MEMORY_BYTES + _MEMORY_RESERVE_BYTES:
            return Room.NOTHING
        is_short = self._is_full or outbox.memory_bytes >= _MEMORY_BYTES
        return Room.STATES if is_short else Room.ALL

    def persist(self, outbox: Outbox) -> bool:
        """Write the batches that are not on disk yet.

        Returns:
            True if all batches are on disk now.
        """
        missing = outbox.not_on_disk()
        if not missing:
            return True
        if self._is_full or clock.monotonic() < self._retry_at:
            return False
        try:
            spool = self._open(missing[0].first)
            for batch in missing:
                # The service that gets it from the spool may be an older one.
                outbox.expand(batch)
                if self._others_bytes + spool.size + batch.size > self._limit:
                    self._is_full = True
                    self.problem = (
                        f"The spool {self.path} is full (FLOWSPAN_SPOOL_MAX_BYTES is "
                        f"{self._limit}): raise the limit, or start the service."
                    )
                    return False
                assert batch.data is not None  # noqa: S101 - a batch not on disk is in memory
                batch.offset = spool.append(batch.first, batch.last - batch.first + 1, batch.data)
                self._unsynced = True
                self.spooled_events += batch.last - batch.first + 1
                if outbox.memory_bytes > _RELEASE_ABOVE_BYTES:
                    outbox.release(batch)
            outbox.join_last(max_events=MAX_BATCH_EVENTS, max_bytes=MAX_BATCH_BYTES)
        except OSError as error:
            self._retry_at = clock.monotonic() + _RETRY_S
            is_space = error.errno in _OUT_OF_SPACE
            self.problem = (
                f"The spool {self.path} cannot be written ({error.strerror or error}): "
                f"{'free some space there' if is_space else 'make it writable'}, or set "
                "FLOWSPAN_HOME to another folder."
            )
            return False
        self.problem = ""
        return True

    def sync(self) -> None:
        """Sync the file, so that it survives a crash of the machine; best effort."""
        if self._file is not None and self._unsynced:
            try:
                self._file.sync()
                self._unsynced = False
            except OSError as error:
                logger.warning("the spool %s could not be synced: %s", self.path, error)

    def rewrite(self, outbox: Outbox, change: Callable[[Batch, bytes], Batch]) -> list[Batch]:
        """Return changed batches. Those in the file are written to a new one in its place.

        Args:
            outbox: The batches.
            change: Returns a changed batch; called with each batch and its bytes, in order.

        Raises:
            OSError: The new file cannot be written. The old one is as it was.
        """
        changed: list[Batch] = []
        old = self._file

        def fill(new: SpoolFile | None) -> None:
            for batch in outbox:
                made = change(batch, self.peek(batch))
                made.offset = batch.offset
                if new is not None and batch.offset is not None and batch.offset >= 0:
                    assert made.data is not None  # noqa: S101 - it was just made
                    made.offset = new.append(made.first, made.last - made.first + 1, made.data)
                    if batch.data is None:
                        made.data = None
                changed.append(made)

        if old is None or not outbox.is_on_disk:
            fill(None)
            return changed
        on_disk = (each.first for each in outbox if each.offset is not None and each.offset >= 0)
        old.rewrite(next(on_disk, old.header.first_sequence), fill)
        self._unsynced = True
        return changed

    def peek(self, batch: Batch) -> bytes:
        """Return the bytes of a batch, and do not keep them in memory."""
        return self._read(batch) if batch.data is None else batch.data

    def load(self, outbox: Outbox, batch: Batch) -> bytes:
        """Return the bytes of a batch, read from the file if necessary."""
        if batch.data is not None:
            return batch.data
        data = self._read(batch)
        outbox.load(batch, data)
        return data

    def _read(self, batch: Batch) -> bytes:
        """Read a batch from its records, with placeholders for unreadable events.

        The sequences must not have a gap: the service would refuse everything after it.
        """
        pieces = []
        missing, sequence = 0, batch.first
        try:
            for record, data in self._records_from(batch.offset or 0):
                if record.first > batch.last:
                    break
                if record.first > sequence:
                    missing += record.first - sequence
                    pieces.append(placeholder_items(record.first - sequence))
                pieces.append(items_of(record.first, data))
                sequence = record.last + 1
                if sequence > batch.last:
                    break
        except OSError as error:
            logger.error("the spool %s could not be read: %s", self.path, error)
        if sequence <= batch.last:
            missing += batch.last - sequence + 1
            pieces.append(placeholder_items(batch.last - sequence + 1))
        if missing:
            logger.error("the spool %s is damaged: %d events are lost", self.path, missing)
            self._is_damaged = True
            self._missing_events += missing
        return batch_bytes(batch.first, pieces)

    def _records_from(self, offset: int) -> Iterator[tuple[Record, bytes]]:
        if self._file is not None:
            for entry in self._file.entries(offset):
                if not isinstance(entry, Damage):
                    yield entry

    def tidy(self, outbox: Outbox) -> None:
        """Delete the file once the service has acknowledged all of it."""
        if self._file is not None and not outbox.is_on_disk:
            self._dispose(self._file)
            self._file = None
            self._is_full = self._unsynced = self._is_damaged = False
        if outbox.is_empty:
            self.problem = ""

    def close(self) -> None:
        """Close the file, so that the next process may take it over."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _dispose(self, spool: SpoolFile) -> None:
        """Delete the file, or set it aside if a part of it was unreadable."""
        if not self._is_damaged:
            with contextlib.suppress(OSError):
                spool.delete()
            return
        try:
            where = spool.set_aside()
        except OSError as error:
            logger.error("the damaged spool %s could not be renamed: %s", spool.path, error)
            return
        logger.error(
            "%d events of this process are lost, because its spool was damaged. The service has "
            "the events after them. The spool is kept as %s. Check the disk for errors.",
            *(self._missing_events, where),
        )

    def _open(self, first_sequence: int) -> SpoolFile:
        if self._file is None:
            if not self._header.client:
                self._header.client.update(client_info())
            own_home(self._home)
            header = dataclasses.replace(self._header, first_sequence=first_sequence)
            self._file = SpoolFile.create(self._folder, header)
            self._others_bytes = sum(
                _size(path) for path in self._folder.glob(f"*{SUFFIX}") if path != self._file.path
            )
        return self._file


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # deleted by now, or unreadable: it belongs to another process
        return 0
