"""Checks of the addresses to listen on, with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import tempfile
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from flowspan_service.process.errors import ListenError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SOCKET_PATH_BYTES = 100
"""The system's limit is 104 or 108 bytes, and gRPC needs some of it."""


def listening_sockets(host: str, port: int, *, flag: str, backlog: int) -> list[socket.socket]:
    """Return sockets that listen on a port of a host: one for each address of its name.

    Args:
        host: The name or address.
        port: The port; 0 chooses a free one, the same for all.
        flag: The flag that sets the port, for errors.
        backlog: The most connections that wait to be accepted.

    Raises:
        ListenError: The port or the host cannot be used.
    """
    found: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            at = found[0].getsockname()[1] if found else port
            dual = host == "::" and socket.has_dualstack_ipv6()
            found.append(
                socket.create_server(
                    (str(address[0]), at), family=family, backlog=backlog, dualstack_ipv6=dual
                )
            )
    except UnicodeError as error:
        raise ListenError(f"{host!r} is not a host name. Choose another with --host.") from error
    except OSError as error:
        is_unavailable = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
        if not (found and is_unavailable):  # a name may have an address of a family that is off
            for each in found:
                each.close()
            raise ListenError(_why_not(host, port, error, flag=flag)) from error
    return found


def check_port(host: str, port: int) -> None:
    """Check that a TCP port is free, for transports that do not say why they failed.

    Raises:
        ListenError: The port or the host cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except UnicodeError as error:
        raise ListenError(f"{host!r} is not a host name. Choose another with --host.") from error
    except OSError as error:
        raise ListenError(_why_not(host, port, error, flag="--port")) from error


def is_answered(path: Path) -> bool:
    """Return True if a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


def is_loopback(host: str) -> bool:
    """Return True if only processes of this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def short_socket_path(path: Path) -> Path:
    """Return the path; if it is too long for a socket, one in the user's temporary folder.

    Raises:
        ListenError: The temporary folder cannot be used.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    folder = Path(tempfile.gettempdir()) / f"flowspan-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ListenError(
            f"The folder {folder} cannot be created: {error}. Name another socket with --socket."
        ) from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise ListenError(
            f"The folder {folder} is open to other users. Name another socket with --socket."
        )
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return folder / f"{digest}.sock"


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """Restrict sockets that are created in the block to their owner."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def _why_not(host: str, port: int, error: OSError, *, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is in use. Stop what uses it (if it is flowspan: flowspan server stop), "
            f"or choose another one with {flag}; {flag} 0 chooses any free port."
        )
    if error.errno == errno.EACCES:
        return (
            f"Port {port} is reserved for the system's services. Choose one above 1023 with {flag}."
        )
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host!r} is not an address of this machine. Choose another one with --host."
    return f"Cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}."
