"""Where spans are sent: the standard OTEL_EXPORTER_OTLP_* variables.

The variables: https://opentelemetry.io/docs/specs/otel/protocol/exporter/. Each has a form for
traces alone (OTEL_EXPORTER_OTLP_TRACES_…), which wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

GRPC = "grpc"
HTTP = "http/protobuf"

_PREFIX = "OTEL_EXPORTER_OTLP_"
_DEFAULT_ENDPOINTS = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_HTTP_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A receiver of OTLP, and how to talk to it.

    Attributes:
        url: For HTTP the whole URL; for gRPC what stands before the path, with its scheme.
        protocol: "grpc" or "http/protobuf".
        headers: Sent with each request, for example a token; names in lower case.
        timeout_s: How long a request may take.
        gzip: Whether requests are compressed.
        certificate: A file with the certificates to trust; None for those of the system.
        client_certificate: A file with the own certificate, for mutual TLS.
        client_key: A file with its key.
    """

    url: str
    protocol: str = GRPC
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    gzip: bool = False
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    @property
    def is_secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.url.startswith("https://")

    @property
    def authority(self) -> str:
        """Its host and port."""
        return urlsplit(self.url).netloc


class Transport(Protocol):
    """Brings requests to a target."""

    def send(self, body: bytes, timeout_s: float) -> bytes:
        """Sends one ExportTraceServiceRequest, and returns the ExportTraceServiceResponse.

        Raises:
            SendError: It did not arrive.
        """
        ...

    def reset(self) -> None:
        """Forgets its connection without touching it: after a fork it belongs to the parent."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


class SendError(Exception):
    """A request did not arrive.

    Attributes:
        retryable: Whether the same request may arrive later.
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def names_endpoint(environ: Mapping[str, str]) -> bool:
    """Whether the environment says where spans go."""
    return bool(_value(environ, "ENDPOINT"))


def target_of(environ: Mapping[str, str], endpoint: str | None = None) -> Target:
    """The target that the environment describes.

    Args:
        environ: The environment.
        endpoint: Taken instead of the environment's endpoint: an OTLP/gRPC endpoint unless the
        environment
            names another protocol; ``host:port`` stands for ``http://host:port``.

    Raises:
        ConfigError: A variable has a value that it may not have.
    """
    protocol = _value(environ, "PROTOCOL") or GRPC
    if protocol not in _DEFAULT_ENDPOINTS:
        msg = f"{_PREFIX}PROTOCOL={protocol!r} is not known: expected {GRPC!r} or {HTTP!r}"
        raise ConfigError(msg)
    compression = _value(environ, "COMPRESSION") or "none"
    if compression not in {"none", "gzip"}:
        msg = f"{_PREFIX}COMPRESSION={compression!r} is not known: expected 'none' or 'gzip'"
        raise ConfigError(msg)
    return Target(
        url=_url(environ, endpoint, protocol),
        protocol=protocol,
        headers=_headers(_value(environ, "HEADERS")),
        timeout_s=_seconds(_value(environ, "TIMEOUT")),
        gzip=compression == "gzip",
        certificate=_value(environ, "CERTIFICATE") or None,
        client_certificate=_value(environ, "CLIENT_CERTIFICATE") or None,
        client_key=_value(environ, "CLIENT_KEY") or None,
    )


def _url(environ: Mapping[str, str], endpoint: str | None, protocol: str) -> str:
    url = endpoint or _value(environ, "ENDPOINT") or _DEFAULT_ENDPOINTS[protocol]
    if "://" not in url:
        # The standard takes gRPC endpoints without a scheme as TLS, unless …_INSECURE says
        # otherwise.
        insecure = endpoint is not None or _value(environ, "INSECURE").lower() == "true"
        url = f"{'http' if insecure else 'https'}://{url}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"the OTLP endpoint {url!r} is not understood: expected, for example, 'http://localhost:4317'"
        raise ConfigError(msg)
    if protocol == HTTP and (endpoint or not environ.get(f"{_PREFIX}TRACES_ENDPOINT", "").strip()):
        # A general endpoint is a base; one for traces alone is used as it is.
        return url.rstrip("/") + _HTTP_PATH
    return url


def _value(environ: Mapping[str, str], name: str) -> str:
    for variable in (f"{_PREFIX}TRACES_{name}", f"{_PREFIX}{name}"):
        text = environ.get(variable, "").strip()
        if text:
            return text
    return ""


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Of the form ``name=value,name=value``, percent-encoded as W3C Baggage."""
    headers = []
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if equals and name.strip():
            headers.append((unquote(name.strip()).lower(), unquote(value.strip())))
        elif item.strip():
            msg = f"{_PREFIX}HEADERS: expected name=value, not {item.strip()!r}"
            raise ConfigError(msg)
    return tuple(headers)


def _seconds(text: str) -> float:
    if not text:
        return 10.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        msg = f"{_PREFIX}TIMEOUT={text!r}: expected a number of seconds greater than 0"
        raise ConfigError(msg)
    return value
