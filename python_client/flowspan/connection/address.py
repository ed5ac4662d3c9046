"""Service addresses: parsing, connecting, and error messages for failed connections."""

from __future__ import annotations

# Sockets import it when they first resolve a host name. If another thread forks at that moment,
# the child is left with a permanently half-imported module. So it is imported here.
import encodings.idna  # noqa: F401 - see above
import errno
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from flowspan.config import split_address
from flowspan.connection.access import Access
from flowspan.connection.socket_aliases import path_for_grpc
from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.connection.tls import TlsSocket

_USER_TIMEOUT_MS = 15_000
_KEEPALIVE_S = 10


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a service.

    Attributes:
        text: The written form: ``host:port`` or ``unix:/path``, with the path unescaped.
        host: The host; empty for a Unix socket.
        port: The port; 0 for a Unix socket.
        path: The path of the Unix socket; empty for TCP.
        is_local: True for the local service, which may be started on demand.
        home: With is_local: the home of the local service.
        access: How to prove who one is there. Not a part of what makes two addresses equal.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    is_local: bool = False
    home: Path | None = None
    access: Access = field(default=Access(), compare=False, repr=False)

    @property
    def grpc_target(self) -> str:
        """The address in gRPC's form, which is a URL.

        Raises:
            ConfigError: gRPC cannot express it (see `socket_aliases`).
        """
        if self.path:
            return f"unix:{quote(os.fsencode(path_for_grpc(self.path)))}"
        # A host may be named like one of gRPC's schemes: "dns:4600" would be a port without a host.
        return f"dns:///{quote(self.text, safe='[]:')}"

    @property
    def authority(self) -> str:
        """The HTTP/2 authority."""
        return "localhost" if self.path else self.text

    def __str__(self) -> str:
        return self.text


def parse_address(
    text: str, *, source: str = "FLOWSPAN_ADDRESS", home: Path | None = None
) -> Address:
    """Parse ``host:port``, ``[ip6]:port`` or ``unix:/path``.

    Args:
        text: The address.
        source: The origin of the text, for error messages.
        home: The home of the local service, if the address is its; None for any other service.

    Raises:
        ConfigError: The address is invalid; the message shows a valid form.
    """
    try:
        host, port, path = split_address(text)
    except ValueError as error:
        raise ConfigError(f"{source}={text!r}: {error}") from None
    is_local = home is not None
    return Address(
        f"unix:{path}" if path else text,
        host=host,
        port=port,
        path=path,
        is_local=is_local,
        home=home,
    )


def connect_socket(address: Address, *, timeout_s: float) -> socket.socket | TlsSocket:
    """Connect a socket to the service, with TLS if its address says so.

    Raises:
        ConfigError: A file of certificates cannot be used.
        OSError: The service is unreachable, or the TLS handshake failed (see `explain`).
    """
    plain = _connect_plain(address, timeout_s=timeout_s)
    if not address.access.uses_tls:
        return plain
    from flowspan.connection.tls import secure  # noqa: PLC0415 - only with TLS

    return secure(plain, address.host, address.access)


def _connect_plain(address: Address, *, timeout_s: float) -> socket.socket:
    if address.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    try:
        sock = socket.create_connection((address.host, address.port), timeout=timeout_s)
    except UnicodeError as error:  # of IDNA: a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
    if sock.getsockname() == sock.getpeername():
        # The kernel chose the same port for the near end, and connected the socket to itself (RFC
        # 9293, 3.5). The port must be free for the service that is about to start.
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    _keep_alive(sock)
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """Enable TCP keepalive, so that a dead peer is detected in about a quarter of a minute."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Some options have other names, or are missing, on other systems than Linux.
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_S),
        ("TCP_KEEPALIVE", _KEEPALIVE_S),
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_reachable(address: Address, *, timeout_s: float = 1.0) -> bool:
    """Return True if the address accepts connections, and its certificate can be checked."""
    try:
        connect_socket(address, timeout_s=timeout_s).close()
    except (OSError, ConfigError):
        return False
    return True


def explain(address: Address, error: OSError) -> str:
    """Return a sentence that says why the service is unreachable, and what to do."""
    if address.access.uses_tls:
        import ssl  # noqa: PLC0415 - only with TLS

        from flowspan.connection.tls import explain_tls  # noqa: PLC0415 - as above

        if isinstance(error, ssl.SSLError):
            return f"no flowspan service at {address}: {explain_tls(error)}."
    if isinstance(error, socket.gaierror):
        why = f"the host name {address.host!r} is not known ({error.strerror})"
    elif isinstance(error, TimeoutError):
        why = "it did not answer in time"
    elif error.errno == errno.ECONNREFUSED:
        why = "nothing listens there"
    elif error.errno == errno.ENOENT:
        why = "there is no such socket"
    else:
        why = error.strerror or str(error) or type(error).__name__
    advice = (
        "It is started again when it is needed."
        if address.is_local
        else "Is it running (flowspan server start), and is FLOWSPAN_ADDRESS right?"
    )
    return f"no flowspan service at {address}: {why}. {advice}"
