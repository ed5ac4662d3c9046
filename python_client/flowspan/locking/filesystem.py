"""Locks shared by the processes of a machine, or of all machines that share a file system."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from hashlib import sha256
from typing import TYPE_CHECKING

from flowspan.home import expand
from flowspan.locking.waiting import AsyncLocking
from flowspan.private_files import FILE_MODE, make_folder

if TYPE_CHECKING:
    from pathlib import Path

from flowspan import clock

_FIRST_WAIT_S = 0.005
_LONGEST_WAIT_S = 0.25


class FileSystemLockManager(AsyncLocking):
    """A lock manager that uses locked files in a folder.

    The operating system releases the locks of a process however it dies. On a network file system
    this depends on locks that dead clients lose (NFS 4 has them).

    Args:
        lock_files_directory: The folder; created on demand.
    """

    def __init__(self, lock_files_directory: str | Path) -> None:
        self.lock_files_directory = expand(lock_files_directory).absolute()

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Lock a key; see `flowspan.locking.protocol.LockManager`."""
        path = self._path(key)
        if self.is_lock_holder(key, holder):
            return True
        file = self._locked_file(path, acquire_timeout)
        if file is None:
            return False
        text = json.dumps({"key": key, "holder": holder, "process_id": os.getpid()})
        os.ftruncate(file, 0)
        os.write(file, text.encode())  # for people
        held = _Held(holder, file)
        with _guard:
            _held[str(path)] = held
        if hold_timeout is not None:
            held.timer = threading.Timer(hold_timeout, _release, (str(path), held))
            held.timer.daemon = True
            held.timer.start()
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Unlock a key.

        Raises:
            ValueError: The holder has not locked it.
        """
        path = str(self._path(key))
        held = _held.get(path)
        if held is None or held.holder != holder or not _release(path, held):
            raise ValueError(f"{holder!r} has not locked the key {key!r}.")

    def is_locked(self, key: str) -> bool:
        """Return True if the key is locked."""
        path = self._path(key)
        if str(path) in _held:
            return True
        file = _try_lock(path, create=False)
        if file is None:
            return path.exists()
        os.close(file)
        return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Return True if the holder has locked the key, in this process."""
        held = _held.get(str(self._path(key)))
        return held is not None and held.holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the key is unlocked; return False if the timeout passed first."""
        end_s = None if timeout is None else clock.monotonic() + timeout
        wait_s = _FIRST_WAIT_S
        while self.is_locked(key):
            if end_s is not None and clock.monotonic() >= end_s:
                return False
            clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        return True

    def _locked_file(self, path: Path, timeout_s: float | None) -> int | None:
        make_folder(self.lock_files_directory)
        end_s = None if timeout_s is None else clock.monotonic() + timeout_s
        wait_s = _FIRST_WAIT_S
        while True:
            file = _try_lock(path, create=True)
            if file is not None:
                return file
            if end_s is not None and clock.monotonic() >= end_s:
                return None
            clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _path(self, key: str) -> Path:
        name = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self.lock_files_directory / f"{name}.lock"


class _Held:
    """A lock that this process holds."""

    def __init__(self, holder: str, file: int) -> None:
        self.holder = holder
        self.file = file
        self.timer: threading.Timer | None = None


_held: dict[str, _Held] = {}
"""The locks of this process, by the paths of their files."""

_guard = threading.Lock()
"""The lock that protects `_held`."""


def _try_lock(path: Path, *, create: bool) -> int | None:
    """Lock a file; return None if it is locked by another holder, or does not exist."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        file = os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The previous holder deleted the file on release, and it may have been created again since.
        if os.path.samestat(os.fstat(file), os.stat(path)):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _release(path: str, held: _Held) -> bool:
    """Release a lock, if it is still held; return True if it was."""
    with _guard:
        if _held.get(path) is not held:
            return False
        del _held[path]
    if held.timer is not None:
        held.timer.cancel()
    try:
        os.unlink(path)  # while it is still locked
    finally:
        os.close(held.file)
    return True


def _after_fork() -> None:
    """Drop the parent's locks in a forked child, which must not keep their files open."""
    global _guard  # noqa: PLW0603 - one per process
    _guard = threading.Lock()
    for held in _held.values():
        os.close(held.file)
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)
