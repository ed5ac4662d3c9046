"""Requests from their bytes, with limits that hold before the bytes are parsed.

Small requests are parsed where they arrive. Large ones wait for one thread, which parses one at a
time: that takes no longer, for protobuf parses under the interpreter's lock, and so the memory of
one of them bounds that of all.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from flowspan_service.api import limits
from flowspan_service.api.wire_shape import check_shape, malformed
from flowspan_service.domain.errors import OverloadedError, ServiceError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

M = TypeVar("M", bound=Message)
T = TypeVar("T")

IN_A_THREAD = 128 * limits.KIB
"""Messages larger than this are parsed in the thread, so that other calls need not wait."""
FRAMES_SCANNED_ABOVE = 640 * limits.KIB
"""Frames of a stream larger than this are scanned before they are parsed (see api.wire_shape).
Smaller ones take 32 MiB at worst, and the batches of a busy client, of about 512 KiB, are spared
the scan. Other messages are scanned where they need the thread."""
MAX_WAITING = 64 * limits.MIB
"""How much may wait for the thread."""


class Parsing:
    """The thread that parses large messages, and what waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flowspan-parse")
        self._lock = threading.Lock()
        self._waiting_bytes = 0

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """Return what the work returns; in the thread, if a message of this size needs it.

        Raises:
            OverloadedError: Too much waits.
        """
        if size <= IN_A_THREAD:
            return work()
        with self._lock:
            if self._waiting_bytes + size > MAX_WAITING:
                raise OverloadedError(
                    "More large messages arrive than can be parsed.",
                    advice="Send it again in a moment.",
                )
            self._waiting_bytes += size

        def done(_: Future[T]) -> None:
            with self._lock:
                self._waiting_bytes -= size

        # Counted until it is done, and not until its caller goes away.
        future = self._thread.submit(_refusing, work)
        future.add_done_callback(done)
        return await asyncio.wrap_future(future)


def _refusing(work: Callable[[], T]) -> T:
    """Do the work; what it refuses goes with its error, and not only when that is answered."""
    try:
        return work()
    except ServiceError as error:
        # The frames of a traceback hold the message that was parsed.
        error.__context__ = None
        refusal = error.with_traceback(None)
    raise refusal


def parse(message: type[M], data: bytes, *, scanned_above: int = IN_A_THREAD) -> M:
    """Parse a message; if it is larger than this, scan it first.

    Raises:
        InvalidFieldError: The bytes are no such message.
        TooLargeError: The message has more fields than a message may have.
    """
    if len(data) > scanned_above:
        check_shape(data, message)
    try:
        return message.FromString(data)
    except DecodeError:
        raise malformed() from None


def check_request_size(method: str, data: bytes) -> None:
    """Check the size of the request of a call, before it is parsed.

    Args:
        method: The full name of the method: "/flowspan.v1.FlowRunService/GetFlowRun".
        data: The request.

    Raises:
        TooLargeError: It is larger than any good request of this method.
    """
    name = method.rpartition("/")[2]
    limit = limits.REQUESTS.get(name, limits.REQUEST)
    if len(data) > limit:
        raise TooLargeError(
            f"The request has {len(data)} bytes; {name} takes {limit} at most.",
            advice="Send less in one request.",
            limit=str(limit),
        )


def request_type(method: str) -> type[Message]:
    """Return the type of the requests of a method: "/flowspan.v1.FlowRunService/GetFlowRun"."""
    found = Default().FindMethodByName(method.strip("/").replace("/", "."))
    return GetMessageClass(found.input_type)
