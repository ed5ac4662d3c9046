"""The spool file: its ownership and its contents.

The file stores a session's batches while the service is unreachable. It is append-only, in the
format of `spool.format`. The process that holds the file's lock (flock) owns it: the process that
writes it, or one that found it without an owner and sends it to the service.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIX = ".spool"
DAMAGED_SUFFIX = ".spool.damaged"
STARTS_SUFFIX = ".starts.spool"
"""File name suffix of a spool with starts of runs; see `flowspan.reporter.spool.run_starts`."""

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
    """An open spool, owned by this object.

    Attributes:
        path: The path of the file.
        header: The description at its beginning.
        size: The written size, in bytes.
        is_whole: True if its beginning can be read without the help of the file's name.
    """

    def __init__(self, path: Path, handle: int, opening: Opening, size: int) -> None:
        """Wrap an open and locked file. Use `create` or `adopt` instead."""
        self.path = path
        self.header = opening.header
        self.size = size
        self.is_whole = opening.is_whole
        self._opening = opening
        self._handle = handle
        _files.add(self)

    @classmethod
    def create(
        cls,
        folder: Path,
        header: SpoolHeader,
        *,
        suffix: str = SUFFIX,
        fill: Callable[[SpoolFile], None] = lambda _: None,
    ) -> SpoolFile:
        """Create a new spool. It replaces an existing one of the session in one step.

        Args:
            folder: The folder to create it in.
            header: The description for its beginning.
            suffix: The file name suffix: SUFFIX or STARTS_SUFFIX.
            fill: Called with the spool before others can see it, to append its first batches.

        Raises:
            OSError: The folder cannot be written to.
        """
        own_folder(folder)
        path = folder / f"{header.session_id}{suffix}"
        # Hidden until it is locked, so that no process finds it without an owner.
        hidden = folder / f".{header.session_id}.new"
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        spool: SpoolFile | None = None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            start = start_of(header)
            _write(handle, start, 0)
            opening = read_opening(lambda at, size: os.pread(handle, size, at), header.session_id)
            spool = cls(path, handle, opening, len(start))
            fill(spool)
            hidden.rename(path)
        except BaseException:
            if spool is None:
                os.close(handle)
            else:
                spool.close()
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            raise
        return spool

    @classmethod
    def adopt(cls, path: Path) -> SpoolFile | None:
        """Take over a spool that has no owner.

        Returns:
            None if it has an owner, or is gone.

        Raises:
            SpoolFormatError: The file is not a spool.
            OSError: The file cannot be opened.
        """
        try:
            handle = _open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if not _take_lock(handle):
                os.close(handle)
                return None
            if not _is_same_file(handle, path):  # another process was faster and has finished
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
        """True if it stores starts of runs; see `flowspan.reporter.spool.run_starts`."""
        return self.path.name.endswith(STARTS_SUFFIX)

    def append(self, first: int, count: int, batch: bytes) -> int:
        """Append a batch, so that it survives this process, and return its record's offset.

        Raises:
            OSError: The batch could not be written (for example, the disk is full); nothing was
                appended.
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
        """Remove all records.

        Raises:
            OSError: The file cannot be truncated.
        """
        os.ftruncate(self._handle, self._opening.start)
        self.size = self._opening.start

    def rewrite(self, first_sequence: int, fill: Callable[[SpoolFile], None]) -> None:
        """Replace the records in one step. It is always owned, and has either all or none of them.

        Args:
            first_sequence: The sequence of the first event in the new records.
            fill: Called with a new spool, to append the new records. The old ones can be read
                meanwhile.

        Raises:
            OSError: The new records cannot be written. The file is as it was.
        """
        header = dataclasses.replace(self.header, first_sequence=first_sequence)
        new = SpoolFile.create(self.path.parent, header, fill=fill)
        if new.path != self.path:  # it was copied or renamed
            new.path.replace(self.path)
            new.path = self.path
        self.close()
        self.__dict__.update(new.__dict__)
        _files.discard(new)
        _files.add(self)

    def read(self, offset: int) -> tuple[Record, bytes] | None:
        """Return the record at an offset and its batch; None if it is missing, torn or damaged."""
        found = self._opening.records.read(self._pread, offset)
        return None if found is None or found[1] is None else (found[0], found[1])

    def entries(self, offset: int | None = None) -> Iterator[tuple[Record, bytes] | Damage]:
        """Iterate over the records with their batches, and over the damaged parts between them.

        Args:
            offset: The position to start at; by default the first record.
        """
        return entries(self._opening, self._pread, self.size, offset)

    def records(self) -> Iterator[tuple[Record, bytes]]:
        """Iterate over all readable records with their batches, in order."""
        return (entry for entry in self.entries() if not isinstance(entry, Damage))

    def sync(self) -> None:
        """Sync the file, so that its contents survive a crash of the machine.

        Raises:
            OSError: The disk reports an error.
        """
        os.fsync(self._handle)

    def delete(self) -> None:
        """Close and delete the file, after the service has acknowledged all of it.

        Raises:
            OSError: The file cannot be deleted. It is closed anyway.
        """
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def set_aside(self) -> Path:
        """Close and rename the file after its readable part was sent; return the new path.

        Raises:
            OSError: The file cannot be renamed. It is closed anyway.
        """
        try:
            return set_aside(self.path)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, so that others may take it over."""
        _files.discard(self)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _pread(self, offset: int, size: int) -> bytes:
        return os.pread(self._handle, size, offset)


def set_aside(path: Path) -> Path:
    """Rename a damaged spool, so that people can inspect it, and return the new path.

    Raises:
        OSError: The file cannot be renamed.
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
    """Read a spool, regardless of its owner.

    Returns:
        Its beginning, and an iterator over its entries as in `SpoolFile.entries`, which reopens the
        file.

    Raises:
        SpoolFormatError: The file is not a spool.
        OSError: The file cannot be read.
    """
    with _reading(path) as handle:
        opening = _read_opening(handle, path)

    def all_entries() -> Iterator[tuple[Record, bytes] | Damage]:
        with _reading(path) as handle:
            size = os.fstat(handle).st_size
            yield from entries(opening, lambda at, size: os.pread(handle, size, at), size)

    return opening, all_entries()


def is_owned(path: Path) -> bool:
    """Return True if a process owns the spool. The answer may be outdated at once.

    Raises:
        SpoolFormatError: The path is not a regular file.
        OSError: The file cannot be opened.
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
    """Open a regular file. Anything else is refused: opening a pipe would wait for its writer.

    Raises:
        SpoolFormatError: The path is not a regular file.
        OSError: The file cannot be opened.
    """
    _check_kind(os.lstat(path).st_mode)
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if not flags & os.O_RDWR or error.errno not in _READ_ONLY:
            raise
        handle = os.open(path, flags & ~os.O_RDWR)  # reading is enough for most uses
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
    """Lock a file that seems to have no owner; return False if it has one."""
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            clock.sleep(_LOCK_PAUSE_S)  # another process may be in `is_owned`
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
    """Close the parent's spools in a forked child: their locks would outlive the parent in it."""
    for spool in list(_files):
        with contextlib.suppress(OSError):
            spool.close()
    _files.clear()


os.register_at_fork(after_in_child=_forget_files)
