"""Export of ended spans: a bounded queue, and a thread that encodes and sends them.

The thread that ends a span only appends it to the queue. The exporter's thread encodes what has
ended every 20 ms, because an encoded span takes less memory. While it waits for a receiver, spans
pile up. Beyond a few thousand of them, the thread that ends a span encodes it itself.

Producers never wait for the queue: if the receiver is unreachable and the queue is full, new spans
are dropped. A failed request is retried with backoff. All failures together log one warning.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

# Set in the exporter's thread, so that an instrumented gRPC or HTTP library does not trace the
# export itself. The name has an underscore until the specification settles the mechanism.
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from flowspan import clock
from flowspan.after_fork import renew_after_fork
from flowspan.own_threads import own_thread
from flowspan.telemetry.endpoint import SendError, Transport
from flowspan.telemetry.export_queue import (
    FIRST_PAUSE_S,
    GATHER_S,
    MAX_PAUSE_S,
    MAX_REQUEST_BYTES,
    QueueLimits,
)
from flowspan.telemetry.fast_span import FastRunSpan, FastSpan
from flowspan.telemetry.otlp import encode_head, encode_request, encode_span
from flowspan.telemetry.process_end import at_end_of_child, exit_time_left
from flowspan.telemetry.run_encoding import encode_run_span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context

logger = logging.getLogger("flowspan.telemetry")

Head = tuple[bytes, bytes, bytes]
AnySpan: TypeAlias = ReadableSpan | FastSpan
Encoded: TypeAlias = tuple[Head, bytes]
Groups: TypeAlias = dict[Head, list[bytes | bytearray]]

_SAMPLED = 1
_CHUNK_SPANS = 256
_CHUNK_BYTES = 250_000
"""Maximum size of encoded spans that are joined, which takes less memory than single ones."""
_UNENCODED_SPANS = 2_048
"""Number of queued spans above which the thread that ends a span encodes it."""

_DEFAULTS = QueueLimits()


class Chunk:
    """Encoded spans with one head, joined.

    Args:
        head: Their resource and scope.
        most: Maximum number of spans.

    Attributes:
        head: Their resource and scope.
        data: Their bytes.
        count: Their number.
        is_closed: True if it takes no more spans.
    """

    __slots__ = ("_most", "count", "data", "head", "is_closed")

    def __init__(self, head: Head, most: int) -> None:
        self._most = most
        self.head = head
        self.data: bytes | bytearray = bytearray()
        self.count = 0
        self.is_closed = False

    def add(self, head: Head, data: bytes) -> bool:
        """Add an encoded span; return False if it does not fit in."""
        if self.is_closed or head is not self.head:
            return False
        if self.count == self._most or (self.count and len(self.data) + len(data) > _CHUNK_BYTES):
            self.close()
            return False
        self.data += data
        self.count += 1
        return True

    def close(self) -> None:
        """Take no more spans, and release the memory kept for them."""
        self.is_closed = True
        self.data = bytes(self.data)


class ExportingProcessor(SpanProcessor):
    """The span processor that exports the ended spans of a tracer provider.

    Args:
        transport: The transport to the receiver.
        place: The receiver's name, for the log.
        limits: The limits.
    """

    def __init__(
        self, transport: Transport, *, place: str, limits: QueueLimits = _DEFAULTS
    ) -> None:
        self._transport = transport
        self._place = place
        self._limits = limits
        self._step_s = min(GATHER_S, limits.delay_s)
        self._chunk_spans = min(_CHUNK_SPANS, limits.batch_items)
        self._heads: dict[tuple[int, int], tuple[Head, object, object]] = {}
        self._dropped = 0
        self._warned = False
        self._closing = False
        """True if the process is about to end: failed requests are not retried."""
        self._stopped = False
        self._prepare()
        renew_after_fork(self)

    def _prepare(self) -> None:
        self._queue: deque[AnySpan | Chunk | threading.Event] = deque()
        """Ended spans and waiting flushes, in order."""
        self._chunks: deque[Chunk | threading.Event] = deque()
        """The same after encoding; only the thread uses it."""
        self._encoded = 0
        """Number of spans in chunks, in the queue too."""
        self._on_its_way = 0
        """Number of spans in flight."""
        self._flushes = 0
        """Number of waiting flushes in the chunks."""
        self._lock = threading.RLock()  # a signal handler may end a span at any point
        self._thread: threading.Thread | None = None
        self._armed = False
        """True if the thread knows that the queue is not empty."""
        self._arrived = threading.Event()
        self._hurry = threading.Event()
        """Event that interrupts the thread's waits for more spans and between attempts."""

    def after_fork(self) -> None:
        """Begin anew in the child, with an empty queue."""
        # The spans queued at the fork are sent by the parent.
        self._transport.reset()
        self._heads.clear()  # the resource names the process
        self._prepare()

    @property
    def dropped_count(self) -> int:
        """The number of spans that were not delivered."""
        return self._dropped

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: only ended spans matter."""

    def on_end(self, span: AnySpan) -> None:
        """Queue a span, which does not change any more."""
        if isinstance(span, ReadableSpan):
            context = span.context
            if context is None or not context.trace_flags & _SAMPLED:
                return
        elif not span.flags & _SAMPLED:
            return
        waiting = len(self._queue)
        if self._closing or waiting + self._encoded >= self._limits.queue_items:
            self._dropped += 1
            return
        if waiting < _UNENCODED_SPANS:
            self._queue.append(span)
        else:
            self._encode_here(span)
        if not self._armed:
            self._arm()
        elif waiting == self._limits.batch_items:
            self._hurry.set()

    def send_soon(self) -> None:
        """Send what has ended without the usual delay; does not wait for it."""
        if self._queue or self._encoded:
            self._arm()
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

    def shutdown(self, timeout_s: float | None = None) -> None:
        """Export the remaining spans within the timeout, and end the thread.

        Args:
            timeout_s: Maximum time to wait; by default, the rest of EXIT_FLUSH_S, which begins with
                the end of the process.
        """
        if self._closing:
            return
        self._closing = True
        timeout_s = exit_time_left() if timeout_s is None else timeout_s
        flushed = self.force_flush(int(timeout_s * 1000))
        self._stopped = True
        self._arrived.set()
        self._hurry.set()
        lost = self._dropped
        if not flushed:
            others = threading.Event, Chunk
            waiting = sum(not isinstance(item, others) for item in tuple(self._queue))
            lost += self._on_its_way + self._encoded + waiting
        if lost:
            level = logging.INFO if self._warned else logging.WARNING
            logger.log(level, "%d spans were not delivered to %s.", lost, self._place)
        if flushed:
            self._transport.close()

    def _encode_here(self, span: AnySpan) -> None:
        """Encode a span in the thread that ended it, because the exporter's thread is behind."""
        encoded = self._encode(span)
        if encoded is None:
            return
        with self._lock:
            try:
                last = self._queue[-1]
            except IndexError:  # the thread has taken all meanwhile
                last = None
            if not (isinstance(last, Chunk) and last.add(*encoded)):
                chunk = Chunk(encoded[0], self._chunk_spans)
                chunk.add(*encoded)
                self._queue.append(chunk)
            self._encoded += 1

    def _encode(self, span: AnySpan) -> Encoded | None:
        """Encode a span; return None and count it as dropped if that fails."""
        try:
            data = encode_run_span(span) if type(span) is FastRunSpan else encode_span(span)
            return self._head(span), data
        except Exception:
            logger.debug("The span %s could not be encoded.", span.name, exc_info=True)
            self._dropped += 1
            return None

    def _head(self, span: AnySpan) -> Head:
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
                thread = own_thread("flowspan-spans", self._run)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending
                    return
                self._thread = thread
                at_end_of_child(self.shutdown)
            self._arrived.set()

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        sent_s = 0.0
        while not self._stopped:
            self._arrived.wait()
            # The first spans after an idle period leave soon, in case the process is killed; later
            # ones wait for each other.
            self._gather(max(sent_s + self._limits.delay_s, clock.monotonic() + self._step_s))
            self._arrived.clear()
            self._armed = False
            self._encode_queue()
            while self._chunks and not self._stopped:
                self._export(*self._take())
            sent_s = clock.monotonic()

    def _gather(self, until_s: float) -> None:
        """Encode what ends until a point in time, or until there is a reason to send it now."""
        self._encode_queue()
        while self._encoded < self._limits.batch_items and not self._flushes:
            rest_s = until_s - clock.monotonic()
            if rest_s <= 0:
                return
            if self._hurry.wait(min(rest_s, self._step_s)):
                self._hurry.clear()
                return
            self._encode_queue()

    def _encode_queue(self) -> None:
        """Move what is queued to the chunks."""
        chunk: Chunk | None = None
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            if isinstance(item, threading.Event | Chunk):
                self._move(item)
                chunk = None
                continue
            encoded = self._encode(item)
            if encoded is None:
                continue
            if chunk is None or not chunk.add(*encoded):
                chunk = Chunk(encoded[0], self._chunk_spans)
                chunk.add(*encoded)
                self._chunks.append(chunk)
            with self._lock:
                self._encoded += 1

    def _move(self, item: Chunk | threading.Event) -> None:
        if isinstance(item, Chunk):
            with self._lock:
                item.close()
        else:
            self._flushes += 1
        self._chunks.append(item)

    def _take(self) -> tuple[Groups, int, list[threading.Event]]:
        """Take the spans for one request, grouped by their heads, and the waiting flushes."""
        groups: Groups = {}
        waiters: list[threading.Event] = []
        size = count = 0
        while self._chunks:
            item = self._chunks[0]
            if isinstance(item, Chunk):
                size += len(item.data)
                count += item.count
                if groups and (count > self._limits.batch_items or size > MAX_REQUEST_BYTES):
                    count -= item.count
                    break
                groups.setdefault(item.head, []).append(item.data)
            else:
                waiters.append(item)
                self._flushes -= 1
            self._chunks.popleft()
        with self._lock:
            self._encoded -= count
        return groups, count, waiters

    def _export(
        self,
        groups: Groups,
        count: int,
        waiters: Sequence[threading.Event],
    ) -> None:
        if groups:
            self._on_its_way = count
            self._send(encode_request(groups.items()), count)
            self._on_its_way = 0
        for waiter in waiters:
            waiter.set()

    def _send(self, body: bytes, count: int) -> None:
        """Send a request until it is delivered, refused permanently, or the process ends."""
        pause_s = FIRST_PAUSE_S
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
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
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
