"""Folders and files that only this user may read: 0700 and 0600, regardless of the umask.

Existing files and folders of this user with wider permissions are tightened. A home that also
serves other purposes (the user's home directory, a temporary folder) keeps its permissions; files
created in it are nevertheless private. (Reasons: docs/decisions/file-permissions.md.)
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from flowspan_service.process.errors import HomeError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("flowspan.service")

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OTHERS = 0o077
_FOLDERS = ("spool", "results")
_MAX_TIGHTENED = 10_000


def keep_files_private() -> None:
    """Restrict the umask, so that files which libraries create are private from the start.

    Forked processes inherit it; the service starts no other program.
    """
    os.umask(_OTHERS)


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
    """Create the home; if others may enter it, tighten it and flowspan's files in it.

    Raises:
        OSError: It cannot be created.
    """
    make_folder(home)
    if not _is_open_to_others(home.stat()) or _is_for_more(home) or not tighten(home):
        return
    for number, path in enumerate(_kept_in(home)):
        if number == _MAX_TIGHTENED:  # others cannot enter the home to read the rest
            break
        tighten(path)


def claim_home(home: Path) -> None:
    """Make the home private, as `own_home` does.

    Raises:
        HomeError: It cannot be created.
    """
    try:
        own_home(home)
    except OSError as error:
        raise HomeError(
            f"The home {home} cannot be created ({error.strerror}). Name another one with "
            "--home or FLOWSPAN_HOME."
        ) from error


def open_file(path: Path, flags: int) -> int:
    """Open a private file; create it if it is missing, tighten it if it exists.

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
    """Revoke the access of others to a file or folder of this user; return True if they had it.

    Links, files of other users and missing files are left alone.
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
    """Return True if the home also serves other purposes, with permissions for those."""
    import tempfile  # noqa: PLC0415 - start-up cost, and rarely needed

    if home.stat().st_mode & stat.S_ISVTX:
        return True
    shared = {Path("/"), Path(tempfile.gettempdir())}
    with contextlib.suppress(RuntimeError, OSError):
        user = Path.home().resolve()
        shared |= {user, *user.parents}
    return home.resolve() in shared


def _kept_in(home: Path) -> Iterator[Path]:
    """Iterate over flowspan's files and folders in a home."""
    with os.scandir(home) as entries:
        yield from (Path(entry) for entry in entries if entry.is_file(follow_symlinks=False))
    for name in _FOLDERS:
        for folder, _, files in os.walk(home / name):
            yield Path(folder)
            yield from (Path(folder, file) for file in files)


def _note(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    # A program's broken loggers or clock must not keep its files open to others.
    with contextlib.suppress(Exception):
        logger.info(
            "%s was open to other users (mode %04o); now only this user can access it", path, mode
        )
