"""Links to Unix sockets whose path gRPC cannot be given.

gRPC takes a path with commas for several paths, and has no escape for them: it splits the path
after it has decoded it. So it is given a symbolic link by another name. The link stays, since a
channel may connect again at any time; the next process uses it as well.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from flowspan.exceptions import ConfigError

_SEPARATOR = ","
_PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - the folder there is the user's alone
"""Where the link may be if the user's temporary folder has a comma itself, or takes no files."""


def path_for_grpc(path: str) -> str:
    """Return a path of the socket without a comma: its own, or that of a link to it.

    Raises:
        ConfigError: It has a comma, and there is no place for a link.
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
        f"gRPC cannot connect to the socket {path}: it takes a comma for the end of the path. A "
        f"link to it by another name cannot be made in {' or '.join(problems)}. Choose a path "
        "without a comma: with FLOWSPAN_HOME for the local service, with --socket for another."
    )


def _own_folder(folder: Path) -> None:
    """Make the folder that is this user's alone: whoever writes to it chooses the service.

    Raises:
        OSError: It cannot be made, or is somebody else's.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.geteuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise PermissionError("not a folder that is this user's alone")


def _link(link: Path, path: str) -> None:
    with suppress(OSError):
        if os.readlink(link) == path:
            # What cleans temporary folders goes by the time of the last change.
            with suppress(NotImplementedError):
                os.utime(link, follow_symlinks=False)
            return
    fresh = link.with_suffix(f".{os.urandom(4).hex()}")
    os.symlink(path, fresh)
    try:
        os.replace(fresh, link)  # at once, for another process may make it at this moment
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
