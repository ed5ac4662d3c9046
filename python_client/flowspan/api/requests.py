"""Operations as generators, independent of I/O.

An operation never calls the service and never blocks. It yields steps (make a call, open a
stream, receive its next message, sleep), receives their outcomes, and returns its value. Two
drivers perform the steps: `flowspan.api.blocking` and `flowspan.api.asynchronous`. All logic
(paging, reconnecting, waiting for a run) therefore exists once.

If a step fails, its FlowspanError is thrown into the generator.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from flowspan import clock
from flowspan.api.reconnect import Reconnect
from flowspan.exceptions import ApiError, FlowspanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound="Message")

_PACKAGE = "flowspan.v1"
_MARGIN_S = 0.02
_OUT_OF_RANGE = "TOKEN_OUT_OF_RANGE"


@dataclass(frozen=True, slots=True)
class Options:
    """Timeouts of a client.

    Attributes:
        timeout_s: Timeout of a call with one answer, in seconds; None for no limit.
        reconnect_s: The time that a stream tries to reconnect after its connection broke, in
            seconds.
    """

    timeout_s: float | None = 30.0
    reconnect_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """Step: make a call that has one answer. The outcome is the answer."""

    path: str
    """The gRPC path of the method: "/<package>.<service>/<method>"."""
    request: Message
    response: type[Message]


@dataclass(frozen=True, slots=True)
class Open:
    """Step: start a call that answers with a stream. The outcome is the stream, for Receive."""

    path: str
    request: Message
    response: type[Message]
    timeout_s: float | None = None
    """Maximum time that the stream may be open, in seconds; None for no limit."""


class OpenStream(Protocol):
    """An open stream. Only its driver can read it."""

    def cancel(self) -> object:
        """End the stream. Idempotent."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Step: receive the next message of a stream. The outcome is the message; None at the end."""

    stream: OpenStream


@dataclass(frozen=True, slots=True)
class Sleep:
    """Step: wait for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GetOptions:
    """Step: get the client's options. The outcome is the Options."""


@dataclass(frozen=True, slots=True)
class Give(Generic[T]):
    """Items produced by an operation. Not a step."""

    items: Iterable[T]


Step: TypeAlias = Call | Open | Receive | Sleep | GetOptions

Answer: TypeAlias = Generator[Step, Any, T]
"""An operation with one answer."""

Items: TypeAlias = Generator[Step | Give[T], Any, None]
"""An operation with many items, given as they arrive."""


def call(method: str, request: Message, response: type[M]) -> Generator[Step, Any, M]:
    """Make a call and return its answer.

    Args:
        method: "<service>/<method>" of flowspan.v1.
        request: The request.
        response: The type of the answer.
    """
    answer: M = yield Call(f"/{_PACKAGE}.{method}", request, response)
    return answer


def pages(
    method: str,
    request: Any,
    response: type[M],
    items: Callable[[M], Iterable[T]],
    *,
    limit: int | None = None,
    rest: Callable[[], Iterable[T]] = tuple,
) -> Items[T]:
    """Give the items of a paged list. Each page is requested when the previous one is consumed.

    Args:
        method: As in `call`.
        request: The request for the first page. Its page_token is changed for the other pages.
        response: The type of a page.
        items: Returns the items of a page.
        limit: The maximum number of items; None for all.
        rest: Returns further items after the last page.
    """
    left = limit
    while left is None or left > 0:
        page: Any = yield from call(method, request, response)
        found = items(page)
        if left is not None:
            found = list(found)[:left]
            left -= len(found)
        yield Give(found)
        request.page_token = page.next_page_token
        if not request.page_token:
            if left is None or left > 0:
                yield Give(rest())
            return


def follow(
    method: str,
    request: Message,
    response: type[M],
    receive: Callable[[M], Iterable[T]],
    *,
    rest: Callable[[], Iterable[T]] = tuple,
    deadline_s: float | None = None,
) -> Items[T]:
    """Give the items of a stream until the service ends it, reconnecting if the connection breaks.

    Args:
        method: As in `call`.
        request: The request. `receive` must keep it up to date, so that resending it resumes the
            stream at the right place.
        response: The type of the messages.
        receive: Returns the items of a message.
        rest: Returns further items at the end.
        deadline_s: The time to give up, by the monotonic clock; None for never.

    Raises:
        TimeoutError: The deadline has passed.
    """
    options: Options = yield GetOptions()
    reconnect = Reconnect(options.reconnect_s)
    while True:
        timeout_s = _time_left(deadline_s)
        stream: OpenStream = yield Open(f"/{_PACKAGE}.{method}", request, response, timeout_s)
        try:
            while (message := (yield Receive(stream))) is not None:
                reconnect.succeeded()
                yield Give(receive(message))
            yield Give(rest())
            return
        except FlowspanError as failure:
            _time_left(deadline_s)
            pause_s = reconnect.failed(failure, now_s=clock.monotonic())
            if pause_s is None:
                raise
        finally:
            stream.cancel()
        yield Sleep(pause_s)


def begin_again(items: Callable[[], Items[T]], forget: Callable[[ApiError], bool]) -> Items[T]:
    """Give the items of a stream, restarting it if the service does not know its resume position.

    This happens if the service has another database, or an older state of it, after a
    reconnect.

    Args:
        items: Follows the stream; called again for each restart.
        forget: Resets the resume position and logs a warning; False if it has none.
    """
    while True:
        try:
            yield from items()
        except ApiError as error:
            if error.reason != _OUT_OF_RANGE or not forget(error):
                raise
        else:
            return


def for_each(items: Items[T], action: Callable[[T], object]) -> Generator[Step, Any, None]:
    """Run an operation with many items inside another, calling `action` with each item."""
    with closing(items):
        step: Step | Give[T] | None = next(items, None)
        while step is not None:
            if isinstance(step, Give):
                for item in step.items:
                    action(item)
                step = next(items, None)
                continue
            try:
                outcome = yield step
            except FlowspanError as error:
                going_on = partial(items.throw, error)
            else:
                going_on = partial(items.send, outcome)
            try:
                step = going_on()
            except StopIteration:
                return


def _time_left(deadline_s: float | None) -> float | None:
    # Add a margin, so that the deadline has passed when the stream ends by its timeout.
    if deadline_s is None:
        return None
    left_s = deadline_s - clock.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s + _MARGIN_S
