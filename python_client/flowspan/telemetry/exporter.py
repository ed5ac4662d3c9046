"""Export of ended spans: a bounded queue of encoded spans, and a thread that sends them.

Producers never wait for the queue: if the receiver is unreachable and the queue is full, new spans
are dropped. A failed request is retried with backoff. All failures together log one warning.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

# Set in the exporter's thread, so that an instrumented gRPC or HTTP library does not trace the
# export itself. The name has an underscore until the specification settles the mechanism.
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from flowspan import clock
from flowspan.telemetry.endpoint import SendError, Transport
from flowspan.telemetry.otlp import encode_head, encode_request, encode_span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context

    from flowspan.telemetry.fast_span import FastSpan

logger = logging.getLogger("flowspan.telemetry")

Head = tuple[bytes, bytes, bytes]

_SAMPLED = 1
_MAX_REQUEST_BYTES = 3_000_000
"""Maximum request size; receivers accept 4 MB by default (gRPC's default)."""
_GATHER_S = 0.02
"""Time that the first spans after an idle period wait for others."""
EXIT_FLUSH_S = 2.0
"""Maximum time that the end of the process waits for the delivery of spans."""
_FIRST_PAUSE_S = 0.2
_MAX_PAUSE_S = 10.0


class Limits(NamedTuple):
    """The limits of the exporter; the OTEL_BSP_* variables set them.

    Attributes:
        delay_s: Maximum time that a span waits for others, and minimum time between requests.
        queue_spans: Maximum number of queued spans.
        batch_spans: Maximum number of spans in a request.
        timeout_s: Maximum duration of a request.
    """

    delay_s: float = 0.2
    queue_spans: int = 65_536
    batch_spans: int = 4_096
    timeout_s: float = 10.0


_DEFAULTS = Limits()


def limits_of(environ: Mapping[str, str], timeout_s: float) -> Limits:
    """Return the limits from the environment; values that are not positive numbers are ignored."""

    def number(name: str, default: float) -> float:
        try:
            value = float(environ.get(name, ""))
        except ValueError:
            return default
        return value if value > 0 else default

    return Limits(
        delay_s=number("OTEL_BSP_SCHEDULE_DELAY", _DEFAULTS.delay_s * 1000) / 1000,
        queue_spans=int(number("OTEL_BSP_MAX_QUEUE_SIZE", _DEFAULTS.queue_spans)),
        batch_spans=int(number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _DEFAULTS.batch_spans)),
        timeout_s=timeout_s,
    )


class ExportingProcessor(SpanProcessor):
    """The span processor that exports the ended spans of a tracer provider.

    Args:
        transport: The transport to the receiver.
        place: The receiver's name, for the log.
        limits: The limits.
    """

    def __init__(self, transport: Transport, *, place: str, limits: Limits = _DEFAULTS) -> None:
        self._transport = transport
        self._place = place
        self._limits = limits
        self._heads: dict[tuple[int, int], tuple[Head, object, object]] = {}
        self._dropped = 0
        self._on_its_way = 0
        """Number of spans in flight."""
        self._warned = False
        self._closing = False
        """True if the process is about to end: failed requests are not retried."""
        self._stopped = False
        self._prepare()
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)

            def after_fork() -> None:
                processor = reference()
                if processor is not None:
                    processor._after_fork()  # noqa: SLF001 - belongs to the class

            os.register_at_fork(after_in_child=after_fork)

    def _prepare(self) -> None:
        self._queue: deque[tuple[Head, bytes] | threading.Event] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._armed = False
        """True if the thread knows that the queue is not empty."""
        self._arrived = threading.Event()
        self._hurry = threading.Event()
        """Event that interrupts the thread's waits for more spans and between attempts."""

    def _after_fork(self) -> None:
        # The spans queued at the fork are sent by the parent.
        self._transport.reset()
        self._heads.clear()  # the resource names the process
        self._prepare()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only ended spans matter."""

    def on_end(self, span: ReadableSpan | FastSpan) -> None:
        """Encode the span and queue it."""
        context = span.context
        if context is None or not context.trace_flags & _SAMPLED:
            return
        waiting = len(self._queue)
        if waiting >= self._limits.queue_spans or self._closing:
            self._dropped += 1
            return
        try:
            item = (self._head(span), encode_span(span))
        except Exception:
            logger.debug("The span %s could not be encoded.", span.name, exc_info=True)
            self._dropped += 1
            return
        self._queue.append(item)
        if not self._armed:
            self._arm()
        elif waiting == self._limits.batch_spans:
            self._hurry.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export the spans ended so far; return False if the timeout passed first."""
        if self._thread is None and not self._queue:
            return True
        if self._stopped:
            return False
        done = threading.Event()
        self._queue.append(done)
        self._arm()
        self._hurry.set()
        return done.wait(timeout_millis / 1000)

    def shutdown(self, timeout_s: float = EXIT_FLUSH_S) -> None:
        """Export the remaining spans within the timeout, and end the thread."""
        if self._closing:
            return
        self._closing = True
        flushed = self.force_flush(int(timeout_s * 1000))
        self._stopped = True
        self._arrived.set()
        self._hurry.set()
        lost = self._dropped
        if not flushed:
            waiting = sum(isinstance(item, tuple) for item in tuple(self._queue))
            lost += self._on_its_way + waiting
        if lost:
            level = logging.INFO if self._warned else logging.WARNING
            logger.log(level, "%d spans were not delivered to %s.", lost, self._place)
        if flushed:
            self._transport.close()

    def _head(self, span: ReadableSpan | FastSpan) -> Head:
        resource, scope = span.resource, span.instrumentation_scope
        key = (id(resource), id(scope))
        known = self._heads.get(key)
        if known is None:
            # The objects are referenced here, so that their ids are not reused.
            known = self._heads[key] = (encode_head(resource, scope), resource, scope)
        return known[0]

    def _arm(self) -> None:
        """Notify the thread of new work; start it if necessary."""
        with self._lock:
            self._armed = True
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="flowspan-spans", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending
                    return
                self._thread = thread
                self._flush_at_end_of_child()
            self._arrived.set()

    def _flush_at_end_of_child(self) -> None:
        """Register a finalizer: processes forked by multiprocessing skip the atexit functions."""
        multiprocessing = sys.modules.get("multiprocessing")
        if multiprocessing is not None and multiprocessing.parent_process() is not None:
            from multiprocessing.util import Finalize  # noqa: PLC0415 - only in its children

            Finalize(None, self.shutdown, exitpriority=10)

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        sent_s = 0.0
        while not self._stopped:
            self._arrived.wait()
            # The first spans after an idle period leave soon, in case the process is killed; later
            # ones wait for each other.
            rest_s = sent_s + self._limits.delay_s - clock.monotonic()
            self._hurry.wait(max(rest_s, min(_GATHER_S, self._limits.delay_s)))
            self._hurry.clear()
            self._arrived.clear()
            self._armed = False
            while self._queue and not self._stopped:
                self._export(*self._take())
            sent_s = clock.monotonic()

    def _take(self) -> tuple[dict[Head, list[bytes]], list[threading.Event]]:
        """Take the spans for one request, grouped by their heads, and the waiting flushes."""
        groups: dict[Head, list[bytes]] = {}
        waiters: list[threading.Event] = []
        size = count = 0
        while self._queue and count < self._limits.batch_spans and size < _MAX_REQUEST_BYTES:
            item = self._queue.popleft()
            if isinstance(item, threading.Event):
                waiters.append(item)
                continue
            head, data = item
            groups.setdefault(head, []).append(data)
            size += len(data)
            count += 1
        return groups, waiters

    def _export(
        self, groups: Mapping[Head, Sequence[bytes]], waiters: Sequence[threading.Event]
    ) -> None:
        if groups:
            self._on_its_way = sum(len(spans) for spans in groups.values())
            self._send(encode_request(groups.items()), self._on_its_way)
            self._on_its_way = 0
        for waiter in waiters:
            waiter.set()

    def _send(self, body: bytes, count: int) -> None:
        """Send a request until it is delivered, refused permanently, or the process ends."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._look_at(self._transport.send(body, self._limits.timeout_s))
            except SendError as error:
                self._warn(error)
                if not error.retryable or self._closing:
                    break
            except Exception as error:  # noqa: BLE001 - the thread must survive
                self._warn(error)
                break
            else:
                return
            self._hurry.wait(pause_s)
            self._hurry.clear()
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)
        self._dropped += count

    def _look_at(self, response: bytes) -> None:
        """Read the response: a receiver may accept a request but reject some of its spans."""
        if not response:
            return
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: PLC0415 - rare

        partial = trace_service_pb2.ExportTraceServiceResponse.FromString(response).partial_success
        if partial.rejected_spans:
            self._dropped += partial.rejected_spans
            self._warn(f"{partial.rejected_spans} spans were refused: {partial.error_message}")

    def _warn(self, why: object) -> None:
        if self._warned:
            logger.debug("Spans could not be delivered to %s: %s", self._place, why)
            return
        self._warned = True
        logger.warning(
            "Spans cannot be delivered to %s: %s. The flow continues; this is logged only once.",
            self._place,
            why,
        )
