"""The folder for the local service's database, its socket and the spools.

FLOWSPAN_HOME sets it; by default it is in the user's data folder. A container often runs under a
user id without a home directory, or with one that is not writable. It then uses a private folder in
the temporary directory, with a warning. docs/decisions/home-folder.md has the reasons.
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
_ADVICE = "Set FLOWSPAN_HOME to a folder that you own."


def find_home(environ: Mapping[str, str]) -> Path:
    """Return the home, an absolute path; it need not exist yet.

    Raises:
        ConfigError: FLOWSPAN_HOME is invalid; or it is not set, and there is no place that this
            user may write to. The message names FLOWSPAN_HOME.
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
        "Runs are kept in %s, because %s. A temporary folder may be emptied at any time: set "
        "FLOWSPAN_HOME to a permanent folder, or FLOWSPAN_ADDRESS to a running service.",
        *(private, problem),
    )
    return private


def expand(path: str | Path, name: str = "") -> Path:
    """Return the path with a leading ``~`` replaced by the home directory.

    Args:
        path: The path.
        name: The text before the path in the error's message.

    Raises:
        ConfigError: There is no such home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{name}{str(path)!r}: the home directory that ~ stands for is unknown. Give an "
            "absolute path, or set HOME."
        ) from None


def _user_data_folder() -> Path | None:
    """Return the user's data folder; None if it cannot be determined."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only without FLOWSPAN_HOME

    try:
        path = user_data_path("flowspan", appauthor=False)
        is_in_home = not Path(os.environ.get("XDG_DATA_HOME", "")).is_absolute()
        if is_in_home and os.environ.get("HOME") == "":
            path = _of_user_entry(path)
        elif not path.is_absolute():
            # The XDG specification ignores relative paths, which platformdirs passes on.
            path = Path("~", _IN_HOME).expanduser()
    except (RuntimeError, KeyError):  # neither HOME nor an entry in the user database
        return None
    return path if path.is_absolute() else None


def _of_user_entry(path: Path) -> Path:
    """Move a folder that was found with an empty HOME to the home directory of the user's entry.

    An empty HOME is the root directory to `os.path.expanduser`, and so to platformdirs before 4.12.

    Raises:
        KeyError: The user has no entry in the user database.
    """
    import pwd  # noqa: PLC0415 - only where HOME is empty

    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    if path.is_relative_to(home):
        return path
    return home / (path.relative_to(path.anchor) if path.is_absolute() else _IN_HOME)


def _obstacle(home: Path) -> str:
    """Return the reason why the folder cannot be created; empty if it exists or can be.

    An existing folder is used even if it is not writable: its runs must not be searched for
    elsewhere. The code that needs to write reports the problem.
    """
    for folder in (home, *home.parents):
        try:
            mode = folder.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return f"{home} cannot be reached ({error.strerror or error})"
        if not stat.S_ISDIR(mode):
            return f"{home} cannot be created: {folder} is not a folder"
        if folder != home and not os.access(folder, os.W_OK | os.X_OK):
            return f"{home} cannot be created: {folder} is not writable"
        return ""
    return f"{home} cannot be created"


def _private_folder(problem: str) -> Path:
    """Create the user's private folder in the temporary directory.

    Raises:
        ConfigError: It cannot be created, or belongs to another user.
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
            f"{problem}, and {folder} is not a private folder of this user (owner "
            f"{found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}). {_ADVICE}"
        )
    return folder / "home"
