"""The folder for the local service's database, its socket and the spools.

FLOWSPAN_HOME names it; else it is in the user's data folder. A container often runs under a user id
that has no home directory, or one that nobody may write to: there a private folder in the temporary
directory serves, and a warning says so. (Why: docs/decisions/home-folder.md.)
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("flowspan")

_IN_HOME = ".local/share/flowspan"
_ADVICE = "Set FLOWSPAN_HOME to a folder of yours."


def find_home(environ: Mapping[str, str]) -> Path:
    """Return the home, an absolute path; it need not exist yet.

    Raises:
        ConfigError: FLOWSPAN_HOME cannot be understood; or it is not set, and there is no place
            that this user may write to. The message names FLOWSPAN_HOME.
    """
    text = environ.get("FLOWSPAN_HOME", "").strip()
    if text:
        return expand(text, "FLOWSPAN_HOME=").absolute()
    home = _user_data_folder()
    problem = "this user has no home directory" if home is None else _obstacle(home)
    if home is not None and not problem:
        return home
    private = _private_folder(problem)
    logger.warning(
        "Runs are kept in %s, since %s. A temporary folder may be emptied at any time: set "
        "FLOWSPAN_HOME to a folder that stays, or FLOWSPAN_ADDRESS to a running service.",
        *(private, problem),
    )
    return private


def expand(path: str | Path, name: str = "") -> Path:
    """Return the path with the home directory that a leading ``~`` stands for.

    Args:
        path: The path.
        name: What is written before it in the error's message.

    Raises:
        ConfigError: There is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{name}{str(path)!r}: the home directory that ~ stands for is not known here. Give an "
            "absolute path, or set HOME."
        ) from None


def _user_data_folder() -> Path | None:
    """The folder for data of the user's; None if nothing says where it is."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only without FLOWSPAN_HOME

    try:
        path = user_data_path("flowspan", appauthor=False)
        is_in_home = not Path(os.environ.get("XDG_DATA_HOME", "")).is_absolute()
        if is_in_home and os.environ.get("HOME") == "":
            path = _of_user_entry(path)
        elif not path.is_absolute():
            # The XDG specification ignores relative paths, which platformdirs passes on.
            path = Path("~", _IN_HOME).expanduser()
    except (RuntimeError, KeyError):  # there is neither HOME nor an entry of the user
        return None
    return path if path.is_absolute() else None


def _of_user_entry(path: Path) -> Path:
    """Return a folder that was found with an empty HOME, in the home directory of the user's entry.

    An empty HOME is the root directory to `os.path.expanduser`, and so to platformdirs before 4.12.

    Raises:
        KeyError: The user has no entry.
    """
    import pwd  # noqa: PLC0415 - only where HOME is empty

    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    if path.is_relative_to(home):
        return path
    return home / (path.relative_to(path.anchor) if path.is_absolute() else _IN_HOME)


def _obstacle(home: Path) -> str:
    """Why the folder cannot be made; empty if it is there or can be made.

    One that is there is kept to, also where it cannot be written: the runs that it has are not to
    be looked for elsewhere. What is wrong with it is said by what needs to write.
    """
    for folder in (home, *home.parents):
        try:
            mode = folder.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{home} cannot be reached ({error.strerror or error})"
        if not stat.S_ISDIR(mode):
            return f"{home} cannot be made: {folder} is not a folder"
        if folder != home and not os.access(folder, os.W_OK | os.X_OK):
            return f"{home} cannot be made: {folder} is not writable"
        return ""
    return f"{home} cannot be made"


def _private_folder(problem: str) -> Path:
    """Make the folder in the temporary directory that is this user's alone.

    Raises:
        ConfigError: There is none, or it is somebody else's.
    """
    import tempfile  # noqa: PLC0415 - start-up cost

    user_id = os.geteuid()
    try:
        folder = Path(tempfile.gettempdir()) / f"flowspan-{user_id}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(
            f"{problem}, and the temporary directory cannot be used either ({error}). {_ADVICE}"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user_id or found.st_mode & 0o077:
        raise ConfigError(
            f"{problem}, and {folder} is not a folder that is this user's alone (owner "
            f"{found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}). {_ADVICE}"
        )
    return folder / "home"
