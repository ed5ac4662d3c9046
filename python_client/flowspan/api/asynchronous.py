"""The asyncio driver of operations. `flowspan.api.blocking` is its twin and has the details."""

from __future__ import annotations

import asyncio
import copy
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, assert_never

import grpc

from flowspan.api import time_limits
from flowspan.api.blocking import changed
from flowspan.api.connect import own_service, reach
from flowspan.api.errors import closed, translate
from flowspan.api.requests import Call, GetOptions, Give, Open, Options, Receive, Sleep
from flowspan.clock.aio import sleep as clock_sleep
from flowspan.connection.channel import access_metadata, open_aio_channel
from flowspan.connection.read_your_writes import pending_wait
from flowspan.connection.run_context import call_metadata
from flowspan.exceptions import FlowspanError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import TracebackType
    from typing import Self

    from flowspan.api.requests import Answer, Items, Step
    from flowspan.connection.address import Address

T = TypeVar("T")


class AsyncPages(Generic[T]):
    """The items of a list: `async for` fetches them page by page, `await` fetches them all."""

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items

    def __aiter__(self) -> AsyncPages[T]:
        return self

    async def __anext__(self) -> T:
        return await anext(self._items)

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._all().__await__()

    async def aclose(self) -> None:
        """Stop fetching pages."""
        await self._items.aclose()

    async def _all(self) -> list[T]:
        return [item async for item in self._items]


class AsyncDriver:
    """Driver that performs operations on the event loop in which it is first used.

    The connection is opened by `open`, by `async with`, or by the first call.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout_s: float | None = 30.0,
        reconnect_s: float = 60.0,
        start_local: bool = True,
    ) -> None:
        """Create a driver; the arguments are those of `BlockingDriver`."""
        self._connection = _Connection(address, start_local=start_local)
        self._options = Options(timeout_s, reconnect_s)

    @property
    def address(self) -> str:
        """The address of the service; empty until it has been resolved."""
        return self._connection.address

    def with_options(
        self, *, timeout_s: float | None = None, reconnect_s: float | None = None
    ) -> Self:
        """Return a copy of this client with other timeouts; see `BlockingDriver.with_options`."""
        other = copy.copy(self)
        other._options = changed(self._options, timeout_s, reconnect_s)  # noqa: SLF001 - a copy
        return other

    async def open(self) -> Self:
        """Connect, if not connected yet; see `BlockingDriver.open`."""
        await self._connection.channel()
        return self

    async def close(self) -> None:
        """Close the connection. Open streams end with an error."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def answer(self, steps: Answer[T]) -> T:
        """Perform an operation that has one answer, and return the answer."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    step = await self._advance(steps, step)
            except _Ended as end:
                value: T = end.value
                return value

    async def items(self, steps: Items[T]) -> AsyncGenerator[T, None]:
        """Perform an operation with many items, and yield them on demand."""
        with closing(steps):
            step: Step | Give[T] | None = next(steps, None)
            while step is not None:
                if isinstance(step, Give):
                    for item in step.items:
                        yield item
                    step = next(steps, None)
                else:
                    try:
                        step = await self._advance(steps, step)
                    except _Ended:
                        return

    def pages(self, steps: Items[T]) -> AsyncPages[T]:
        """Perform an operation that lists items, and return them on demand."""
        return AsyncPages(self.items(steps))

    async def _advance(self, steps: Any, step: Any) -> Any:
        """Perform a step, send its outcome to the operation, and return the next step."""
        try:
            try:
                outcome = await self._do(step)
            except FlowspanError as error:
                return steps.throw(error)
            return steps.send(outcome)
        except StopIteration as stop:
            # A coroutine must not raise StopIteration.
            raise _Ended(stop.value) from None

    async def _do(self, step: Step) -> Any:
        try:
            match step:
                case Call():
                    channel = await self._connection.channel()
                    await self._await_own_reports(self._options.timeout_s)
                    call = channel.unary_unary(
                        step.path, type(step.request).SerializeToString, step.response.FromString
                    )
                    return await time_limits.invoke_async(
                        call,
                        step.request,
                        self._options.timeout_s,
                        self.address,
                        self._connection.metadata(),
                    )
                case Open():
                    channel = await self._connection.channel()
                    await self._await_own_reports(step.timeout_s)
                    opening = channel.unary_stream(
                        step.path, type(step.request).SerializeToString, step.response.FromString
                    )
                    return time_limits.begin_async(
                        opening,
                        step.request,
                        step.timeout_s,
                        access_metadata(self._connection.target),
                    )
                case Receive():
                    stream: Any = step.stream
                    message = await time_limits.read_async(stream, self.address)
                    return None if message is grpc.aio.EOF else message
                case Sleep():
                    return await clock_sleep(step.seconds)
                case GetOptions():
                    return self._options
                case _:
                    assert_never(step)
        except grpc.RpcError as error:
            raise translate(error, address=self.address, target=self._connection.target) from None

    async def _await_own_reports(self, timeout_s: float | None) -> None:
        own = self._connection.own_service
        wait = pending_wait() if own is not None else None
        if own is not None and wait is not None:
            await asyncio.to_thread(wait, own, timeout_s)


class _Ended(Exception):  # noqa: N818 - a signal, not an error
    """Signals that an operation has returned; carries its value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Connection:
    """A channel that is opened on first use; the twin of the one in `flowspan.api.blocking`."""

    def __init__(self, address: str | None, *, start_local: bool) -> None:
        self.address = address or ""
        self.target: Address | None = None
        self.own_service: Address | None = None
        self._wanted = address
        self._start_local = start_local
        self._channel: grpc.aio.Channel | None = None
        self._is_closed = False
        self._lock = asyncio.Lock()

    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        of_run = None if self.own_service is None else call_metadata()
        return (*(of_run or ()), *access_metadata(self.target)) or None

    async def channel(self) -> grpc.aio.Channel:
        async with self._lock:
            if self._is_closed:
                raise closed()
            if self._channel is None:
                # Starting the local service takes a moment and must not block the event loop.
                target = await asyncio.to_thread(reach, self._wanted, start_local=self._start_local)
                self.address, self.target = target.text, target
                self.own_service = await asyncio.to_thread(own_service, self._wanted, target)
                self._channel = open_aio_channel(target)
            return self._channel

    async def close(self) -> None:
        async with self._lock:
            self._is_closed = True
            channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()
