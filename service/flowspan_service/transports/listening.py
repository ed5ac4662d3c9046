"""The addresses on which the service listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flowspan_service.process.sockets import is_loopback, short_socket_path

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan_service.config import Config


class Listener(Protocol):
    """A server that can listen on a port and on a Unix socket."""

    def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port; return its number (0 asks for any that is free)."""
        ...

    def listen_on_socket(self, path: Path) -> None:
        """Listen on a Unix socket."""
        ...


def is_private(config: Config) -> bool:
    """Return True if only processes of this machine can reach the service."""
    return not config.uses_tcp or is_loopback(config.host)


def url_of(host: str, port: int, *, is_over_tls: bool = False) -> str:
    """Return the address of an HTTP server: "http://127.0.0.1:4680"."""
    return f"{'https' if is_over_tls else 'http'}://{_place(host, port)}"


def listen(server: Listener, config: Config) -> list[str]:
    """Listen on all configured addresses, and return them, the nearest first.

    Raises:
        ListenError: An address cannot be used.
    """
    addresses = []
    if config.socket is not None:
        path = short_socket_path(config.socket)
        server.listen_on_socket(path)
        addresses.append(f"unix:{path}")
    if config.listens_on_tcp:
        port = server.listen(config.host, config.port)
        addresses.append(_place(config.host, port))
    return addresses


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
