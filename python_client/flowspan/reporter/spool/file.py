"""The file that keeps a session's batches while the service is away: who owns it, and its contents.

It is only ever appended to, in the format of `spool_format`. The process that holds the file's lock
(flock) owns it: the one that writes it, or one that found it without an owner and sends it to the
service.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import weakref
from typing import TYPE_CHECKING

from flowspan import clock
from flowspan.private_files import own_folder
from flowspan.reporter.spool.format import (
    Damage,
    Opening,
    Record,
    SpoolFormatError,
    SpoolHeader,
    entries,
    read_opening,
    record_of,
    start_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX = ".spool"
DAMAGED_SUFFIX = ".spool.damaged"
STARTS_SUFFIX = ".starts.spool"
"""The end of the name of a spool that keeps starts of runs; see `spool.run_starts`."""

_LOCK_ATTEMPTS = 5
_LOCK_PAUSE_S = 0.002
_MAX_SET_ASIDE = 1000
_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}

_files: weakref.WeakSet[SpoolFile] = weakref.WeakSet()


class SpoolFile:
    """An open spool that is owned by this object.

    Attributes:
        path: Where it is.
        header: What it says of itself.
        size: How far it is written, in bytes.
        is_whole: Whether its beginning can be read without the help of the file's name.
    """

    def __init__(self, path: Path, handle: int, opening: Opening, size: int) -> None:
        """Wraps a file that is open and locked. Use `create` or `adopt`."""
        self.path = path
        self.header = opening.header
        self.size = size
        self.is_whole = opening.is_whole
        self._opening = opening
        self._handle = handle
        _files.add(self)

    @classmethod
    def create(cls, folder: Path, header: SpoolHeader, *, suffix: str = SUFFIX) -> SpoolFile:
        """Makes a new spool.

        Args:
            folder: Where.
            header: Its beginning.
            suffix: The end of its name: SUFFIX or STARTS_SUFFIX.

        Raises:
            OSError: The folder cannot be written to.
        """
        own_folder(folder)
        path = folder / f"{header.session_id}{suffix}"
        # Under another name until it is locked: nobody shall find it without its owner.
        hidden = folder / f".{header.session_id}.new"
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            start = start_of(header)
            _write(handle, start, 0)
            opening = read_opening(lambda at, size: os.pread(handle, size, at), header.session_id)
            hidden.rename(path)
        except BaseException:
            os.close(handle)
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise
        return cls(path, handle, opening, len(start))

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
            handle = _open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if not _take_lock(handle):
                os.close(handle)
                return None
            if not _is_same_file(handle, path):  # somebody was faster, and is done with it
                os.close(handle)
                return None
            spool = cls(path, handle, _read_opening(handle, path), os.fstat(handle).st_size)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            raise
        return spool

    @property
    def has_starts(self) -> bool:
        """Whether it keeps starts of runs; see `flowspan.reporter.spool.run_starts`."""
        return self.path.name.endswith(STARTS_SUFFIX)

    def append(self, first: int, count: int, batch: bytes) -> int:
        """Appends a batch and returns its record's offset. What it wrote survives this process.

        Raises:
            OSError: It could not be written (the disk is full, say); nothing was appended.
        """
        body = record_of(self.header.session_id, first, count, batch)
        offset = self.size
        try:
            _write(self._handle, body, offset)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, offset)
            raise
        self.size = offset + len(body)
        return offset

    def empty(self) -> None:
        """Removes all records.

        Raises:
            OSError: The file cannot be made shorter.
        """
        os.ftruncate(self._handle, self._opening.start)
        self.size = self._opening.start

    def read(self, offset: int) -> tuple[Record, bytes] | None:
        """The record at an offset and its batch; None where none is, or a torn or damaged one."""
        found = self._opening.records.read(self._pread, offset)
        return None if found is None or found[1] is None else (found[0], found[1])

    def entries(self, offset: int | None = None) -> Iterator[tuple[Record, bytes] | Damage]:
        """Iterate over the records with their batches, and over what is damaged between them.

        Args:
            offset: Where to begin; by default at the first record.
        """
        return entries(self._opening, self._pread, self.size, offset)

    def records(self) -> Iterator[tuple[Record, bytes]]:
        """All records that can be read with their batches, in order."""
        return (entry for entry in self.entries() if not isinstance(entry, Damage))

    def sync(self) -> None:
        """Returns when what was written survives a crash of the machine, too.

        Raises:
            OSError: The disk has an error.
        """
        os.fsync(self._handle)

    def delete(self) -> None:
        """Removes the file: the service has all of it.

        Raises:
            OSError: It cannot be removed. It is closed all the same.
        """
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def set_aside(self) -> Path:
        """Renames the file, whose whole part the service has, and returns where it is now.

        Raises:
            OSError: It cannot be renamed. It is closed all the same.
        """
        try:
            return set_aside(self.path)
        finally:
            self.close()

    def close(self) -> None:
        """Lets go of the file, for others to take over."""
        _files.discard(self)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _pread(self, offset: int, size: int) -> bytes:
        return os.pread(self._handle, size, offset)


def set_aside(path: Path) -> Path:
    """Rename a damaged spool, for people to look at, and return where it is now.

    Raises:
        OSError: It cannot be renamed.
    """
    name = path.name.removesuffix(SUFFIX)
    aside = path.with_name(f"{name}{DAMAGED_SUFFIX}")
    for number in range(2, _MAX_SET_ASIDE):
        if not aside.exists():
            break
        aside = path.with_name(f"{name}.{number}{DAMAGED_SUFFIX}")
    path.rename(aside)
    return aside


def look_into(path: Path) -> tuple[Opening, Iterator[tuple[Record, bytes] | Damage]]:
    """Read a spool, whoever owns it.

    Returns:
        Its beginning; and an iterator over its entries as in `SpoolFile.entries`, which opens the
        file again.

    Raises:
        SpoolFormatError: It is no spool.
        OSError: It cannot be read.
    """
    with _reading(path) as handle:
        opening = _read_opening(handle, path)

    def all_entries() -> Iterator[tuple[Record, bytes] | Damage]:
        with _reading(path) as handle:
            size = os.fstat(handle).st_size
            yield from entries(opening, lambda at, size: os.pread(handle, size, at), size)

    return opening, all_entries()


def is_owned(path: Path) -> bool:
    """Whether a process owns the spool. By the time that you know, it may have changed.

    Raises:
        SpoolFormatError: It is no file.
        OSError: It cannot be opened.
    """
    with _reading(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[int]:
    handle = _open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _open(path: Path, flags: int) -> int:
    """Open a file, and nothing else that has its name: opening a pipe would wait for its writer.

    Raises:
        SpoolFormatError: It is no file.
        OSError: It cannot be opened.
    """
    _check_kind(os.lstat(path).st_mode)
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if not flags & os.O_RDWR or error.errno not in _READ_ONLY:
            raise
        handle = os.open(path, flags & ~os.O_RDWR)  # to read it is enough for all but writing it
    try:
        _check_kind(os.fstat(handle).st_mode)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check_kind(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a device")
        raise SpoolFormatError(f"it is {kind}, not a file", is_foreign=True)


def _read_opening(handle: int, path: Path) -> Opening:
    name = path.name.partition(".")[0]
    return read_opening(lambda at, size: os.pread(handle, size, at), name)


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
