"""OTLP over HTTP, in its binary form."""

from __future__ import annotations

import gzip
import ssl
from http.client import BadStatusLine, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

from flowspan.telemetry.endpoint import SendError

if TYPE_CHECKING:
    from flowspan.telemetry.endpoint import Target

_RETRYABLE = frozenset({429, 502, 503, 504})
"""The retryable codes of https://opentelemetry.io/docs/specs/otlp/#failures-1."""
_NOT_FOUND = 404
_MAX_ANSWER_BYTES = 1 << 20
"""The maximum size of an answer that is read: the receiver may be any server."""


class HttpTransport:
    """A new connection for each request: the exporter sends few and large requests."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._opener: OpenerDirector | None = None

    def send(self, body: bytes, timeout_s: float) -> bytes:
        """Send a request."""
        target = self._target
        headers = {"content-type": "application/x-protobuf", **dict(target.headers)}
        if target.gzip:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=1)
        # The scheme is http or https, as `target_of` ensures.
        request = Request(target.url, data=body, headers=headers, method="POST")  # noqa: S310
        try:
            with self._open(request, timeout_s) as response:
                data: bytes = response.read(_MAX_ANSWER_BYTES + 1)
                return data if len(data) <= _MAX_ANSWER_BYTES else b""
        except HTTPError as error:
            with error:
                msg = target.explain(
                    f"HTTP {error.code}: {error.reason}", is_unknown=error.code == _NOT_FOUND
                )
                raise SendError(msg, retryable=error.code in _RETRYABLE) from None
        except ssl.SSLError as error:
            raise SendError(target.explain(str(error)), retryable=False) from None
        except BadStatusLine as error:
            # A closed connection is one as well.
            is_closed = isinstance(error, ConnectionError)
            msg = str(error) if is_closed else "the answer is not HTTP"
            raise SendError(target.explain(msg), retryable=is_closed) from None
        except HTTPException as error:
            msg = target.explain(f"{type(error).__name__}: {error}")
            raise SendError(msg, retryable=True) from None
        except (URLError, OSError) as error:
            msg = target.explain(str(getattr(error, "reason", error)))
            raise SendError(msg, retryable=True) from None

    def reset(self) -> None:
        """Do nothing: no connection stays open."""

    def close(self) -> None:
        """Do nothing: no connection stays open."""

    def _open(self, request: Request, timeout_s: float) -> Any:
        if self._opener is None:
            self._opener = self._new_opener()
        return self._opener.open(request, timeout=timeout_s)

    def _new_opener(self) -> OpenerDirector:
        target = self._target
        if not target.is_secure:
            return build_opener(_NoRedirects)
        context = ssl.create_default_context(cafile=target.certificate)
        if target.client_certificate is not None:
            context.load_cert_chain(target.client_certificate, target.client_key)
        return build_opener(_NoRedirects, HTTPSHandler(context=context))


class _NoRedirects(HTTPRedirectHandler):
    """Treats a redirect as an error: it would carry the headers, such as a token, elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None
