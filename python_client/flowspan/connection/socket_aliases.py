"""Symbolic links to Unix sockets whose path gRPC cannot accept.

gRPC splits a path at commas, after decoding it, so there is no escape for them. So it gets a
symbolic link with another name. The link stays, because a channel may reconnect at any time; the
next process reuses it.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from flowspan.exceptions import ConfigError

_SEPARATOR = ","
_PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - a private folder is created there
"""Fallback places if the user's temporary folder has a comma itself, or is not writable."""


def path_for_grpc(path: str) -> str:
    """Return a path of the socket without a comma: its own, or a link's.

    Raises:
        ConfigError: The path has a comma, and no link can be created.
    """
    if _SEPARATOR not in path:
        return path
    import hashlib  # noqa: PLC0415 - start-up cost, and rarely needed
    import tempfile  # noqa: PLC0415 - as above

    name = f"{hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()}.link"
    problems = []
    for place in dict.fromkeys((tempfile.gettempdir(), *_PLACES)):
        if _SEPARATOR in place:
            continue
        link = Path(place, f"flowspan-{os.geteuid()}", name)
        try:
            _own_folder(link.parent)
            _link(link, path)
        except OSError as error:
            problems.append(f"{link.parent} ({error.strerror or error})")
            continue
        return os.fspath(link)
    raise ConfigError(
        f"gRPC cannot connect to the socket {path}: it treats a comma as the end of the path. A "
        f"link to it by another name cannot be created in {' or '.join(problems)}. Choose a path "
        "without a comma: with FLOWSPAN_HOME for the local service, with --socket for another."
    )


def _own_folder(folder: Path) -> None:
    """Create the user's private folder: other users must not be able to replace the links.

    Raises:
        OSError: It cannot be created, or belongs to another user.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise PermissionError("not a private folder of this user")


def _link(link: Path, path: str) -> None:
    with suppress(OSError):
        if os.readlink(link) == path:
            # Cleaners of temporary folders go by the time of the last change.
            with suppress(NotImplementedError):
                os.utime(link, follow_symlinks=False)
            return
    fresh = link.with_suffix(f".{os.urandom(4).hex()}")
    os.symlink(path, fresh)
    try:
        os.replace(fresh, link)  # atomic, because another process may create it now
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
