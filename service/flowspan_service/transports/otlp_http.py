"""Connections to receivers: OTLP over HTTP."""

from __future__ import annotations

import gzip
import ssl
import urllib.request
import zlib
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from flowspan_service.transports.otlp_settings import DEFLATE, GZIP, MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from flowspan_service.transports.otlp_settings import RequestSettings

_CONTENT = {"content-type": "application/x-protobuf", "user-agent": "flowspan-service"}


class HttpConnection:
    """A new connection for each request: there are few and large ones.

    Args:
        url: The URL of the receiver.
        settings: The settings of the requests.
    """

    def __init__(self, url: str, settings: RequestSettings) -> None:
        self._url = url
        self._settings = settings
        self._opener: urllib.request.OpenerDirector | None = None

    def send(self, request: bytes) -> bytes:
        """Send a request, and return the response; empty if it is too long to be one.

        Raises:
            OSError: The receiver did not accept it, or a file of a certificate cannot be read.
            HTTPException: The answer is no HTTP.
            ValueError: A header is malformed.
        """
        if self._opener is None:
            self._opener = self._new_opener()
        settings = self._settings
        headers = {**_CONTENT, **dict(settings.headers)}
        if settings.compression:
            headers["content-encoding"] = settings.compression
            request = _compressed(request, settings.compression)
        # The scheme is http or https: Hello and the settings are checked.
        made = urllib.request.Request(self._url, data=request, headers=headers, method="POST")  # noqa: S310
        try:
            with self._opener.open(made, timeout=settings.timeout_s) as response:
                answer: bytes = response.read(MAX_ANSWER_BYTES + 1)
        except HTTPError as error:
            error.close()
            raise OSError(f"HTTP {error.code}") from None
        return answer if len(answer) <= MAX_ANSWER_BYTES else b""

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _new_opener(self) -> urllib.request.OpenerDirector:
        settings = self._settings
        if not self._url.startswith("https://"):
            return urllib.request.build_opener(_NoRedirects)
        context = ssl.create_default_context(cafile=settings.certificate or None)
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate, settings.client_key or None)
        return urllib.request.build_opener(
            _NoRedirects, urllib.request.HTTPSHandler(context=context)
        )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error.

    It could carry the headers elsewhere, or lead a request to a place inside the service's network
    that the client could not name.
    """

    def redirect_request(self, *_: Any) -> None:
        return None


def _compressed(request: bytes, compression: str) -> bytes:
    if compression == GZIP:
        return gzip.compress(request, compresslevel=1)
    return zlib.compress(request, level=1) if compression == DEFLATE else request
