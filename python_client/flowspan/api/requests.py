"""Operations as generators: what to ask of the service and what to make of the answers.

An operation never calls and never waits. It yields the steps that it needs (make a call, open a
stream, take its next message, sleep), is sent what came of them, and returns its value. Two drivers
carry the steps out: `flowspan.api.blocking` and `flowspan.api.asynchronous`. So whatever has a
decision in it (pages, going on after a broken connection, waiting for a run) exists once.

A step that fails is thrown into the generator as the FlowspanError that it becomes.
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

PAGE_TRANSITIONS = 10_000
"""Transitions in one page of a history."""
_PACKAGE = "flowspan.v1"
_MARGIN_S = 0.02
_OUT_OF_RANGE = "TOKEN_OUT_OF_RANGE"


@dataclass(frozen=True, slots=True)
class Options:
    """How patient a client is.

    Attributes:
        timeout_s: How long a call with one answer may take, in seconds; None without a limit.
        reconnect_s: How long a stream tries to go on after its connection broke, in seconds.
    """

    timeout_s: float | None = 30.0
    reconnect_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """A step: make a call that has one answer. Sent back: the answer."""

    path: str
    """The path of the method: "/<package>.<service>/<method>"."""
    request: Message
    response: type[Message]


@dataclass(frozen=True, slots=True)
class Open:
    """A step: begin a call that answers with a stream. Sent back: the stream, for Receive."""

    path: str
    request: Message
    response: type[Message]
    timeout_s: float | None = None
    """How long the stream may be open, in seconds; None without a limit."""


class OpenStream(Protocol):
    """A stream that is open; only its driver knows how to read it."""

    def cancel(self) -> object:
        """Ends it. Does nothing where it has ended."""


@dataclass(frozen=True, slots=True)
class Receive:
    """A step: take the next message of a stream. Sent back: the message, or None at its end."""

    stream: OpenStream


@dataclass(frozen=True, slots=True)
class Sleep:
    """A step: let some time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GetOptions:
    """A step: which options the client has. Sent back: the Options."""


@dataclass(frozen=True, slots=True)
class Give(Generic[T]):
    """Not a step, but a part of what an operation with many items has to give."""

    items: Iterable[T]


Step: TypeAlias = Call | Open | Receive | Sleep | GetOptions

Answer: TypeAlias = Generator[Step, Any, T]
"""An operation with one answer."""

Items: TypeAlias = Generator[Step | Give[T], Any, None]
"""An operation with many items, given as they come."""


def call(method: str, request: Message, response: type[M]) -> Generator[Step, Any, M]:
    """Makes a call.

    Args:
        method: "<service>/<method>" of flowspan.v1.
        request: What to send.
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
    """Gives the items of a list that comes in pages; asks for a page when it is there.

    Args:
        method: As in `call`.
        request: The request for the first page. Its page_token is changed for the others.
        response: The type of a page.
        items: The items of a page.
        limit: How many items at most; None is all of them.
        rest: What is left over after the last page.
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
    """Gives the items of a stream until it ends by itself; goes on after a broken connection.

    Args:
        method: As in `call`.
        request: The request. `receive` is to keep in it how far the stream came, so that it asks
            for the rest when it is sent again.
        response: The type of the messages.
        receive: The items of a message.
        rest: What is left over at the end.
        deadline_s: When to give up, by the monotonic clock; None for never.

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
    """Gives the items of a stream, also if the service does not have the place to go on from.

    So it is when another database, or an older state of it, is found after a broken connection.

    Args:
        items: Follows the stream; is called again for another beginning.
        forget: Forgets the place, and says so to people; False if there is none to forget.
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
    """Lets an operation use another one with many items: calls a function with each of them."""
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
    # A little longer than there is time, so that the time is over when the stream ends by that.
    if deadline_s is None:
        return None
    left_s = deadline_s - clock.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s + _MARGIN_S
