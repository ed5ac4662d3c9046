"""The file that keeps a session's batches while the service is away.

A file is a header (a line that says what it is, a length, JSON) and then records, each with its
length, a CRC-32, its sequences and a flowspan.v1.Batch. It is only ever appended to; a tail that
was torn by a crash is ignored. Whoever holds the lock of the file (flock) owns it: the process that
writes it, or one that found it without an owner and brings it to the service.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import struct
import weakref
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from flowspan import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX = ".spool"

_MAGIC = b"flowspan spool 1\n"
_LENGTH = struct.Struct(">I")
_RECORD = struct.Struct(">IIqI")
_MAX_HEADER_BYTES = 1 << 16
_MAX_RECORD_BYTES = 64 << 20
_LOCK_ATTEMPTS = 5
_LOCK_PAUSE_S = 0.002

_files: weakref.WeakSet[SpoolFile] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class SpoolHeader:
    """What a spool says of itself.

    Attributes:
        session_id: The session whose events it keeps.
        address: The configured address of the service; empty for the local service of the home.
        client: Who made it, by the names of Hello's fields.
        created_at: When, in seconds since 1970 UTC.
        secret: The session's secret, which the service wants to see; empty in older spools.
    """

    session_id: str
    address: str
    client: dict[str, str] = field(default_factory=dict)
    created_at: float = field(default_factory=clock.now_s)
    secret: bytes = field(default=b"", repr=False)


class Record(NamedTuple):
    """A batch in a spool.

    Attributes:
        offset: Where its record begins in the file.
        first: The sequence of its first event.
        events: How many events it has.
        size: How large the batch is.
    """

    offset: int
    first: int
    events: int
    size: int

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + _RECORD.size + self.size


class SpoolFormatError(Exception):
    """The file is not a spool, or not one that this version reads."""


class SpoolFile:
    """An open spool that is owned by this object.

    Attributes:
        path: Where it is.
        header: What it says of itself.
        size: How far it is written, in bytes.
    """

    def __init__(self, path: Path, handle: int, header: SpoolHeader, start: int, size: int) -> None:
        """Wraps a file that is open and locked. Use `create` or `adopt`."""
        self.path = path
        self.header = header
        self.size = size
        self._start = start
        self._handle = handle
        _files.add(self)

    @classmethod
    def create(cls, folder: Path, header: SpoolHeader) -> SpoolFile:
        """Makes a new spool.

        Raises:
            OSError: The folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{header.session_id}{SUFFIX}"
        # Under another name until it is locked: nobody shall find it without its owner.
        hidden = folder / f".{header.session_id}.new"
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = json.dumps(
                {
                    "session_id": header.session_id,
                    "address": header.address,
                    "client": header.client,
                    "created_at": header.created_at,
                    "secret": header.secret.hex(),
                }
            ).encode()
            start = _MAGIC + _LENGTH.pack(len(text)) + text
            _write(handle, start, 0)
            hidden.rename(path)
        except BaseException:
            os.close(handle)
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise
        return cls(path, handle, header, len(start), len(start))

    @classmethod
    def adopt(cls, path: Path) -> SpoolFile | None:
        """Takes a spool over, if it has no owner.

        Returns:
            None if it has one, or is gone.

        Raises:
            SpoolFormatError: It is no spool.
            OSError: It cannot be opened.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if not _take_lock(handle):
                os.close(handle)
                return None
            if not _is_same_file(handle, path):  # somebody was faster, and is done with it
                os.close(handle)
                return None
            header, start = _read_header(handle)
            spool = cls(path, handle, header, start, os.fstat(handle).st_size)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise
        return spool

    def append(self, first: int, count: int, batch: bytes) -> int:
        """Appends a batch and returns its record's offset. What it wrote survives this process.

        Raises:
            OSError: It could not be written (the disk is full, say); nothing was appended.
        """
        body = (
            _RECORD.pack(len(batch), zlib.crc32(batch, first & 0xFFFF_FFFF), first, count) + batch
        )
        offset = self.size
        try:
            _write(self._handle, body, offset)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, offset)
            raise
        self.size = offset + len(body)
        return offset

    def read(self, offset: int) -> tuple[Record, bytes] | None:
        """The record at an offset and its batch; None where none is, or a torn or damaged one."""
        head = os.pread(self._handle, _RECORD.size, offset)
        if len(head) < _RECORD.size:
            return None
        size, checksum, first, count = _RECORD.unpack(head)
        if size > _MAX_RECORD_BYTES or count < 1:
            return None
        batch = os.pread(self._handle, size, offset + _RECORD.size)
        if len(batch) < size or zlib.crc32(batch, first & 0xFFFF_FFFF) != checksum:
            return None
        return Record(offset, first, count, size), batch

    def records(self) -> Iterator[tuple[Record, bytes]]:
        """All records with their batches, in order, up to the end or to the first that is torn."""
        offset = self._start
        while (found := self.read(offset)) is not None:
            yield found
            offset = found[0].end

    def sync(self) -> None:
        """Returns when what was written survives a crash of the machine, too.

        Raises:
            OSError: The disk has an error.
        """
        os.fsync(self._handle)

    def delete(self) -> None:
        """Removes the file: the service has all of it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Lets go of the file, for others to take over."""
        _files.discard(self)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_header(path: Path) -> SpoolHeader:
    """The header of a spool, whoever owns it.

    Raises:
        SpoolFormatError: It is no spool.
        OSError: It cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read_header(handle)[0]
    finally:
        os.close(handle)


def is_owned(path: Path) -> bool:
    """Whether a process owns the spool. By the time that you know, it may have changed.

    Raises:
        OSError: It cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _take_lock(handle: int) -> bool:
    """Locks a file that seems to be without an owner; False if it has one all the same."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            clock.sleep(_LOCK_PAUSE_S)  # somebody may just be looking (`is_owned`)
        else:
            return True
    return False


def _write(handle: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]
        offset += written


def _read_header(handle: int) -> tuple[SpoolHeader, int]:
    head = os.pread(handle, len(_MAGIC) + _LENGTH.size, 0)
    if len(head) < len(_MAGIC) + _LENGTH.size or not head.startswith(_MAGIC):
        raise SpoolFormatError("it is not a spool, or one of another version")
    (length,) = _LENGTH.unpack(head[len(_MAGIC) :])
    if length > _MAX_HEADER_BYTES:
        raise SpoolFormatError("its header is damaged")
    try:
        values = json.loads(os.pread(handle, length, len(head)))
        header = SpoolHeader(
            session_id=str(values["session_id"]),
            address=str(values["address"]),
            client={str(key): str(value) for key, value in values["client"].items()},
            created_at=float(values["created_at"]),
            secret=bytes.fromhex(values.get("secret", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpoolFormatError(f"its header is damaged: {error!r}") from error
    return header, len(head) + length


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _forget_files() -> None:
    """In a forked child: closes the parent's spools, whose locks would outlive the parent in it."""
    for spool in list(_files):
        with contextlib.suppress(OSError):
            spool.close()
    _files.clear()


os.register_at_fork(after_in_child=_forget_files)
