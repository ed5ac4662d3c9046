"""The steps of every call, whichever transport carries it.

A transport hands over the bytes of a request and a Call, and gets the bytes of the answers or a
ServiceError: authorize the caller (`api.calls.authorization`), check the size, parse, check the
fields, call the handler, encode. The errors of handlers are mapped here, too (see
`api.calls.errors`).
"""

from __future__ import annotations

import logging
import time
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from flowspan_service.api.calls.authorization import check_size
from flowspan_service.api.calls.errors import as_service_error, code_of
from flowspan_service.api.calls.parsing import check_request_size, parse
from flowspan_service.domain.errors import OverloadedError
from flowspan_service.domain.tokens import is_audited

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from google.protobuf.message import Message

    from flowspan_service.api.backend import Backend, CallListener
    from flowspan_service.api.calls.call import Call
    from flowspan_service.api.calls.method import Method

log = structlog.get_logger("flowspan.rpc")

_OK = "OK"
_CANCELLED = "CANCELLED"
"""The code of a call that its caller ended, or whose deadline passed."""


class Dispatcher:
    """Dispatches calls to the handlers of methods.

    Requests are parsed here and not by the transport: bytes that are not a valid message are
        answered like any other bad request, and the limits apply before the bytes are decoded.

    Args:
        backend: The store and what belongs to it; counts the calls.
    """

    def __init__(self, backend: Backend) -> None:
        self._activity = backend.activity
        self._parsing = backend.parsing
        self._files = backend.files
        self._access = backend.access
        self._on_call = backend.on_call
        self._steady_us = backend.clock.monotonic_us
        # Read once: structlog needs as long to find the level as the service to read a run.
        self._logs_calls = logging.getLogger("flowspan.rpc").isEnabledFor(logging.DEBUG)

    async def unary(self, method: Method, data: bytes, call: Call) -> bytes:
        """Return the answer of a call that has a single one.

        Args:
            method: The method.
            data: The request.
            call: The call.

        Raises:
            ServiceError: The call failed.
        """
        began, code = self._begin(), _CANCELLED
        request = None
        try:
            self._access.admit(method, call)
            request = await self._read(method, data, call)
            answer = _encoded(await method.handler(request, call))
            code = _OK
            return answer
        except Exception as error:  # noqa: BLE001 - each error of a handler gets an answer
            failure = as_service_error(method.path, error)
            code = code_of(failure).name
        finally:
            self._end(method, call, began, code)
            if request is not None and is_audited(method.scope):
                self._access.audit.administered(method.path, call, request, code)
        raise failure

    async def stream(
        self, method: Method, request: bytes | AsyncIterator[bytes], call: Call
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answers of a call with any number of them.

        Args:
            method: The method.
            request: The request; for a method that takes frames, the frames as they arrive,
                which the handler parses.
            call: The call.

        Raises:
            OverloadedError: Too many files and connections are open.
            ServiceError: The call failed.
        """
        began, code = self._begin(), _CANCELLED
        try:
            self._access.admit(method, call)
            self._count_stream()
            async with aclosing(await self._begin_stream(method, request, call)) as responses:
                async for response in responses:
                    yield _encoded(response)
            code = _OK
            return
        except Exception as error:  # noqa: BLE001 - each error of a handler gets an answer
            failure = as_service_error(method.path, error)
            code = code_of(failure).name
        finally:
            self._end(method, call, began, code)
        raise failure

    async def _begin_stream(
        self, method: Method, request: bytes | AsyncIterator[bytes], call: Call
    ) -> AsyncGenerator[Any, None]:
        """Return the responses of a stream, which also ends with the access token of the call."""
        access, token = self._access, call.principal.token
        if isinstance(request, bytes):
            handled = method.handler(await self._read(method, request, call), call)
        else:
            if token is not None and token.max_request_bytes:
                request = access.bounded(request, token)
            handled = method.handler(request, call)
        responses: AsyncGenerator[Any, None] = handled
        return responses if token is None else access.until_ended(responses, token)

    async def _read(self, method: Method, data: bytes, call: Call) -> Message:
        check_request_size(method.name, data, method.max_request_bytes)
        token = call.principal.token
        if token is not None:
            check_size(method.name, data, token)
        return await self._parsing.run(len(data), partial(_parse, method, data))

    def _count_stream(self) -> None:
        """Refuse a stream if its connection is one of the last that could be opened.

        Raises:
            OverloadedError: Too many files and connections are open.
        """
        files = self._files
        if not files.begin():
            raise OverloadedError(
                f"The service has {files.used} of at most {files.limit} files and "
                "connections open, and accepts no more streams.",
                advice="Try again later. Its operator can raise the limit of open files.",
            )

    def _begin(self) -> float:
        activity = self._activity
        activity.last_call_us = self._steady_us()
        activity.open_calls += 1
        return time.perf_counter()

    def _end(self, method: Method, call: Call, began: float, code: str) -> None:
        took_s = time.perf_counter() - began
        activity = self._activity
        activity.last_call_us = self._steady_us()
        activity.open_calls -= 1
        activity.calls.count(method.path, code, took_s)
        if self._on_call is not None:
            self._tell(self._on_call, method.path, call, code, took_s)
        if self._logs_calls:
            log.debug("call", method=method.path, code=code, ms=round(took_s * 1000, 2))

    @staticmethod
    def _tell(listener: CallListener, path: str, call: Call, code: str, took_s: float) -> None:
        ended_ns = time.time_ns()
        traceparent = call.metadata.get("traceparent", "")
        listener(
            path=path,
            code=code,
            traceparent=traceparent if isinstance(traceparent, str) else "",
            began_ns=ended_ns - round(took_s * 1e9),
            ended_ns=ended_ns,
        )


def _parse(method: Method, data: bytes) -> Message:
    request = parse(method.request, data)
    method.check(request)
    return request


def _encoded(response: Any) -> bytes:
    """Return the bytes of a response; a handler may answer with a message that it has encoded."""
    if type(response) is bytes:
        return response
    data: bytes = response.SerializeToString()
    return data
