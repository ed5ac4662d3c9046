"""A plain sender of OTLP requests over HTTP."""

from __future__ import annotations

import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

import structlog

log = structlog.get_logger("flowspan.spans")

_CONTENT = {"content-type": "application/x-protobuf"}


class HttpSender:
    """Sends requests over HTTP.

    Args:
        url: The URL of the receiver.
        timeout_s: The maximum time of a request.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def send(self, body: bytes) -> bool:
        """Send a request; return True if it was accepted. May block for that time."""
        request = urllib.request.Request(self._url, data=body, headers=_CONTENT, method="POST")  # noqa: S310 - the API has checked the scheme
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read()
        except HTTPError as error:
            error.close()
            log.debug("otlp_request_failed", status=error.code)
            return False
        except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError
            log.debug("otlp_request_failed", error=str(error))
            return False
        return True

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error: the receiver is the one that the client named."""

    def redirect_request(self, *_: Any) -> None:
        return None
