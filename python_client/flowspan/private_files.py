"""Folders and files that only this user may read: 0700 and 0600, regardless of the umask.

Existing ones with wider permissions are tightened, if they belong to this user. A home that has
other uses as well (the user's home directory, a temporary folder) keeps its permissions; new files
and folders in it are still private. docs/decisions/file-permissions.md has the reasons.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("flowspan")

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OTHERS = 0o077
_FOLDERS = ("spool", "results")
_MAX_TIGHTENED = 10_000


def make_folder(path: Path) -> None:
    """Create a private folder and its missing parents; no-op if it exists.

    Raises:
        OSError: It cannot be created.
    """
    missing = [path]
    while not os.path.lexists(parent := missing[-1].parent):
        missing.append(parent)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, FOLDER_MODE)
        except FileExistsError:
            if not folder.is_dir():
                raise


def own_folder(path: Path) -> None:
    """Create a folder of a home, or tighten an existing one.

    Raises:
        OSError: It cannot be created.
    """
    make_folder(path)
    tighten(path)


def own_home(home: Path) -> None:
    """Create the home; if others may enter an existing one, tighten it and flowspan's files in it.

    Raises:
        OSError: It cannot be created.
    """
    make_folder(home)
    if not _is_open_to_others(home.stat()) or _is_for_more(home) or not tighten(home):
        return
    for number, path in enumerate(_kept_in(home)):
        if number == _MAX_TIGHTENED:  # others cannot enter the tightened home anyway
            break
        tighten(path)


def open_file(path: Path, flags: int) -> int:
    """Open a private file, creating it if it is missing, and tighten an existing one.

    Returns:
        Its descriptor, closed on exec.

    Raises:
        OSError: It cannot be opened.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    with contextlib.suppress(OSError):  # a file system without permissions
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and _is_open_to_others(found):
            os.fchmod(handle, found.st_mode & FOLDER_MODE)
            _note(path, found)
    return handle


def tighten(path: Path) -> bool:
    """Revoke other users' access to a file or folder of this user; return True if they had any.

    Links, files of other users, and missing files are left alone.
    """
    with contextlib.suppress(OSError):
        found = path.stat() if path.is_dir() else path.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
        if is_ours and _is_open_to_others(found):
            os.chmod(path, found.st_mode & FOLDER_MODE)
            _note(path, found)
            return True
    return False


def _is_open_to_others(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and bool(found.st_mode & _OTHERS)


def _is_for_more(home: Path) -> bool:
    """Return True if the home has other uses as well, with permissions for those."""
    import tempfile  # noqa: PLC0415 - start-up cost, and rarely needed

    if home.stat().st_mode & stat.S_ISVTX:
        return True
    shared = {Path("/"), Path(tempfile.gettempdir())}
    with contextlib.suppress(RuntimeError, OSError):
        user = Path.home().resolve()
        shared |= {user, *user.parents}
    return home.resolve() in shared


def _kept_in(home: Path) -> Iterator[Path]:
    """Yield the files and folders of flowspan in a home."""
    with os.scandir(home) as entries:
        yield from (Path(entry) for entry in entries if entry.is_file(follow_symlinks=False))
    for name in _FOLDERS:
        for folder, _, files in os.walk(home / name):
            yield Path(folder)
            yield from (Path(folder, file) for file in files)


def _note(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    # Logging must not interfere, whatever the program has done to its loggers and clock.
    with contextlib.suppress(Exception):
        logger.info(
            "%s was open to other users (mode %04o); now only this user can access it", path, mode
        )
