"""Connections to receivers of logs: OTLP over gRPC and HTTP.

Only the service's own receiver gets the headers and certificates of the environment. A client names
a receiver without credentials, and gets none of the service's.
"""

from __future__ import annotations

import gzip
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from flowspan_service.domain.sessions import OTLP_HTTP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flowspan_service.domain.log_receivers import LogReceiver
    from flowspan_service.loops.log_exporter import LogSink

_PREFIX = "OTEL_EXPORTER_OTLP_"
_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_TIMEOUT_S = 10.0
_OPTIONS = (
    # Reconnect to a restarted receiver within seconds; gRPC's default limit is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class _Settings(NamedTuple):
    """The settings of the requests to a receiver."""

    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = _TIMEOUT_S
    gzip: bool = False
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""


class LogSinks:
    """Connects to receivers of logs.

    Args:
        environ: The environment of the service, for its own receiver.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, receiver: LogReceiver) -> LogSink:
        """Return a connection to a receiver; nothing is sent yet."""
        settings = _own_settings(self._environ) if receiver.is_own else _Settings()
        if receiver.protocol == OTLP_HTTP:
            return _HttpSink(receiver.url, settings)
        return _GrpcSink(receiver.url, settings)


class _GrpcSink:
    """A channel that opens with the first request."""

    def __init__(self, url: str, settings: _Settings) -> None:
        self._url = url
        self._settings = settings
        self._channel: Any = None

    def send(self, request: bytes) -> bytes:
        """Send a request. Without (de)serializers, gRPC accepts and returns bytes."""
        if self._channel is None:
            self._channel = self._open()
        call = self._channel.unary_unary(_METHOD)
        settings = self._settings
        answer: bytes = call(request, timeout=settings.timeout_s, metadata=settings.headers)
        return answer

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()

    def _open(self) -> Any:
        import grpc  # noqa: PLC0415 - seldom needed here

        settings, parts = self._settings, urlsplit(self._url)
        compression = grpc.Compression.Gzip if settings.gzip else None
        if parts.scheme != "https":
            return grpc.insecure_channel(parts.netloc, options=_OPTIONS, compression=compression)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(settings.certificate),
            private_key=_read(settings.client_key),
            certificate_chain=_read(settings.client_certificate),
        )
        return grpc.secure_channel(
            parts.netloc, credentials, options=_OPTIONS, compression=compression
        )


class _HttpSink:
    """A new connection for each request: there are few and large ones."""

    def __init__(self, url: str, settings: _Settings) -> None:
        self._url = url
        self._settings = settings

    def send(self, request: bytes) -> bytes:
        """Send a request."""
        headers = {"content-type": "application/x-protobuf", **dict(self._settings.headers)}
        if self._settings.gzip:
            headers["content-encoding"] = "gzip"
            request = gzip.compress(request, compresslevel=1)
        # The scheme is http or https, as the check of Hello and the settings ensure.
        made = Request(self._url, data=request, headers=headers, method="POST")  # noqa: S310
        timeout_s = self._settings.timeout_s
        try:
            with urlopen(made, timeout=timeout_s, context=self._tls()) as response:  # noqa: S310
                answer: bytes = response.read()
                return answer
        except HTTPError as error:
            with error:
                raise OSError(f"HTTP {error.code}: {error.reason}") from None

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _tls(self) -> ssl.SSLContext | None:
        settings = self._settings
        if not self._url.startswith("https://"):
            return None
        context = ssl.create_default_context(cafile=settings.certificate or None)
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate, settings.client_key or None)
        return context


def _own_settings(environ: Mapping[str, str]) -> _Settings:
    """Return the settings of the standard variables; malformed ones are left out."""

    def value(name: str) -> str:
        own = environ.get(f"{_PREFIX}LOGS_{name}", "").strip()
        return own or environ.get(f"{_PREFIX}{name}", "").strip()

    pairs = (item.partition("=") for item in value("HEADERS").split(","))
    headers = tuple(
        (unquote(name.strip()).lower(), unquote(text.strip()))
        for name, equals, text in pairs
        if equals and name.strip()
    )
    try:
        timeout_s = float(value("TIMEOUT"))
    except ValueError:
        timeout_s = _TIMEOUT_S
    return _Settings(
        headers,
        timeout_s if timeout_s > 0 else _TIMEOUT_S,
        value("COMPRESSION").lower() == "gzip",
        value("CERTIFICATE"),
        value("CLIENT_CERTIFICATE"),
        value("CLIENT_KEY"),
    )


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None
