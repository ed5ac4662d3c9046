"""One service per SQLite file: a lock on ``<database>.lock`` that ends with the process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

import structlog

from flowspan_service.process.errors import EXIT_LOCKED, DatabaseLockError
from flowspan_service.process.private_files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

log = structlog.get_logger("flowspan.service")

MAX_CONTENT_BYTES = 4096
ATTEMPTS = 5
ATTEMPT_INTERVAL_S = 0.02
TAKE_OVER_S = 10.0
"""Time for the local service to stop when a person starts another service."""
TAKE_OVER_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """The process that holds the lock.

    Attributes:
        pid: Its process id.
        embedded: True for a local service, which a flow started and not a person.
        address: The address on which it listens; empty while it starts.
    """

    pid: int
    embedded: bool
    address: str = ""


class DatabaseLockedError(DatabaseLockError):
    """Another service uses the database.

    Attributes:
        holder: The process that holds the lock; None if it has not signed the lock.
    """

    exit_code = EXIT_LOCKED

    def __init__(self, path: Path, holder: LockHolder | None) -> None:
        self.holder = holder
        who = "another flowspan service"
        if holder is not None:
            kind = "the local service" if holder.embedded else "a flowspan service"
            at = f" at {holder.address}" if holder.address else ""
            who = f"{kind}{at} (process {holder.pid})"
        super().__init__(
            f"The database {path} is in use by {who}. Use that one, stop it"
            " (flowspan server stop), or name another database with --db."
        )


class DatabaseLock:
    """The lock of a database, held until `release` or until the process ends."""

    def __init__(self, path: Path, *, embedded: bool) -> None:
        """Take the lock.

        Args:
            path: The file of the database.
            embedded: See LockHolder.

        Raises:
            DatabaseLockedError: Another process holds it.
            DatabaseLockError: The file of the lock cannot be created.
        """
        self._holder = LockHolder(pid=os.getpid(), embedded=embedded)
        try:
            self._file = open_file(_lock_path(path), os.O_RDWR)
        except OSError as error:
            msg = (
                f"The lock {_lock_path(path)} cannot be created ({error.strerror}). Check that its"
                " folder exists and is writable, or name another database with --db."
            )
            raise DatabaseLockError(msg) from error
        if not self._take():
            os.close(self._file)
            raise DatabaseLockedError(path, _read(path))
        self._write()

    def _take(self) -> bool:
        # More than one attempt, as `lock_holder` holds the lock for a moment to test it.
        for _ in range(ATTEMPTS):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(ATTEMPT_INTERVAL_S)
            else:
                return True
        return False

    def announce(self, address: str) -> None:
        """Sign the lock with the holder's address, for processes that find it taken."""
        self._holder = LockHolder(
            pid=self._holder.pid, embedded=self._holder.embedded, address=address
        )
        self._write()

    def release(self) -> None:
        """Release the lock. The file stays: without it, two processes could hold two locks."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _write(self) -> None:
        content = json.dumps(asdict(self._holder)).encode()
        os.ftruncate(self._file, 0)
        # The lock holds without its content. The database reports a full disk.
        with contextlib.suppress(OSError):
            os.pwrite(self._file, content, 0)


@contextlib.contextmanager
def holding_lock(path: Path | None, *, is_embedded: bool) -> Iterator[DatabaseLock | None]:
    """Hold the lock of a database during the block; yield None for databases without a file.

    Args:
        path: The file of the database.
        is_embedded: True if this service is a local one, which takes over from no other.

    Raises:
        DatabaseLockedError: Another process holds the lock and keeps it.
        DatabaseLockError: The file of the lock cannot be created.
    """
    if path is None:
        yield None
        return
    with _take_over(path, is_embedded=is_embedded) as lock:
        yield lock


def lock_holder(path: Path) -> LockHolder | None:
    """Return the process that holds the lock of the database; None if it is free."""
    try:
        file = os.open(_lock_path(path), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(path)
    finally:
        os.close(file)
    return None


def _take_over(path: Path, *, is_embedded: bool) -> DatabaseLock:
    """Take the lock; ask a local service that holds it to stop, unless this is one, too."""
    deadline = time.monotonic() + TAKE_OVER_S
    asked: int | None = None
    while True:
        try:
            return DatabaseLock(path, embedded=is_embedded)
        except DatabaseLockedError as error:
            holder = error.holder
            if is_embedded or time.monotonic() > deadline:
                raise
            # A lock without a holder was just taken and not yet signed, or just released.
            if holder is not None:
                if not holder.embedded:
                    raise
                if holder.pid != asked:
                    asked = holder.pid
                    _ask_to_stop(asked)
        time.sleep(TAKE_OVER_INTERVAL_S)


def _ask_to_stop(process_id: int) -> None:
    log.info("taking over from the local service", process_id=process_id)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGTERM)


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _read(path: Path) -> LockHolder | None:
    try:
        with _lock_path(path).open("rb") as file:
            content = json.loads(file.read(MAX_CONTENT_BYTES))
        return LockHolder(
            pid=int(content["pid"]),
            embedded=bool(content["embedded"]),
            address=str(content.get("address", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
