"""The settings of requests to receivers over OTLP."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.domain.otlp_receivers import Signal

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1 << 20
"""The maximum size of an answer: a receiver that a client names may be anything."""
GZIP, DEFLATE = "gzip", "deflate"
_PREFIX = "OTEL_EXPORTER_OTLP_"
_AUTHORIZATION = "authorization"


class RequestSettings(NamedTuple):
    """The settings of the requests to a receiver.

    Attributes:
        headers: The headers or metadata; names in lower case.
        timeout_s: The maximum time of a request.
        compression: GZIP, DEFLATE, or empty for none.
        certificate: The file of the authorities to trust; empty for those of the system.
        client_certificate: The file of the service's certificate; empty for none.
        client_key: The file of its key; empty if it is in the same file.
    """

    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = TIMEOUT_S
    compression: str = ""
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""


def with_user_of(url: str, settings: RequestSettings) -> tuple[str, RequestSettings]:
    """Move user and password of a URL into a header, unless another header identifies the service.

    gRPC and Python's HTTP client do not take them as a part of an address.

    Returns:
        The URL without them, and the settings.
    """
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, settings
    if not any(name == _AUTHORIZATION for name, _ in settings.headers):
        encoded = b64encode(unquote(user).encode()).decode()
        header = (_AUTHORIZATION, f"Basic {encoded}")
        settings = settings._replace(headers=(*settings.headers, header))
    return parts._replace(netloc=place).geturl(), settings


def own_settings(signal: Signal, environ: Mapping[str, str]) -> RequestSettings:
    """Return the settings of the standard variables; malformed ones are left out."""

    def value(name: str) -> str:
        own = environ.get(f"{_PREFIX}{signal.upper()}_{name}", "").strip()
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
        timeout_s = TIMEOUT_S
    compression = value("COMPRESSION").lower()
    return RequestSettings(
        headers,
        timeout_s if 0 < timeout_s < float("inf") else TIMEOUT_S,
        compression if compression in (GZIP, DEFLATE) else "",
        value("CERTIFICATE"),
        value("CLIENT_CERTIFICATE"),
        value("CLIENT_KEY"),
    )
