"""Folders for results: a local one, or any that fsspec can reach by a URL."""

from __future__ import annotations

import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from flowspan.home import expand
from flowspan.private_files import make_folder, open_file, own_folder, own_home

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=@ ")
_MAX_NAME = 150
_WITH_RENAME = frozenset({"sftp", "ssh", "smb", "hdfs", "arrow_hdfs", "webhdfs"})
"""File systems in which a file under way can be seen, and that can rename."""


class Folder(Protocol):
    """Where files of results are; each is written whole or not at all."""

    url: str

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, instead of one that is there.

        Raises:
            OSError: It cannot be written. (Other file systems may raise other errors.)
        """

    def delete(self, name: str) -> None:
        """Deletes a file, if it is there."""

    def url_of(self, name: str) -> str:
        """The URL of a file."""


class LocalFolder:
    """A folder of this machine, made when it is first written to.

    Its files are for this user alone, and so is the folder if it is made here. A folder that is
    there keeps its permissions, unless it is in a home of flowspan's.

    Args:
        path: Where it is.
        home: The home that it is in, if it is its own folder for results.
    """

    def __init__(self, path: Path, *, home: Path | None = None) -> None:
        self.path = path.absolute()
        self._home = home
        self.url = self.path.as_uri()

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """Writes a file under another name and renames it, so that nobody sees a part of it."""
        path = self.path / name
        if self._home is not None:
            own_home(self._home)
            own_folder(self.path)
            self._home = None
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}.part")
        try:
            os.close(open_file(temporary, os.O_WRONLY | os.O_EXCL))
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def delete(self, name: str) -> None:
        """Deletes a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def url_of(self, name: str) -> str:
        """The URL of a file."""
        return (self.path / name).as_uri()


class RemoteFolder:
    """A folder that fsspec reaches: s3://bucket/prefix, memory://results and so on.

    Args:
        url: Of the folder. Credentials come from where the file system's own library looks for
            them, or from fsspec's configuration.

    Raises:
        ImportError: The library for that kind of URL is not installed.
        ValueError: There is no such kind of URL.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - start-up cost, and often not needed

        self.url = url.rstrip("/")
        self._fs: Any
        try:
            self._fs, self._path = url_to_fs(self.url)
        except (ImportError, ValueError) as error:  # the message knows nothing of results
            raise type(error)(f"Results cannot be kept at {url!r}: {error}") from error
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._renames = bool(names & _WITH_RENAME)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        try:
            return bytes(self._fs.cat_file(f"{self._path}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Writes a file at once, or under another name first where it would be seen half."""
        path = f"{self._path}/{name}"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not self._renames:
            self._fs.pipe_file(path, data)
            return
        temporary = f"{path}.{secrets.token_hex(6)}.part"
        self._fs.pipe_file(temporary, data)
        self._fs.mv(temporary, path)

    def delete(self, name: str) -> None:
        """Deletes a file, if it is there."""
        path = f"{self._path}/{name}"
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def url_of(self, name: str) -> str:
        """The URL of a file."""
        return f"{self.url}/{name}"


def open_folder(where: str | Path) -> Folder:
    """The folder for a URL or a path.

    Args:
        where: A path, "file:///path", or any URL that fsspec knows.

    Raises:
        ImportError: The library for that kind of URL is not installed.
        ValueError: There is no such kind of URL.
    """
    path = local_path(where)
    return RemoteFolder(str(where)) if path is None else LocalFolder(path)


def local_path(where: str | Path) -> Path | None:
    """The path that a path or a URL names on this machine; None for other kinds of URLs.

    Raises:
        ValueError: It is on another machine.
    """
    if isinstance(where, Path):
        return expand(where)
    _, separator, rest = where.partition("://")
    if not separator:
        return expand(where)
    if not is_file_url(where):
        return None
    # By hand: a "#" or "?" of a path that was not encoded belongs to the path, too.
    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"}:
        raise ValueError(
            f"{where!r} names a folder of the machine {host!r}; a folder of this one begins "
            "with three slashes, as in file:///data/results"
        )
    return Path(unquote(slash + path, errors="surrogateescape") or "/")


def is_file_url(url: str) -> bool:
    """True if a URL names a file of a machine, in one of the two ways that fsspec knows."""
    return url.startswith(("file://", "local:///"))


def own_results(home: Path) -> LocalFolder:
    """The folder for results of a home."""
    return LocalFolder(home / "results", home=home)


def read_url(url: str) -> bytes | None:
    """The content of the file of that URL; None if there is none."""
    folder, _, name = url.rpartition("/")
    opened = open_folder(folder)
    return opened.read(
        unquote(name, errors="surrogateescape") if isinstance(opened, LocalFolder) else name
    )


def file_name(key: str) -> str:
    """The name of the file for a key: the key itself where that is a good name, else near it.

    Args:
        key: Any text; slashes make folders.
    """
    if len(key) <= _MAX_NAME and all(_is_plain(part) for part in key.split("/")):
        return key
    readable = "".join(c if c in _PLAIN else "_" for c in key[:60]).strip(". ")
    return f"{readable}-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _is_plain(part: str) -> bool:
    return bool(part) and _PLAIN.issuperset(part) and part[0] not in ". " and part[-1] not in ". "
