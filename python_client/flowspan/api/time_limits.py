"""Timeouts of calls that hold even if a test has frozen or moved the program's clock.

grpc derives deadlines from timeouts with `time.time`. With a frozen or shifted clock they would
pass immediately or never. In that case a timer of the real clock cancels the call instead.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc

from flowspan import clock
from flowspan.api.errors import late_answer
from flowspan.clock.aio import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

    Metadata = tuple[tuple[str, str], ...] | None


def invoke(
    call: Any, request: Any, timeout_s: float | None, address: str, metadata: Metadata = None
) -> Any:
    """Make a call that has one answer.

    Raises:
        ServiceUnavailableError: The call timed out while the clock is patched. Otherwise grpc
            raises its own error.
    """
    if timeout_s is None or not clock.is_patched():
        return call(request, timeout=timeout_s, metadata=metadata)
    future = call.future(request, metadata=metadata)
    timer = clock.call_later(timeout_s, future.cancel)
    try:
        return future.result()
    except grpc.FutureCancelledError:
        raise late_answer(address) from None
    finally:
        timer.cancel()


def begin(call: Any, request: Any, timeout_s: float | None, metadata: Metadata = None) -> Any:
    """Open a stream of answers. It has `cancel`, as gRPC's own streams do."""
    if timeout_s is None or not clock.is_patched():
        return _cancellable(call(request, timeout=timeout_s, metadata=metadata))
    stream = _cancellable(call(request, metadata=metadata))
    timer = clock.call_later(timeout_s, stream.cancel)
    stream.add_callback(timer.cancel)
    return stream


class _Generated:
    """A stream that an interceptor has turned into a generator.

    OpenTelemetry's instrumentation of gRPC clients does so. The end of the generator ends the call.
    """

    def __init__(self, generator: Generator[Any, None, None]) -> None:
        self._generator = generator
        self._at_end: Callable[[], object] = lambda: None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._generator)
        except BaseException:
            self._at_end()
            raise

    def cancel(self) -> None:
        """End the call, unless another thread is reading from it."""
        with contextlib.suppress(ValueError):  # generator already executing
            self._generator.close()

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Set the function to call when the stream has ended or failed."""
        self._at_end = callback


def _cancellable(stream: Any) -> Any:
    return stream if hasattr(stream, "cancel") else _Generated(stream)


async def invoke_async(
    call: Any, request: Any, timeout_s: float | None, address: str, metadata: Metadata = None
) -> Any:
    """Make a call that has one answer, as `invoke`, on asyncio."""
    if timeout_s is None or not clock.is_patched():
        return await call(request, timeout=timeout_s, metadata=metadata)
    try:
        async with Deadline(timeout_s):
            return await call(request, metadata=metadata)
    except TimeoutError:
        raise late_answer(address) from None


def begin_async(call: Any, request: Any, timeout_s: float | None, metadata: Metadata = None) -> Any:
    """Open a stream of answers, as `begin`, on asyncio; read it with `read_async`."""
    if timeout_s is None or not clock.is_patched():
        return call(request, timeout=timeout_s, metadata=metadata)
    stream = call(request, metadata=metadata)
    loop = asyncio.get_running_loop()
    cancel: Callable[[], object] = stream.cancel
    timer = clock.call_later(timeout_s, lambda: loop.call_soon_threadsafe(cancel))
    stream.add_done_callback(lambda _: timer.cancel())
    return stream


async def read_async(stream: Any, address: str) -> Any:
    """Read the next message of a stream.

    Raises:
        ServiceUnavailableError: The stream was cancelled by its timeout.
    """
    try:
        return await stream.read()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if stream.cancelled() and not (task is not None and task.cancelling()):
            raise late_answer(address) from None
        raise
