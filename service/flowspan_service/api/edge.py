"""What every call goes through: parse, check, call, and map errors, once for all methods."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import grpc
import structlog

from flowspan_service.api import checks
from flowspan_service.api.errors import code_of, details_of, shorten
from flowspan_service.api.parsing import check_request_size, parse, request_type
from flowspan_service.domain.errors import OverloadedError, ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from flowspan_service.api.backend import Backend

CallContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

log = structlog.get_logger("flowspan.rpc")


class Edge:
    """Adds services to a gRPC server, with their methods wrapped.

    It stands in for the server where generated code adds a service. An interceptor could do the
    same, but gRPC asks it at each call, which took a tenth of a small one.

    Requests are parsed here and not by gRPC, so that bytes which are no message are answered like
    any other bad request, and so that limits hold before anything is made of the bytes. The frames
    of a stream reach its method unparsed.

    Args:
        server: The server.
        backend: Its activity is told of each call.
    """

    def __init__(self, server: grpc.aio.Server, backend: Backend) -> None:
        self._server = server
        self._activity = backend.activity
        self._parsing = backend.parsing
        self._files = backend.files
        self._steady_us = backend.clock.steady_us
        # Asked once: structlog takes as long to find out as the service to read a run.
        self._logs_calls = logging.getLogger("flowspan.rpc").isEnabledFor(logging.DEBUG)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: generated code calls `add_registered_method_handlers`, too."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Handler]) -> None:
        """Adds a service.

        Args:
            service: Its full name.
            methods: Its methods by their names.
        """
        wrapped = {name: self._wrap(f"/{service}/{name}", methods[name]) for name in methods}
        handler = grpc.method_handlers_generic_handler(service, wrapped)
        self._server.add_generic_rpc_handlers((handler,))

    def _wrap(self, name: str, handler: Handler) -> Handler:
        method: Any  # one of the four kinds, as the flags say
        if handler.request_streaming:
            method = handler.stream_stream
            return grpc.stream_stream_rpc_method_handler(
                self._wrap_call(name, method, None),
                response_serializer=handler.response_serializer,
            )
        if handler.response_streaming:
            method = handler.unary_stream
            return grpc.unary_stream_rpc_method_handler(
                self._wrap_stream(name, method, request_type(name)),
                response_serializer=_serializer(handler.response_serializer),
            )
        method = handler.unary_unary
        return grpc.unary_unary_rpc_method_handler(
            self._wrap_call(name, method, request_type(name)),
            response_serializer=_serializer(handler.response_serializer),
        )

    def _wrap_call(
        self,
        name: str,
        method: Callable[[Any, Any], Awaitable[Any]],
        message: type[Message] | None,
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(request: Any, context: CallContext) -> Any:
            ended = self._began(name)
            try:
                if message is None:
                    self._count_stream()
                    request = _Frames(context)
                else:
                    request = await self._read(name, message, request)
                return await method(request, context)
            except Exception as raised:  # noqa: BLE001 - the edge answers for all of them
                error = raised
            finally:
                ended()
            try:
                await _answer(name, error, context)
            finally:
                del request, context, error  # see _answer

        return call

    def _wrap_stream(
        self,
        name: str,
        method: Callable[[Any, Any], AsyncIterator[Any]],
        message: type[Message],
    ) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def call(request: Any, context: CallContext) -> AsyncIterator[Any]:
            ended = self._began(name)
            try:
                self._count_stream()
                request = await self._read(name, message, request)
                async for response in method(request, context):
                    yield response
                return
            except Exception as raised:  # noqa: BLE001 - the edge answers for all of them
                error = raised
            finally:
                ended()
            try:
                await _answer(name, error, context)
            finally:
                del request, context, error  # see _answer

        return call

    async def _read(self, name: str, message: type[Message], data: bytes) -> Message:
        """The request of a call, checked."""
        check_request_size(name, data)
        return await self._parsing.run(len(data), partial(_parse, message, data))

    def _count_stream(self) -> None:
        """Refuse a stream where its connection is one of the last that could be opened.

        Raises:
            OverloadedError: It is.
        """
        files = self._files
        if not files.begin():
            raise OverloadedError(
                f"The service has {files.used} files and connections open, of {files.limit} that "
                "it may, and takes no more streams.",
                advice="Try again later. Its operator can raise the limit of open files.",
            )

    def _began(self, name: str) -> Callable[[], None]:
        started = time.perf_counter()
        activity = self._activity
        activity.last_call_us = self._steady_us()
        activity.open_calls += 1

        def ended() -> None:
            activity.last_call_us = self._steady_us()
            activity.open_calls -= 1
            if self._logs_calls:
                log.debug("call", method=name, ms=round((time.perf_counter() - started) * 1000, 2))

        return ended


class _Frames:
    """The frames of a stream, as they come.

    gRPC's own iterator, once begun, keeps itself and the call until it is read to its end; but what
    follows a Goodbye or a bad frame is never read. See `_answer`.
    """

    def __init__(self, context: CallContext) -> None:
        self._read = context.read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        frame = await self._read()
        if frame is grpc.aio.EOF:
            raise StopAsyncIteration
        return bytes(frame)


def _serializer(serialize: Any) -> Callable[[Any], bytes]:
    """Let methods answer with a message that they have encoded themselves."""
    return lambda response: response if type(response) is bytes else serialize(response)


def _parse(message: type[Message], data: bytes) -> Message:
    request = parse(message, data)
    checks.check(request)
    return request


async def _answer(name: str, error: Exception, context: CallContext) -> None:
    """End the call with the status of the error. Never returns normally.

    gRPC keeps the exception that ends a call with the call, and an exception keeps the frames that
    it went through. If these named the call, it would stay open until the garbage is collected, and
    after 256 such calls a connection could make no more. So they let go of it, and no exception is
    raised while another one is handled.
    """
    if not isinstance(error, ServiceError):
        error = _unexpected(name, error)
    raised: BaseException | None = error
    while raised is not None:
        traceback.clear_frames(raised.__traceback__)
        raised = raised.__cause__ or raised.__context__
    ending = context.abort(code_of(error), shorten(str(error)), trailing_metadata=details_of(error))
    del context, error
    await ending


def _unexpected(name: str, error: Exception) -> ServiceError:
    """Logs a defect; the caller learns only where to look for it."""
    error_id = uuid.uuid4().hex[:12]
    log.error("unexpected error", method=name, error_id=error_id, exc_info=error)
    return ServiceError(
        f"Unexpected error; the service's log has it as {error_id}.",
        advice="Report it with what the log says.",
        error_id=error_id,
    )
