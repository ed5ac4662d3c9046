"""Protection of the service from web pages: its host names, and the origins that may call it.

A page in the user's browser can send requests to a service on the same machine. Three checks keep
it out. Calls need a content type for which a browser asks first (a preflight), and the service
agrees only to configured origins. A request that names another origin is refused. And on loopback,
the host of a request must be a name of this machine: otherwise a page could point its own name at
127.0.0.1 (DNS rebinding), and the browser would take the service for the page's own server.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowspan_service.process.sockets import is_loopback
from flowspan_service.transports.http.errors import PERMISSION_DENIED, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowspan_service.transports.http.asgi import Header, Request

_ALLOWED_METHODS = b"GET, POST"
_ALLOWED_HEADERS = ", ".join(
    [
        *("accept", "authorization", "content-type", "flowspan-run"),
        *("connect-protocol-version", "connect-timeout-ms"),
        *("connect-accept-encoding", "connect-content-encoding", "content-encoding"),
        *("grpc-accept-encoding", "grpc-encoding", "grpc-timeout"),
        *("traceparent", "tracestate", "x-grpc-web", "x-user-agent"),
    ]
).encode()
_EXPOSED_HEADERS = ", ".join(
    [
        *("connect-accept-encoding", "connect-content-encoding", "content-encoding"),
        *("grpc-encoding", "grpc-message", "grpc-status", "grpc-status-details-bin"),
    ]
).encode()
_PREFLIGHT_AGE_S = b"7200"
_MAPPED = "::ffff:"
"""The prefix of an IPv4 address on a socket that takes both versions."""

_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"vary", b"accept-encoding, origin"),
)
_SAME_ORIGIN: Header = (b"cross-origin-resource-policy", b"same-origin")


class Guards:
    """The checks of every request.

    Args:
        origins: The origins whose pages may call the service: "https://example.com".
        hosts: Further host names of the service on loopback, such as the one to listen on.
    """

    def __init__(self, origins: Iterable[str], hosts: Iterable[str] = ()) -> None:
        self._origins = frozenset(origins)
        self._hosts = {_host_of(origin) for origin in self._origins} | set(hosts)

    def headers(self, request: Request) -> list[Header]:
        """Return the headers of the answer to a request."""
        origin = request.headers.get("origin")
        if origin not in self._origins:
            return [*_ALWAYS, _SAME_ORIGIN]
        return [
            *_ALWAYS,
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-expose-headers", _EXPOSED_HEADERS),
        ]

    def check(self, request: Request) -> None:
        """Check the host and the origin of a request.

        Raises:
            RefusedError: The request comes from a web page that may not call the service.
        """
        host = request.headers.get("host", "")
        if is_loopback(request.local_host.removeprefix(_MAPPED)) and not self._is_ours(host):
            raise refusal(
                HTTPStatus.FORBIDDEN,
                "The host of this request is not a name of this machine. Use 127.0.0.1 or "
                "localhost, or name the origin of your proxy with --cors-origin.",
                code=PERMISSION_DENIED,
            )
        origin = request.headers.get("origin")
        if origin is None or origin in self._origins or _is_same(origin, host):
            return
        raise refusal(
            HTTPStatus.FORBIDDEN,
            "Pages of this origin may not call the service. To allow them, start it with "
            "--cors-origin and their origin.",
            code=PERMISSION_DENIED,
        )

    def preflight(self, request: Request) -> list[Header] | None:
        """Return the further headers of the answer to a preflight; None if it asks in vain."""
        asked = "access-control-request-method" in request.headers
        if not asked or request.headers.get("origin") not in self._origins:
            return None
        headers: list[Header] = [
            (b"access-control-allow-methods", _ALLOWED_METHODS),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", _PREFLIGHT_AGE_S),
        ]
        if request.headers.get("access-control-request-private-network") == "true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers

    def _is_ours(self, host: str) -> bool:
        """Return True for a name of this machine, and for none: every browser sends one."""
        name = _name_of(host)
        return not host or is_loopback(name) or name in self._hosts


def _is_same(origin: str, host: str) -> bool:
    """Return True if a page was served by the host that it calls."""
    return bool(host) and origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _name_of(host: str) -> str:
    """Return the name or address in a "host" header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _host_of(origin: str) -> str:
    return urlsplit(origin).hostname or ""
