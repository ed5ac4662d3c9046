"""The receivers of spans and other signals, from the standard OTEL_EXPORTER_OTLP_* variables.

The variables: https://opentelemetry.io/docs/specs/otel/protocol/exporter/. Each has a variant for
each signal alone (OTEL_EXPORTER_OTLP_TRACES_…, …_LOGS_…), which takes precedence.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

GRPC = "grpc"
HTTP = "http/protobuf"

TRACES = "traces"
LOGS = "logs"
METRICS = "metrics"
"""The signals, as in the paths of OTLP over HTTP."""

_PREFIX = "OTEL_EXPORTER_OTLP_"
_NO_TLS = "WRONG_VERSION_NUMBER"
"""In the errors of TLS libraries if the other side answers in plain text."""
_DEFAULT_ENDPOINTS = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An OTLP receiver, and the settings for requests to it.

    Attributes:
        url: For HTTP the full URL; for gRPC the scheme and the authority.
        protocol: "grpc" or "http/protobuf".
        signal: The signal that it receives: TRACES, LOGS or METRICS.
        headers: Sent with each request, for example a token; names in lower case.
        timeout_s: Maximum duration of a request.
        gzip: True if requests are compressed.
        certificate: A file with the certificates to trust; None for those of the system.
        client_certificate: A file with the client's certificate, for mutual TLS.
        client_key: A file with the client's private key.
    """

    url: str
    protocol: str = GRPC
    signal: str = TRACES
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    gzip: bool = False
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    @property
    def is_secure(self) -> bool:
        """True if the connection uses TLS."""
        return self.url.startswith("https://")

    def explain(self, failure: str, *, is_unknown: bool = False) -> str:
        """Return the message of a failed request, with advice if the reason can be guessed.

        Args:
            failure: The reason, as the protocol gives it.
            is_unknown: True if the receiver answered that it has no such method or path.
        """
        advice = self._advice(failure, is_unknown=is_unknown)
        return f"{failure}: {advice}" if advice else failure

    def _advice(self, failure: str, *, is_unknown: bool) -> str:
        other = HTTP if self.protocol == GRPC else GRPC
        if self.authority.rpartition(":")[2] == _DEFAULT_ENDPOINTS[other].rpartition(":")[2]:
            name = "gRPC" if other == GRPC else "HTTP"
            return f"is this the port of OTLP over {name}? Set {_PREFIX}PROTOCOL={other}"
        if self.is_secure and _NO_TLS in failure:
            return f"does the receiver use TLS? If not, write http://{self.authority}"
        if is_unknown and self.signal != TRACES:
            # Jaeger, for one, takes traces alone.
            signal = self.signal.upper()
            return (
                f"the receiver takes no {self.signal}. Set {_PREFIX}{signal}_ENDPOINT to one that "
                f"does, or OTEL_{signal}_EXPORTER=none"
            )
        return ""

    @property
    def authority(self) -> str:
        """The host and port."""
        return urlsplit(self.url).netloc


class Transport(Protocol):
    """A connection that delivers requests to a target."""

    def send(self, body: bytes, timeout_s: float) -> bytes:
        """Send one request of the target's signal, and return the response.

        For spans, they are an ExportTraceServiceRequest and an ExportTraceServiceResponse.

        Raises:
            SendError: The request was not delivered.
        """
        ...

    def reset(self) -> None:
        """Drop the connection without touching it: after a fork it belongs to the parent."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class SendError(Exception):
    """A request was not delivered.

    Attributes:
        retryable: True if the same request may succeed later.
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def names_endpoint(environ: Mapping[str, str], signal: str = TRACES) -> bool:
    """Return True if the environment names an endpoint for a signal."""
    return bool(_value(environ, signal, "ENDPOINT"))


def target_of(
    environ: Mapping[str, str], endpoint: str | None = None, signal: str = TRACES
) -> Target:
    """Return the target that the environment describes.

    Args:
        environ: The environment.
        endpoint: Replaces the environment's endpoint. It is an OTLP/gRPC endpoint unless the
            environment sets another protocol; ``host:port`` stands for ``http://host:port``.
        signal: TRACES, LOGS or METRICS.

    Raises:
        ConfigError: A variable has an invalid value.
    """
    protocol = _value(environ, signal, "PROTOCOL") or GRPC
    if protocol not in _DEFAULT_ENDPOINTS:
        msg = f"{_PREFIX}PROTOCOL={protocol!r} is unknown: expected {GRPC!r} or {HTTP!r}"
        raise ConfigError(msg)
    return _target(environ, _url(environ, endpoint, protocol, signal), protocol, signal)


def told_target(
    environ: Mapping[str, str], protocol: str, url: str, signal: str = TRACES
) -> Target:
    """Return the target that a service has announced, with the environment's other settings.

    Args:
        environ: The environment.
        protocol: "grpc" or "http/protobuf"; "" for "grpc".
        url: The receiver, as in flowspan.v1.OtlpTarget.
        signal: TRACES, LOGS or METRICS.

    Raises:
        ConfigError: A variable has an invalid value.
    """
    return _target(environ, url, protocol or GRPC, signal)


def _target(environ: Mapping[str, str], url: str, protocol: str, signal: str) -> Target:
    compression = _value(environ, signal, "COMPRESSION") or "none"
    if compression not in {"none", "gzip"}:
        msg = f"{_PREFIX}COMPRESSION={compression!r} is unknown: expected 'none' or 'gzip'"
        raise ConfigError(msg)
    url, user = _split_user(url)
    headers = _headers(_value(environ, signal, "HEADERS"))
    if user and not any(name == "authorization" for name, _ in headers):
        headers = (*headers, ("authorization", f"Basic {b64encode(user.encode()).decode()}"))
    return Target(
        url=url,
        protocol=protocol,
        signal=signal,
        headers=headers,
        timeout_s=_seconds(_value(environ, signal, "TIMEOUT")),
        gzip=compression == "gzip",
        certificate=_value(environ, signal, "CERTIFICATE") or None,
        client_certificate=_value(environ, signal, "CLIENT_CERTIFICATE") or None,
        client_key=_value(environ, signal, "CLIENT_KEY") or None,
    )


def _url(environ: Mapping[str, str], endpoint: str | None, protocol: str, signal: str) -> str:
    url = endpoint or _value(environ, signal, "ENDPOINT") or _DEFAULT_ENDPOINTS[protocol]
    if "://" not in url:
        # By the standard, a gRPC endpoint without a scheme uses TLS, unless …_INSECURE says
        # otherwise.
        insecure = endpoint is not None or _value(environ, signal, "INSECURE").lower() == "true"
        url = f"{'http' if insecure else 'https'}://{url}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        shown, _ = _split_user(url)
        msg = (
            f"the OTLP endpoint {shown!r} is invalid: expected, for example, "
            "'http://localhost:4317'"
        )
        raise ConfigError(msg)
    own = environ.get(f"{_PREFIX}{signal.upper()}_ENDPOINT", "").strip()
    if protocol == HTTP and (endpoint or not own):
        # A general endpoint is a base; one for the signal alone is used unchanged.
        return parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}").geturl()
    return url


def _split_user(url: str) -> tuple[str, str]:
    """Return a URL without user and password, which no message may show, and "user:password"."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    if not at:
        return url, ""
    return f"{scheme}{separator}{rest[len(user) + 1 :]}", unquote(user)


def _value(environ: Mapping[str, str], signal: str, name: str) -> str:
    for variable in (f"{_PREFIX}{signal.upper()}_{name}", f"{_PREFIX}{name}"):
        text = environ.get(variable, "").strip()
        if text:
            return text
    return ""


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Parse headers of the form ``name=value,name=value``, percent-encoded as in W3C Baggage."""
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
