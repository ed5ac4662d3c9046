"""gRPC handlers, built from the table of methods.

An interceptor could map the errors as well, but gRPC consults interceptors on each call, which took
a tenth of the time of a small call.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import grpc

from flowspan_service.api.calls.call import Call
from flowspan_service.transports.grpc.statuses import end_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from flowspan_service.api.calls.method import Method
    from flowspan_service.api.dispatcher import Dispatcher

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def service_handler(
    name: str, methods: Iterable[Method], dispatcher: Dispatcher
) -> grpc.GenericRpcHandler:
    """Return the handler of a service.

    Args:
        name: The full name of the service.
        methods: Its methods.
        dispatcher: Dispatches their calls. Requests and responses pass gRPC as bytes.
    """
    handlers = {method.name: _method_handler(method, dispatcher) for method in methods}
    return grpc.method_handlers_generic_handler(name, handlers)


def _method_handler(method: Method, dispatcher: Dispatcher) -> grpc.RpcMethodHandler[Any, Any]:
    if method.takes_frames:
        return grpc.stream_stream_rpc_method_handler(_frames_handler(method, dispatcher))
    if method.is_stream:
        return grpc.unary_stream_rpc_method_handler(_stream_handler(method, dispatcher))
    return grpc.unary_unary_rpc_method_handler(_unary_handler(method, dispatcher))


def _unary_handler(method: Method, dispatcher: Dispatcher) -> Any:
    async def call(request: bytes, context: Context) -> bytes:
        try:
            return await dispatcher.unary(method, request, _call_of(context))
        except Exception as raised:  # noqa: BLE001 - every error becomes a status
            error = raised
        try:
            await end_with(method.path, error, context)
        finally:
            del request, context, error  # see end_with

    return call


def _stream_handler(method: Method, dispatcher: Dispatcher) -> Any:
    async def call(request: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            await _begin_stream(context)
            async for response in dispatcher.stream(method, request, _call_of(context)):
                yield response
            return
        except Exception as raised:  # noqa: BLE001 - every error becomes a status
            error = raised
        try:
            await end_with(method.path, error, context)
        finally:
            del request, context, error  # see end_with

    return call


def _frames_handler(method: Method, dispatcher: Dispatcher) -> Any:
    # An async generator, not a coroutine that writes to the context: gRPC accepts both, but
    # interceptors, such as OpenTelemetry's instrumentation, iterate every method with a stream of
    # responses.
    async def call(_: Any, context: Context) -> AsyncIterator[bytes]:
        frames = Frames(context)
        try:
            stream = dispatcher.stream(method, frames, _call_of(context))
            async with aclosing(stream) as responses:
                async for response in responses:
                    yield response
            return
        except Exception as raised:  # noqa: BLE001 - every error becomes a status
            error = raised
        try:
            await end_with(method.path, error, context)
        finally:
            del _, context, error, frames  # see end_with

    return call


async def _begin_stream(context: Context) -> None:
    """Send the headers of a stream at once.

    gRPC would send them with the first message, which may come much later. Until then, a client
    cannot distinguish a stream with nothing to tell from a service that does not answer. A stream
    of frames needs no such headers: its first frame is answered at once.
    """
    await context.send_initial_metadata(())


class Frames:
    """The frames of a stream, as they arrive.

    gRPC's own iterator, once begun, keeps itself and the call until it is read to its end; but the
    frames after a Goodbye or a bad frame are never read (see `end_with`).
    """

    def __init__(self, context: Context) -> None:
        self._read = context.read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        frame = await self._read()
        if frame is grpc.aio.EOF:
            raise StopAsyncIteration
        return bytes(frame)


def _call_of(context: Context) -> Call:
    """Return the facts of a call; without the context, which would keep it open."""
    return Call(
        metadata=dict(context.invocation_metadata() or ()),
        peer=context.peer(),
        timeout_s=context.time_remaining(),
    )
