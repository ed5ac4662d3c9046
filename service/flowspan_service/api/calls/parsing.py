"""Parsing of requests, with limits that hold before the bytes are parsed.

Small requests are parsed in the event loop. Large ones wait for one thread, which parses one at a
time and so bounds their memory. That is not slower: protobuf parses under the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from flowspan_service.api import limits
from flowspan_service.api.calls.wire_shape import check_shape, malformed
from flowspan_service.domain.errors import OverloadedError, ServiceError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

M = TypeVar("M", bound=Message)
T = TypeVar("T")

IN_A_THREAD = 128 * limits.KIB
"""Larger messages are parsed in the thread, so that they do not delay other calls."""
FRAMES_SCANNED_ABOVE = 640 * limits.KIB
"""Larger frames of a stream are scanned before they are parsed (see api.calls.wire_shape). Smaller
ones take 32 MiB at worst, and the batches of a busy client, of about 512 KiB, are spared the scan.
Other messages are scanned if they need the thread."""
MAX_WAITING = 64 * limits.MIB
"""The most bytes that may wait for the thread."""


class Parsing:
    """The thread that parses large messages, and its queue."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flowspan-parse")
        self._lock = threading.Lock()
        self._waiting_bytes = 0

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Run the work and return its result, in the thread if a message of this size needs it.

        Raises:
            OverloadedError: The queue of the thread is full.
        """
        if size <= IN_A_THREAD:
            return work()
        with self._lock:
            if self._waiting_bytes + size > MAX_WAITING:
                raise OverloadedError(
                    "More large messages arrive than the service can parse.",
                    advice="Retry in a moment.",
                )
            self._waiting_bytes += size

        def done(_: Future[T]) -> None:
            with self._lock:
                self._waiting_bytes -= size

        # Counted until it is done, even if its caller goes away before.
        future = self._thread.submit(_refusing, work)
        future.add_done_callback(done)
        return await asyncio.wrap_future(future)


def _refusing(work: Callable[[], T]) -> T:
    """Run the work, and free a refused message with its error, not only after the answer."""
    try:
        return work()
    except ServiceError as error:
        # The frames of a traceback hold the parsed message.
        error.__context__ = None
        refusal = error.with_traceback(None)
    raise refusal


def parse(message: type[M], data: bytes, *, scanned_above: int = IN_A_THREAD) -> M:
    """Parse a message; scan it first if it is larger than `scanned_above` bytes.

    Raises:
        InvalidFieldError: The bytes are not a message of that type.
        TooLargeError: The message has more fields than a message may have.
    """
    if len(data) > scanned_above:
        check_shape(data, message)
    try:
        return message.FromString(data)
    except DecodeError:
        raise malformed() from None


def check_request_size(name: str, data: bytes, limit: int) -> None:
    """Check the size of a request before it is parsed.

    Args:
        name: The name of the method: "GetFlowRun".
        data: The request.
        limit: The size of the largest valid request, in bytes.

    Raises:
        TooLargeError: The request is larger.
    """
    if len(data) > limit:
        raise TooLargeError(
            f"The request has {len(data)} bytes; {name} accepts at most {limit}.",
            advice="Send less in one request.",
            limit=str(limit),
        )
