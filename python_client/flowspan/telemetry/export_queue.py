"""A bounded queue of log records, and the thread that exports them.

Producers never wait: if the receiver is unreachable and the queue is full, new items are dropped. A
failed request is retried with backoff. All failures together log one warning. Nothing here imports
OpenTelemetry before the first request.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from flowspan import clock
from flowspan.after_fork import renew_after_fork
from flowspan.own_threads import own_thread
from flowspan.telemetry.endpoint import SendError
from flowspan.telemetry.fork_guard import no_fork
from flowspan.telemetry.process_end import at_end_of_child, exit_time_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowspan.telemetry.endpoint import Transport

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

logger = logging.getLogger("flowspan.telemetry")

MAX_REQUEST_BYTES = 3_000_000
"""Maximum request size; receivers accept 4 MB by default (gRPC's default)."""
GATHER_S = 0.02
"""Time that the first items after an idle period wait for others."""
FIRST_PAUSE_S = 0.2
MAX_PAUSE_S = 10.0
_MAX_QUEUE_BYTES = 64_000_000


class QueueLimits(NamedTuple):
    """The limits of an export queue.

    Attributes:
        delay_s: Maximum time that an item waits for others, and minimum time between requests.
        queue_items: Maximum number of queued items.
        batch_items: Maximum number of items in a request.
        timeout_s: Maximum duration of a request.
    """

    delay_s: float = 0.2
    queue_items: int = 65_536
    batch_items: int = 4_096
    timeout_s: float = 10.0


def queue_limits_of(
    environ: Mapping[str, str], timeout_s: float, prefix: str = "OTEL_BLRP"
) -> QueueLimits:
    """Return the limits from the environment; values that are not positive numbers are ignored.

    Args:
        environ: The environment.
        timeout_s: Maximum duration of a request.
        prefix: The beginning of the variables: OTEL_BLRP for logs, OTEL_BSP for spans.
    """

    def number(name: str, default: float) -> float:
        try:
            value = float(environ.get(f"{prefix}_{name}", ""))
        except ValueError:
            return default
        return value if value > 0 else default

    defaults = QueueLimits()
    return QueueLimits(
        delay_s=number("SCHEDULE_DELAY", defaults.delay_s * 1000) / 1000,
        queue_items=int(number("MAX_QUEUE_SIZE", defaults.queue_items)),
        batch_items=int(number("MAX_EXPORT_BATCH_SIZE", defaults.batch_items)),
        timeout_s=timeout_s,
    )


class Encoder(Protocol[T_contra]):
    """The encoding of one kind of items. Its methods run in the thread of the queue."""

    def request(self, items: Sequence[T_contra]) -> bytes:
        """Encode a request."""
        ...

    def refused(self, response: bytes) -> tuple[int, str]:
        """Read a response: the number of refused items, and the reason."""
        ...


class ExportQueue(Generic[T]):
    """A queue of items to export, and its thread, which starts with the first item.

    Args:
        transport: The transport to the receiver.
        encoder: The encoding of the items.
        what: The items, for the log: "log records".
        place: The receiver's name, for the log.
        limits: The limits.
    """

    def __init__(
        self,
        transport: Transport,
        encoder: Encoder[T],
        *,
        what: str,
        place: str,
        limits: QueueLimits,
    ) -> None:
        self._transport = transport
        self._encoder = encoder
        self._what, self._place = what, place
        self._limits = limits
        self._dropped = 0
        self._on_its_way = 0
        self._warned = False
        self._closing = False
        """True if the process is about to end: failed requests are not retried."""
        self._stopped = self._is_ending = False
        self._prepare()
        renew_after_fork(self)

    def _prepare(self) -> None:
        self._queue: deque[tuple[T, int] | threading.Event] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._armed = False
        """True if the thread knows that the queue is not empty."""
        self._arrived = threading.Event()
        self._hurry = threading.Event()
        """Event that interrupts the thread's waits for more items and between attempts."""

    def after_fork(self) -> None:
        """Begin anew in the child, with an empty queue."""
        # The items queued at the fork are sent by the parent.
        self._transport.reset()
        self._prepare()

    def put(self, item: T, size: int) -> None:
        """Queue an item of at most this size in bytes, or drop it if the queue is full."""
        waiting = len(self._queue)
        is_full = waiting >= self._limits.queue_items or self._bytes >= _MAX_QUEUE_BYTES
        if is_full or self._closing:
            self._dropped += 1
            return
        # Lost updates of this number by two threads at once would be small, and it returns to 0.
        self._bytes += size
        self._queue.append((item, size))
        if not self._armed:
            self._arm()
        elif waiting == self._limits.batch_items:
            self._hurry.set()

    def flush(self, timeout_s: float) -> bool:
        """Export the items queued so far; return False if the timeout passed first."""
        if self._thread is None and not self._queue:
            return True
        if self._stopped:
            return False
        done = threading.Event()
        self._queue.append(done)
        self._arm()
        self._hurry.set()
        if self._thread is None:  # it cannot be started at the end of the interpreter
            self._export_here(timeout_s)
        return done.wait(timeout_s)

    def shutdown(self) -> None:
        """Export the remaining items within `exit_time_left`, and end the thread."""
        if self._closing:
            return
        self._closing = True
        flushed = self.flush(exit_time_left())
        self._stopped = True
        self._arrived.set()
        self._hurry.set()
        lost = self._dropped
        if not flushed:
            waiting = sum(isinstance(item, tuple) for item in tuple(self._queue))
            lost += self._on_its_way + waiting
        if lost:
            level = logging.INFO if self._warned else logging.WARNING
            logger.log(level, "%d %s were not delivered to %s.", lost, self._what, self._place)
        if flushed:
            self._transport.close()

    def close(self) -> None:
        """Export the remaining items in the background, without waiting, and end the thread."""
        self._closing = self._is_ending = True
        if self._thread is not None:
            self._arm()
            self._hurry.set()

    def _arm(self) -> None:
        """Notify the thread of new work; start it if necessary."""
        with self._lock:
            self._armed = True
            if self._thread is None:
                name = f"flowspan-{self._what.replace(' ', '-')}"
                thread = own_thread(name, self._run)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending
                    return
                self._thread = thread
                at_end_of_child(self.shutdown)
            self._arrived.set()

    def _run(self) -> None:
        suppress_instrumentation()
        sent_s = 0.0
        while not self._stopped:
            self._arrived.wait()
            # The first items after an idle period leave soon, in case the process is killed; later
            # ones wait for each other.
            rest_s = sent_s + self._limits.delay_s - clock.monotonic()
            self._hurry.wait(max(rest_s, min(GATHER_S, self._limits.delay_s)))
            self._hurry.clear()
            self._arrived.clear()
            self._armed = False
            while self._queue and not self._stopped:
                self._export(*self._take())
            if self._is_ending:
                self._transport.close()
                return
            sent_s = clock.monotonic()

    def _export_here(self, timeout_s: float) -> None:
        """Export the queued items in the calling thread."""
        suppress_instrumentation()
        self._limits = self._limits._replace(timeout_s=min(timeout_s, self._limits.timeout_s))
        while self._queue:
            self._export(*self._take())

    def _take(self) -> tuple[list[T], list[threading.Event]]:
        """Take the items for one request, and the waiting flushes."""
        items: list[T] = []
        waiters: list[threading.Event] = []
        size = 0
        while self._queue and len(items) < self._limits.batch_items:
            entry = self._queue[0]
            if isinstance(entry, tuple) and items and size + entry[1] > MAX_REQUEST_BYTES:
                break
            self._queue.popleft()  # only this thread takes items
            if isinstance(entry, threading.Event):
                waiters.append(entry)
                continue
            items.append(entry[0])
            size += entry[1]
        self._bytes = self._bytes - size if self._queue else 0
        return items, waiters

    def _export(self, items: Sequence[T], waiters: Sequence[threading.Event]) -> None:
        self._on_its_way = len(items)
        if items:
            try:
                with no_fork():  # it imports
                    body = self._encoder.request(items)
            except Exception as error:  # noqa: BLE001 - the thread must survive
                self._warn(error)
                self._dropped += len(items)
            else:
                self._send(body, len(items))
        self._on_its_way = 0
        for waiter in waiters:
            waiter.set()

    def _send(self, body: bytes, count: int) -> None:
        """Send a request until it is delivered, refused permanently, or the process ends."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                response = self._transport.send(body, self._limits.timeout_s)
                refused, reason = self._encoder.refused(response) if response else (0, "")
            except SendError as error:
                self._warn(error)
                if not error.retryable or self._closing:
                    break
            except Exception as error:  # noqa: BLE001 - the thread must survive
                self._warn(error)
                break
            else:
                if refused:
                    self._dropped += refused
                    self._warn(f"{refused} {self._what} were refused: {reason}")
                return
            self._hurry.wait(pause_s)
            self._hurry.clear()
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
        self._dropped += count

    def _warn(self, why: object) -> None:
        what = self._what.capitalize()
        if self._warned:
            logger.debug("%s could not be delivered to %s: %s", what, self._place, why)
            return
        self._warned = True
        logger.warning(
            "%s cannot be delivered to %s: %s. The flow continues; this is logged only once.",
            what,
            self._place,
            why,
        )


def suppress_instrumentation() -> None:
    """Keep an instrumented gRPC or HTTP library from tracing the exports of this thread."""
    with no_fork():
        # The name has an underscore until the specification settles the mechanism.
        from opentelemetry.context import (  # noqa: PLC0415 - not before the first request
            _SUPPRESS_INSTRUMENTATION_KEY,
            attach,
            set_value,
        )

    attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
