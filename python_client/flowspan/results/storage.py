"""Folders for results: local, or any remote one that fsspec can reach by a URL."""

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
"""File systems in which a partly written file is visible, and that support renaming."""


class Folder(Protocol):
    """A folder for result files; each file is written atomically."""

    url: str

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, replacing an existing one.

        Raises:
            OSError: It cannot be written. (Other file systems may raise other errors.)
        """

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""

    def url_of(self, name: str) -> str:
        """Return the URL of a file."""


class LocalFolder:
    """A local folder, created on the first write.

    Its files are readable by this user only, and so is the folder if it is created here. An
    existing folder keeps its permissions, unless it is in a flowspan home.

    Args:
        path: The path of the folder.
        home: The home that contains it, if it is the home's own results folder.
    """

    def __init__(self, path: Path, *, home: Path | None = None) -> None:
        self.path = path.absolute()
        self._home = home
        self.url = self.path.as_uri()

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file under a temporary name and rename it, so that no reader sees a part."""
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
        """Delete a file, if it exists."""
        (self.path / name).unlink(missing_ok=True)

    def url_of(self, name: str) -> str:
        """Return the URL of a file."""
        return (self.path / name).as_uri()


class RemoteFolder:
    """A folder that fsspec reaches, such as s3://bucket/prefix or memory://results.

    Args:
        url: The URL of the folder. Credentials come from the usual sources of the file system's
            library, or from fsspec's configuration.

    Raises:
        ImportError: The library for this kind of URL is not installed.
        ValueError: This kind of URL is unknown.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - start-up cost, and often not needed

        self.url = url.rstrip("/")
        self._fs: Any
        try:
            self._fs, self._path = url_to_fs(self.url)
        except (ImportError, ValueError) as error:  # the message does not mention results
            raise type(error)(f"Results cannot be stored at {url!r}: {error}") from error
        protocol = self._fs.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._renames = bool(names & _WITH_RENAME)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None if it does not exist."""
        try:
            return bytes(self._fs.cat_file(f"{self._path}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, via a temporary name if a partly written file would be visible."""
        path = f"{self._path}/{name}"
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not self._renames:
            self._fs.pipe_file(path, data)
            return
        temporary = f"{path}.{secrets.token_hex(6)}.part"
        self._fs.pipe_file(temporary, data)
        self._fs.mv(temporary, path)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        path = f"{self._path}/{name}"
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def url_of(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self.url}/{name}"


def open_folder(where: str | Path) -> Folder:
    """Return the folder for a URL or a path.

    Args:
        where: A path, "file:///path", or any URL that fsspec supports.

    Raises:
        ImportError: The library for this kind of URL is not installed.
        ValueError: This kind of URL is unknown.
    """
    path = local_path(where)
    return RemoteFolder(str(where)) if path is None else LocalFolder(path)


def local_path(where: str | Path) -> Path | None:
    """Return the local path of a path or a file URL; None for other URLs.

    Raises:
        ValueError: The URL names another machine.
    """
    if isinstance(where, Path):
        return expand(where)
    _, separator, rest = where.partition("://")
    if not separator:
        return expand(where)
    if not is_file_url(where):
        return None
    # Parsed by hand, because an unencoded "#" or "?" belongs to the path.
    host, slash, path = rest.partition("/")
    if host not in {"", "localhost"}:
        raise ValueError(
            f"{where!r} names a folder of the machine {host!r}; a folder of this one begins "
            "with three slashes, as in file:///data/results"
        )
    return Path(unquote(slash + path, errors="surrogateescape") or "/")


def is_file_url(url: str) -> bool:
    """Return True if a URL names a file, in one of the two forms that fsspec knows."""
    return url.startswith(("file://", "local:///"))


def own_results(home: Path) -> LocalFolder:
    """Return the results folder of a home."""
    return LocalFolder(home / "results", home=home)


def read_url(url: str) -> bytes | None:
    """Return the content of the file at a URL; None if it does not exist."""
    folder, _, name = url.rpartition("/")
    opened = open_folder(folder)
    return opened.read(
        unquote(name, errors="surrogateescape") if isinstance(opened, LocalFolder) else name
    )


def file_name(key: str) -> str:
    """Return the file name for a key: the key itself if it is valid, else one derived from it.

    Args:
        key: Any text; slashes separate folders.
    """
    if len(key) <= _MAX_NAME and all(_is_plain(part) for part in key.split("/")):
        return key
    readable = "".join(c if c in _PLAIN else "_" for c in key[:60]).strip(". ")
    return f"{readable}-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _is_plain(part: str) -> bool:
    return bool(part) and _PLAIN.issuperset(part) and part[0] not in ". " and part[-1] not in ". "
