"""The client's face for plain code: each operation as a blocking method."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import grpc

from flowspan.api import operations
from flowspan.api.errors import translate
from flowspan.api.reconnect import Reconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


P = ParamSpec("P")
T = TypeVar("T")


def _unary(
    operation: Callable[P, operations.Unary[T]],
) -> Callable[Concatenate[ServiceClient, P], T]:
    @functools.wraps(operation)
    def method(self: ServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._call(operation(*args, **kwargs))

    return method


def _paged(
    operation: Callable[P, operations.Paged[T]],
) -> Callable[Concatenate[ServiceClient, P], Iterator[T]]:
    @functools.wraps(operation)
    def method(self: ServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._pages(operation(*args, **kwargs))

    return method


def _stream(
    operation: Callable[P, operations.Stream[T]],
) -> Callable[Concatenate[ServiceClient, P], Iterator[T]]:
    @functools.wraps(operation)
    def method(self: ServiceClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._follow(operation(*args, **kwargs))

    return method


class ServiceClient:
    """The service, as blocking methods. Safe to share between threads.

    The methods are those of `flowspan.api.operations`, documented there. They raise ApiError where
    the service refuses a call and ServiceUnavailableError where it is not reached.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        address: str,
        timeout_s: float = 30.0,
        reconnect_s: float = 60.0,
    ) -> None:
        """Wraps a channel, and closes it with `close`.

        Args:
            channel: A channel to the service.
            address: Where it leads, for messages.
            timeout_s: How long a call with one answer may take.
            reconnect_s: How long a stream tries to go on after its connection broke.
        """
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

    def close(self) -> None:
        """Closes the channel; streams that are open end with an error."""
        self._channel.close()

    def __enter__(self) -> ServiceClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, call: operations.Unary[T]) -> T:
        invoke = self._channel.unary_unary(
            call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )
        try:
            answer = invoke(call.request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise translate(error, address=self.address) from None
        return call.decode(answer)

    def _pages(self, paged: operations.Paged[T]) -> Iterator[T]:
        token = ""
        while True:
            items, token = self._call(paged.page(token))
            yield from items
            if not token:
                break
        yield from paged.finish()

    def _follow(self, stream: operations.Stream[T]) -> Iterator[T]:
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
                for message in call:
                    reconnect.succeeded()
                    yield from stream.receive(message)
                yield from stream.finish()
                return
            except grpc.RpcError as error:
                failure = translate(error, address=self.address)
                pause_s = reconnect.failed(failure, now_s=time.monotonic())
                if pause_s is None:
                    raise failure from None
                time.sleep(pause_s)
            finally:
                call.cancel()
