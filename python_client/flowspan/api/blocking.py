"""The blocking driver of operations: each step blocks the calling thread."""

from __future__ import annotations

import copy
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import grpc

from flowspan import clock
from flowspan.api import time_limits
from flowspan.api.connect import own_service, reach
from flowspan.api.errors import closed, translate
from flowspan.api.requests import Call, GetOptions, Give, Open, Options, Receive, Sleep
from flowspan.connection.channel import access_metadata, open_channel
from flowspan.connection.read_your_writes import pending_wait
from flowspan.connection.run_context import call_metadata
from flowspan.exceptions import FlowspanError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from flowspan.api.requests import Answer, Items, Step
    from flowspan.connection.address import Address

T = TypeVar("T")


class BlockingDriver:
    """Driver that performs operations in the calling thread. Thread-safe.

    The connection is opened by `open`, by `with`, or by the first call.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout_s: float | None = 30.0,
        reconnect_s: float = 60.0,
        start_local: bool = True,
    ) -> None:
        """Create a driver without connecting.

        Args:
            address: ``host:port`` or ``unix:/path``. If None, FLOWSPAN_ADDRESS, or the local
                service if that is not set.
            timeout_s: Timeout of a call with one answer, in seconds; None for no limit.
            reconnect_s: The time that a stream tries to reconnect after its connection broke, in
                seconds.
            start_local: True to start the local service if it is addressed but not running.
        """
        self._connection = _Connection(address, start_local=start_local)
        self._options = Options(timeout_s, reconnect_s)

    @property
    def address(self) -> str:
        """The address of the service; empty until it has been resolved."""
        return self._connection.address

    def with_options(
        self, *, timeout_s: float | None = None, reconnect_s: float | None = None
    ) -> Self:
        """Return a copy of this client that shares the connection but has other timeouts.

        Args:
            timeout_s: Timeout of a call with one answer, in seconds; unchanged if None.
            reconnect_s: The time that a stream tries to reconnect, in seconds; unchanged if None.
        """
        other = copy.copy(self)
        other._options = changed(self._options, timeout_s, reconnect_s)  # noqa: SLF001 - a copy
        return other

    def open(self) -> Self:
        """Connect, if not connected yet.

        Raises:
            ConfigError: The address is invalid.
            LocalServiceError: The local service did not start.
            ServiceUnavailableError: The address does not answer, or no local service is running.
        """
        self._connection.channel()
        return self

    def close(self) -> None:
        """Close the connection. Open streams end with an error."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def answer(self, steps: Answer[T]) -> T:
        """Perform an operation that has one answer, and return the answer."""
        try:
            step = next(steps)
            while True:
                step = self._advance(steps, step)
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            steps.close()

    def items(self, steps: Items[T]) -> Iterator[T]:
        """Perform an operation with many items, and yield them on demand."""
        with closing(steps):
            step: Step | Give[T] | None = next(steps, None)
            while step is not None:
                if isinstance(step, Give):
                    yield from step.items
                    step = next(steps, None)
                else:
                    try:
                        step = self._advance(steps, step)
                    except StopIteration:
                        return

    pages = items

    def _advance(self, steps: Any, step: Any) -> Any:
        """Perform a step, send its outcome to the operation, and return the next step."""
        try:
            outcome = self._do(step)
        except FlowspanError as error:
            return steps.throw(error)
        return steps.send(outcome)

    def _do(self, step: Step) -> Any:
        try:
            match step:
                case Call():
                    channel = self._connection.channel()
                    self._await_own_reports(self._options.timeout_s)
                    call = channel.unary_unary(
                        step.path, type(step.request).SerializeToString, step.response.FromString
                    )
                    return time_limits.invoke(
                        call,
                        step.request,
                        self._options.timeout_s,
                        self.address,
                        self._connection.metadata(),
                    )
                case Open():
                    channel = self._connection.channel()
                    self._await_own_reports(step.timeout_s)
                    opening = channel.unary_stream(
                        step.path, type(step.request).SerializeToString, step.response.FromString
                    )
                    return time_limits.begin(
                        opening,
                        step.request,
                        step.timeout_s,
                        access_metadata(self._connection.target),
                    )
                case Receive():
                    stream: Any = step.stream
                    return next(stream, None)
                case Sleep():
                    return clock.sleep(step.seconds)
                case GetOptions():
                    return self._options
                case _:
                    assert_never(step)
        except grpc.RpcError as error:
            raise translate(error, address=self.address, target=self._connection.target) from None

    def _await_own_reports(self, timeout_s: float | None) -> None:
        """Wait until the service has stored what this process has reported so far."""
        own = self._connection.own_service
        wait = pending_wait() if own is not None else None
        if own is not None and wait is not None:
            wait(own, timeout_s)


class _Connection:
    """A channel that is opened on first use, shared by a client and its copies.

    Attributes:
        address: The address of the service.
        target: The same with the access to it; None until it has been resolved.
        own_service: The same address if this process reports to it, else None.
    """

    def __init__(self, address: str | None, *, start_local: bool) -> None:
        self.address = address or ""
        self.target: Address | None = None
        self.own_service: Address | None = None
        self._wanted = address
        self._start_local = start_local
        self._channel: grpc.Channel | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        """Return the metadata of a call: the current run, if the service has it, and the token."""
        of_run = None if self.own_service is None else call_metadata()
        return (*(of_run or ()), *access_metadata(self.target)) or None

    def channel(self) -> grpc.Channel:
        with self._lock:
            if self._is_closed:
                raise closed()
            if self._channel is None:
                target = reach(self._wanted, start_local=self._start_local)
                self.address, self.target = target.text, target
                self.own_service = own_service(self._wanted, target)
                self._channel = open_channel(target)
            return self._channel

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


def changed(options: Options, timeout_s: float | None, reconnect_s: float | None) -> Options:
    """Return the options with every argument that is not None replaced."""
    if timeout_s is not None:
        options = replace(options, timeout_s=timeout_s)
    if reconnect_s is not None:
        options = replace(options, reconnect_s=reconnect_s)
    return options
