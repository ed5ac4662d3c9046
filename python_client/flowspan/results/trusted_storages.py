"""The trust in results: only those in the storages that this program has configured are read.

A run's reporter names the location of its result, and reading a result may run code of its author.
So a location that only a state names is not read, unless the caller trusts it.
docs/decisions/trusted-results.md has the reasons.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from flowspan import config
from flowspan.core.values.inspection import exact_text
from flowspan.exceptions import UntrustedResult
from flowspan.results.storage import RemoteFolder, is_file_url, local_path, read_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Trust: TypeAlias = "bool | str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None"
"""Locations that a caller trusts besides the program's storages: all, or paths or URLs."""

_SPECIAL = frozenset("\\?#\0")

# The storages of this process's flows, tasks and result stores, as they were configured.
_configured: dict[str, None] = {}


def note_storage(storage: Any) -> None:
    """Trust a storage that this program has configured: a path, a URL or a ResultStore."""
    url = getattr(storage, "url", storage)
    if isinstance(url, str):
        _configured[exact_text(url)] = None
    elif isinstance(url, os.PathLike):
        _configured[os.path.abspath(os.fspath(url))] = None


def read_trusted(url: str, *, trust: Trust = False) -> bytes | None:
    """Return the content of a file that an untrusted source has named; None if it does not exist.

    Args:
        url: The URL.
        trust: Locations that the caller trusts besides the configured storages.

    Raises:
        UntrustedResult: The URL is in none of them; the message says what to do.
        TypeError: `trust` has an unsupported type.
        Exception: An error of a remote file system.
    """
    if trust is True:
        return read_url(url)
    for storage in _storages(trust):
        found = _read_within(storage, url)
        if found is not None:
            return found[0]
    raise UntrustedResult(
        f"The result is at {url!r:.500}, which is in no result storage of this program, and "
        "reading a result can run code of its author. If you trust that place, pass "
        "trust=True, or its folder as in trust='/data/results', or name the folder in "
        "FLOWSPAN_RESULTS_TRUSTED_STORAGES."
    )


def _storages(trust: Trust) -> Iterator[Path | str]:
    """Yield the trusted storages: paths of local folders, and URLs of remote ones."""
    settings = config.get_config()
    yield settings.home / "results"
    given: list[Any] = [settings.results_url, *settings.results_trusted_storages, *_configured]
    if trust is None or isinstance(trust, bool):
        pass
    elif isinstance(trust, (str, os.PathLike)):
        given.append(trust)
    else:
        given += trust
    for storage in given:
        if storage is None or (type(storage) is str and not storage):
            continue
        if not isinstance(storage, (str, os.PathLike)):
            raise TypeError(
                f"trust must be True, a path or a URL of a folder, or several, not {storage!r}"
            )
        text = os.fspath(storage)
        try:
            yield local_path(text) or text.rstrip("/")
        except ValueError:  # of another machine
            continue


def _read_within(storage: Path | str, url: str) -> tuple[bytes | None] | None:
    """Return the content of a file in a tuple; None if the file is not in the storage."""
    if isinstance(storage, Path):
        return _read_local(storage, url) if is_file_url(url) else None
    if is_file_url(url):
        return None
    if url == storage:
        storage, _, name = url.rpartition("/")
    elif url.startswith(f"{storage}/"):
        name = url[len(storage) + 1 :]
    else:
        return None
    is_plain = "::" not in name and not _SPECIAL.intersection(name) and "%2" not in name
    if not is_plain or not {"", ".", ".."}.isdisjoint(name.split("/")):
        return None
    return (RemoteFolder(storage).read(name),)


def _read_local(folder: Path, url: str) -> tuple[bytes | None] | None:
    try:
        path = local_path(url)
        # Links and ".." are resolved first: the file must really be in the folder.
        real = None if path is None else Path(os.path.realpath(path))
        if real is None or not real.is_relative_to(os.path.realpath(folder)):
            return None
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return (None,)
    except ValueError:  # of another machine, or not a path
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # reading a pipe would wait for its writer
        os.close(handle)
        return (None,)
    with os.fdopen(handle, "rb") as file:
        return (file.read(),)
