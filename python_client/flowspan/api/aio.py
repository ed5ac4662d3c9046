"""The client's face for asyncio: each operation as a coroutine or an asynchronous iterator."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import grpc

from flowspan.api import operations
from flowspan.api.errors import translate
from flowspan.api.reconnect import Reconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")


def _unary(
    operation: Callable[P, operations.Unary[T]],
) -> Callable[Concatenate[AsyncServiceClient, P], Coroutine[Any, Any, T]]:
    @functools.wraps(operation)
    async def method(self: AsyncServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call(operation(*args, **kwargs))

    return method


def _paged(
    operation: Callable[P, operations.Paged[T]],
) -> Callable[Concatenate[AsyncServiceClient, P], AsyncIterator[T]]:
    @functools.wraps(operation)
    def method(self: AsyncServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._pages(operation(*args, **kwargs))

    return method


def _stream(
    operation: Callable[P, operations.Stream[T]],
) -> Callable[Concatenate[AsyncServiceClient, P], AsyncIterator[T]]:
    @functools.wraps(operation)
    def method(self: AsyncServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._follow(operation(*args, **kwargs))

    return method


class AsyncServiceClient:
    """The service, for asyncio: `ServiceClient` with `await` and `async for`.

    To be made and used within one event loop. Use it as an asynchronous context manager, or await
    `close`.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        address: str,
        timeout_s: float = 30.0,
        reconnect_s: float = 60.0,
    ) -> None:
        """Wraps a channel; the arguments are those of `ServiceClient`."""
        self.address = address
        self._channel = channel
        self._timeout_s = timeout_s
        self._reconnect_s = reconnect_s

    get_flow_run = _unary(operations.get_flow_run)
    list_flow_runs = _paged(operations.list_flow_runs)
    count_flow_runs = _unary(operations.count_flow_runs)
    delete_flow_run = _unary(operations.delete_flow_run)
    set_flow_run_state = _unary(operations.set_flow_run_state)
    flow_run_history = _unary(operations.flow_run_history)

    get_task_run = _unary(operations.get_task_run)
    list_task_runs = _paged(operations.list_task_runs)
    count_task_runs = _unary(operations.count_task_runs)
    set_task_run_state = _unary(operations.set_task_run_state)
    task_run_history = _unary(operations.task_run_history)

    get_flow = _unary(operations.get_flow)
    list_flows = _paged(operations.list_flows)

    list_logs = _paged(operations.list_logs)
    tail_logs = _stream(operations.tail_logs)
    watch = _stream(operations.watch)
    get_info = _unary(operations.get_info)

    async def close(self) -> None:
        """Closes the channel; streams that are open end with an error."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncServiceClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _call(self, call: operations.Unary[T]) -> T:
        invoke = self._channel.unary_unary(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        try:
            answer = await invoke(call.request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise translate(error, address=self.address) from None
        return call.decode(answer)

    async def _pages(self, paged: operations.Paged[T]) -> AsyncIterator[T]:
        token = ""
        while True:
            items, token = await self._call(paged.page(token))
            for item in items:
                yield item
            if not token:
                break
        for item in paged.finish():
            yield item

    async def _follow(self, stream: operations.Stream[T]) -> AsyncIterator[T]:
        """Carries out a stream, again and again until it ends by itself or fails for good."""
        reconnect = Reconnect(self._reconnect_s)
        while True:
            request = stream.request()
            call = self._channel.unary_stream(
                stream.method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=stream.response.FromString,
            )(request)
            try:
                async for message in call:
                    reconnect.succeeded()
                    for item in stream.receive(message):
                        yield item
                for item in stream.finish():
                    yield item
                return
            except grpc.RpcError as error:
                failure = translate(error, address=self.address)
                pause_s = reconnect.failed(failure, now_s=time.monotonic())
                if pause_s is None:
                    raise failure from None
                await asyncio.sleep(pause_s)
            finally:
                call.cancel()
