"""The ASGI application: finds the method or page of a request, and answers it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from flowspan_service.api import limits
from flowspan_service.api.calls.errors import as_service_error
from flowspan_service.api.dispatcher import Dispatcher
from flowspan_service.api.services import services
from flowspan_service.domain.errors import ServiceError
from flowspan_service.domain.tokens import Scope
from flowspan_service.transports.http import unary
from flowspan_service.transports.http.asgi import Answer, Request
from flowspan_service.transports.http.envelopes import (
    STREAM_TYPES,
    WEB_TYPES,
    refuse_in_envelope,
    serve_envelopes,
)
from flowspan_service.transports.http.errors import (
    NOT_FOUND,
    UNIMPLEMENTED,
    DisconnectedError,
    Failure,
    RefusedError,
    failure_of,
    refusal,
)
from flowspan_service.transports.http.guards import Guards
from flowspan_service.transports.http.pages import METRICS, Pages
from flowspan_service.transports.http.unary import serve_unary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from flowspan_service.api.backend import Backend
    from flowspan_service.api.calls.method import Method
    from flowspan_service.transports.http.asgi import Receive, Send

log = structlog.get_logger("flowspan.rpc")

_GRPC = "application/grpc"
_NO_FRAMES = (
    "This method takes a stream of frames, for which HTTP/1.1 has no room. Call it over gRPC, or "
    "use ReportBatch and WatchCommands."
)


class App:
    """The ASGI application.

    Args:
        backend: The backend of the servicers.
        origins: The origins whose pages may call the service.
        hosts: Further host names of the service on loopback.
    """

    def __init__(
        self, backend: Backend, *, origins: Iterable[str] = (), hosts: Iterable[str] = ()
    ) -> None:
        self._backend = backend
        self._dispatcher = Dispatcher(backend)
        self._methods = {
            method.path: method for methods in services(backend).values() for method in methods
        }
        self._pages = Pages(backend).by_path
        self._guards = Guards(origins, hosts)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        answer = Answer(send, self._guards.headers(request), is_head=request.method == "HEAD")
        try:
            await self._answer(request, answer)
        except (DisconnectedError, OSError):
            pass  # the client is gone, and so is whoever wanted an answer
        except asyncio.CancelledError:
            log.info("a call over HTTP was cut off by the stop", path=request.path)

    async def _answer(self, request: Request, answer: Answer) -> None:
        try:
            self._guards.check(request)
            await self._route(request, answer)
        except RefusedError as error:
            await self._fail(request, answer, error.failure)
        except ServiceError as error:
            await self._fail(request, answer, failure_of(error))
        except (DisconnectedError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - each error gets an answer
            failure = failure_of(as_service_error(request.path, error))
            await self._fail(request, answer, failure)

    async def _fail(self, request: Request, answer: Answer, failure: Failure) -> None:
        if answer.has_begun:
            raise DisconnectedError  # nothing can follow a part of an answer
        if request.has_unread_body:
            await answer.fail_before_body(failure, request.receive)
        else:
            await answer.fail(failure)

    async def _route(self, request: Request, answer: Answer) -> None:
        if request.method == "OPTIONS":
            await self._preflight(request, answer)
            return
        method = self._methods.get(request.path)
        if method is not None:
            await self._call(method, request, answer)
            return
        page = self._pages.get(request.path)
        if page is None:
            raise _not_found(request)
        if request.method not in ("GET", "HEAD"):
            raise _not_allowed("GET, HEAD")
        if request.path == METRICS and self._backend.access.needs_tokens:
            self._backend.access.check(METRICS, Scope.READ, unary.call_of(request, None))
        await page(answer, request)

    async def _call(self, method: Method, request: Request, answer: Answer) -> None:
        backend, dispatcher, kind = self._backend, self._dispatcher, request.media_type
        if request.method == "GET" and _can_be_read(method):
            await serve_unary(backend, dispatcher, method, request, answer)
            return
        if request.method != "POST":
            raise _not_allowed("GET, POST" if _can_be_read(method) else "POST")
        if method.takes_frames:
            failure = Failure(UNIMPLEMENTED, _NO_FRAMES)
            if kind not in STREAM_TYPES and kind not in WEB_TYPES:
                raise RefusedError(failure)
            await refuse_in_envelope(request, answer, failure)
        elif kind in WEB_TYPES or (method.is_stream and kind in STREAM_TYPES):
            await serve_envelopes(backend, dispatcher, method, request, answer)
        elif kind in unary.TYPES and not method.is_stream:
            await serve_unary(backend, dispatcher, method, request, answer)
        else:
            raise _wrong_type(method, kind)

    async def _preflight(self, request: Request, answer: Answer) -> None:
        headers = self._guards.preflight(request)
        if headers is None:
            raise _not_allowed("GET, HEAD, POST")
        await answer.begin(HTTPStatus.NO_CONTENT, headers)
        await answer.write(b"", more=False)


def _can_be_read(method: Method) -> bool:
    return method.has_no_side_effects and not method.is_stream


def _not_found(request: Request) -> RefusedError:
    is_method = request.path.startswith("/flowspan.")
    message = (
        "This service has no such method."
        if is_method
        else "There is no such page. / says what there is."
    )
    return refusal(HTTPStatus.NOT_FOUND, message, code=UNIMPLEMENTED if is_method else NOT_FOUND)


def _not_allowed(allowed: str) -> RefusedError:
    return refusal(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"This method of HTTP is not allowed here. Use {allowed}.",
        code=UNIMPLEMENTED,
        allow=allowed,
    )


def _wrong_type(method: Method, kind: str) -> RefusedError:
    types = [*(STREAM_TYPES if method.is_stream else unary.TYPES), *WEB_TYPES]
    said = f"is {kind[: limits.SHORT_NAME]!r}" if kind else "is missing"
    message = (
        f"The content type of the request {said}. Send JSON with the header 'content-type: "
        f"{types[0]}'. Other types are {', '.join(types[1:])}."
    )
    if kind.startswith(_GRPC) and kind not in WEB_TYPES:
        message = f"This is the port for HTTP. Call gRPC on the service's other port. {message}"
    elif method.is_stream and kind in unary.TYPES:
        message = (
            f"{method.name} answers with a stream, in which messages have envelopes. {message}"
        )
    return refusal(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        message,
        code=UNIMPLEMENTED,
        accept_post=", ".join(types),
    )
