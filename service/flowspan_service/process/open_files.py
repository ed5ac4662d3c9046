"""The limit of open files: raised at the start, with a reserve that connections cannot take.

gRPC accepts connections until the process can open no more files. The service therefore holds a
reserve of unused open files, and closes a few of them just before it opens a connection to its
database.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ENOUGH = 65_536
"""The highest limit to request: some systems reserve memory for each file that may be open."""
RESERVE = 64
"""Files held in reserve; fewer where the system allows few files."""
GIVEN = 4
"""Reserved files that are closed at a time: a database of SQLite is a file and its log. The number
is small because a waiting connection may take a freed file before the database does."""
HEADROOM = 64
"""Files left beside the reserve when new streams are refused, for calls that report the problem."""

_FOLDERS = ("/proc/self/fd", "/dev/fd")
_COUNT_AGAIN_S = 0.1


class _Reserve:
    """The reserved files of this process."""

    lock = threading.Lock()
    files: list[int] = []  # noqa: RUF012 - the process's
    size = 0


def raise_limit() -> int:
    """Raise the soft limit as far as useful and fill the reserve; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # the system may refuse
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    limit = _limit()
    with _Reserve.lock:
        _Reserve.size = min(RESERVE, limit // 8)
    fill_reserve()
    return limit


@contextlib.contextmanager
def from_reserve() -> Iterator[None]:
    """Close some reserved files, so that others can be opened instead."""
    with _Reserve.lock:
        given = [_Reserve.files.pop() for _ in range(min(GIVEN, len(_Reserve.files)))]
    for file in given:
        os.close(file)
    try:
        yield
    finally:
        fill_reserve()


def fill_reserve() -> None:
    """Fill the reserve, as far as the limit allows."""
    with _Reserve.lock, contextlib.suppress(OSError):
        while len(_Reserve.files) < _Reserve.size:
            _Reserve.files.append(os.open(os.devnull, os.O_RDONLY))


def _limit() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


class OpenFiles:
    """The number of files that the process has open, as of the last count.

    Attributes:
        used: Open files.
        limit: The limit of open files.
        refused: Streams refused since the last count.
    """

    def __init__(self) -> None:
        self.used = 0
        self.refused = 0
        self.limit = _limit()
        self._begun = 0
        self._counted_at = time.monotonic()

    @property
    def is_short(self) -> bool:
        """True if no more streams should begin."""
        headroom = min(HEADROOM, self.limit // 4)
        return self.used + self._begun >= self.limit - headroom

    def begin(self) -> bool:
        """Count a stream that is about to begin; return False if it must not."""
        if self.is_short and time.monotonic() - self._counted_at > _COUNT_AGAIN_S:
            self.count()
        if self.is_short:
            self.refused += 1
            return False
        self._begun += 1
        return True

    def count(self) -> None:
        """Count the open files, including the reserve, and fill the reserve."""
        fill_reserve()
        self.limit = _limit()
        self._counted_at = time.monotonic()
        self._begun = 0
        for folder in _FOLDERS:
            with contextlib.suppress(OSError):
                self.used = len(os.listdir(folder))
                return
        # The folder could not be opened: no file number is left.
        self.used = self.limit
