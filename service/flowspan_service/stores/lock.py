"""One service per SQLite file: a lock on ``<database>.lock`` that ends with the process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from flowspan_service.process.private_files import open_file
from flowspan_service.stores.errors import StoreOpenError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

MAX_CONTENT_BYTES = 4096
ATTEMPTS = 5
ATTEMPT_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """Who holds the lock.

    Attributes:
        pid: The process.
        embedded: Whether it is a local service, started by a flow rather than by a person.
        address: Where it listens; empty as long as it is starting.
    """

    pid: int
    embedded: bool
    address: str = ""


class StoreLockedError(StoreOpenError):
    """Another service uses the database.

    Attributes:
        holder: Who; None if it has not said so.
    """

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


class StoreLock:
    """Holds the lock of a database until `release`, or until the process ends."""

    def __init__(self, path: Path, *, embedded: bool) -> None:
        """Takes the lock.

        Args:
            path: The database's file.
            embedded: See LockHolder.

        Raises:
            StoreLockedError: Another process has it.
            StoreOpenError: The lock's file cannot be made.
        """
        self._holder = LockHolder(pid=os.getpid(), embedded=embedded)
        try:
            self._file = open_file(_lock_path(path), os.O_RDWR)
        except OSError as error:
            msg = (
                f"The lock {_lock_path(path)} cannot be made ({error.strerror}). Check that its"
                " folder exists and can be written, or name another database with --db."
            )
            raise StoreOpenError(msg) from error
        if not self._take():
            os.close(self._file)
            raise StoreLockedError(path, _read(path))
        self._write()

    def _take(self) -> bool:
        # More than once, as `lock_holder` holds it for a moment to see whether anybody does.
        for _ in range(ATTEMPTS):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(ATTEMPT_INTERVAL_S)
            else:
                return True
        return False

    def announce(self, address: str) -> None:
        """Says where the holder listens, for those who find the database locked."""
        self._holder = LockHolder(
            pid=self._holder.pid, embedded=self._holder.embedded, address=address
        )
        self._write()

    def release(self) -> None:
        """Gives the lock back. The file stays: without it, two processes could hold two locks."""
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
        # The lock holds without it. A full disk is told of by the database, which needs more.
        with contextlib.suppress(OSError):
            os.pwrite(self._file, content, 0)


def lock_holder(path: Path) -> LockHolder | None:
    """Who holds the lock of the database at present; None if nobody does."""
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
