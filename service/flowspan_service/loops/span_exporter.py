"""The exporter of spans for crashed runs, and for clients without an OpenTelemetry SDK.

Each span is exported at least once, whichever service process dies. The claim of the loop stores
the position up to which the spans of all processes over the database were exported. One process at
a time exports: it takes the claim, reads the runs that ended after the position, sends their spans,
stores the new position, and releases the claim. If it dies before it stored the position, another
process continues from the stored one after the lease. A span that is exported twice is identical.
"""

from __future__ import annotations

import logging
import os
import threading
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from flowspan_service.loops.loop_claims import HeldClaim, holder_name
from flowspan_service.loops.span_batches import SpanBatches
from flowspan_service.loops.span_records import needs_span
from flowspan_service.loops.span_resources import service_resource
from flowspan_service.loops.span_watermark import OldWatermark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.app.ports import Clock, Heads, Store
    from flowspan_service.app.ports.runs import SpanRuns
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.span_facts import SpanDecoder

log = structlog.get_logger("flowspan.spans")

LOOP = "spans"
"""The name of the claim."""
WATERMARK_FILE = "spans-exported"

PAGE = 500
"""The maximum number of runs between two writes of the position."""
MOVE_AFTER = 20_000
"""The number of positions without a span after which the position is stored anyway."""
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
RETRY_S = 0.5
"""The pause while another process holds the claim."""
LOOK_INTERVAL_S = 10.0
"""The interval between checks for spans that a dead process left."""
CLOSE_TIMEOUT_S = 2.0
MAX_LOOK_BACK = 1_000_000
"""The maximum look-back in positions: a database may be used for long without an exporter."""
UNKNOWN_LOOK_BACK = 10_000
"""The look-back of the first service with an exporter, in positions …"""
UNKNOWN_LOOK_BACK_US = 600_000_000
"""… and in microseconds; the shorter one counts."""


class Sink(Protocol):
    """A receiver of spans, such as an exporter of OpenTelemetry."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Send the spans; may block for seconds."""
        ...

    def shutdown(self) -> None:
        """Close the sink, and abort an export in flight."""
        ...


class _Outcome(Enum):
    """The result of a search for spans to export."""

    DONE = "nothing is left"
    HELD = "another process holds the claim"
    FAILED = "the receiver did not accept the spans"


class _Quiet(NamedTuple):
    """A range of positions that this process knows to need no span."""

    after: int
    upto: int

    def skip(self, position: int) -> int:
        """Return the end of the range for a position in it, and any other position unchanged."""
        return self.upto if self.after <= position < self.upto else position


class SpanExporter:
    """A commit listener with a thread that exports.

    Args:
        store: The store.
        clock: The time.
        sink: The receiver of the spans.
        resource: The resource of spans whose client sent none.
        decoder: Decodes the facts that spans show.
        holder: The name of this process in the claim.
        is_shared: True if other service processes may use the same database. An exporter that is
            alone sleeps until a commit needs it.
        old_watermark: The position that an earlier version left.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        sink: Sink,
        resource: Resource,
        decoder: SpanDecoder,
        holder: str,
        is_shared: bool,
        old_watermark: OldWatermark,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sink = sink
        self._batches = SpanBatches(store, resource, decoder)
        self._claim = HeldClaim(store, LOOP, holder=holder)
        self._is_shared = is_shared
        self._old_watermark = old_watermark
        self._since_us = 0
        """The time before which the first search skips runs."""
        self._wanted = 0
        """The position of the last own commit that needs a span."""
        self._done = 0
        """The stored position, as last seen."""
        self._quiet = _Quiet(0, 0)
        self._failures = 0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        """Listen to the store, and export the spans that earlier processes left."""
        self._store.on_commit(self)
        self._thread.start()

    def close(self) -> None:
        """End the exporter within two seconds. The next process exports the remaining spans."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)
        self._sink.shutdown()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)

    def __call__(self, *, position: int, ended: Sequence[Run], before: Heads, **_: object) -> None:
        """Note a commit with runs that need a span; called in the thread of the writer."""
        if any(map(needs_span, ended)):
            self._wanted = position
            self._wake.set()
            return
        quiet = self._quiet
        if quiet.upto == before.position:
            self._quiet = _Quiet(quiet.after, position)
        elif quiet.upto <= self._done:  # the stored position is past it
            self._quiet = _Quiet(before.position, position)
        if position - self._done >= MOVE_AFTER:
            self._wake.set()

    # The thread

    def _run(self) -> None:
        self._repeat(self._begin)
        while not self._stop.is_set():
            self._repeat(self._look)
            self._wake.wait(LOOK_INTERVAL_S if self._is_shared else None)
            self._wake.clear()

    def _repeat(self, step: Callable[[], _Outcome]) -> None:
        """Repeat a step until its outcome is DONE, with pauses."""
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                outcome = step()
            except Exception:
                if self._stop.is_set():
                    return
                log.warning("spans_not_looked_for", exc_info=True)
                outcome = _Outcome.FAILED
            if outcome is _Outcome.DONE:
                return
            if outcome is _Outcome.HELD:
                self._stop.wait(RETRY_S)
                continue
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def _begin(self) -> _Outcome:
        """Create the claim if it is missing, and take over the position of an earlier version."""
        claim, head = self._claim.look(), self._store.position()
        left = self._old_watermark.load()
        if left is not None and left > head:
            left = None  # it belongs to another database
        if claim is None or left is not None:
            begin_at = max(0, head - UNKNOWN_LOOK_BACK)
            if claim is None and left is None:
                self._since_us = self._clock.now_us() - UNKNOWN_LOOK_BACK_US
            elif claim is None:
                begin_at = head
            if self._claim.take(begin_at=begin_at, rewind_to=left) is None:
                return _Outcome.HELD
            self._claim.move(None, keep=False)
            self._wanted = max(self._wanted, head)
        self._forget_old_watermark()
        if head > MAX_LOOK_BACK:
            self._quiet = _Quiet(0, head - MAX_LOOK_BACK)
        return _Outcome.DONE

    def _forget_old_watermark(self) -> None:
        try:
            self._old_watermark.remove()
        except OSError as error:
            log.warning("spans_old_watermark_not_removed", error=str(error))

    def _look(self) -> _Outcome:
        """Export the spans that are due. Take the claim only if the position must be stored."""
        claim = self._claim.look()
        if claim is not None and not self._claim.is_free(claim):
            return _Outcome.HELD
        if claim is not None and claim.position is not None:
            self._done = claim.position
        if self._wanted <= self._done:
            page = self._page(self._done)
            passed = page.looked_at - self._done
            if not page.items and not page.has_more and passed < MOVE_AFTER:
                self._quiet = _Quiet(self._done, page.looked_at)
                self._since_us = 0
                return _Outcome.DONE
        return self._export_due()

    def _export_due(self) -> _Outcome:
        claim = self._claim.take(begin_at=self._done)
        if claim is None:
            return _Outcome.HELD
        done = claim.position or 0
        while True:
            page = self._page(done)
            if not self._export(page.items):
                # Another process may reach the receiver.
                self._claim.move(None, keep=False)
                return _Outcome.FAILED
            done = page.looked_at
            goes_on = page.has_more and not self._stop.is_set()
            if not self._claim.move(done, keep=goes_on):
                return _Outcome.HELD
            self._done = done
            if not goes_on:
                self._since_us = 0
                return _Outcome.DONE

    def _page(self, done: int) -> SpanRuns:
        after = self._quiet.skip(done)
        return self._store.runs.needing_spans(after=after, since_us=self._since_us, limit=PAGE)

    def _export(self, runs: Iterable[Run]) -> bool:
        """Send the spans of the runs; return True if the receiver accepted them."""
        for spans in self._batches.of(filter(needs_span, runs)):
            if self._sink.export(spans) is not SpanExportResult.SUCCESS:
                if not self._failures:
                    log.warning(
                        "spans_wait", reason="they cannot be exported; the export is retried"
                    )
                self._failures += 1
                return False
            if self._failures:
                log.info("spans_exported_again")
            self._failures = 0
        return True


def span_exporter(
    store: Store,
    clock: Clock,
    *,
    endpoint: str | None,
    home: Path | None,
    environ: Mapping[str, str],
    decoder: SpanDecoder,
) -> SpanExporter | None:
    """Return the exporter of spans, if their destination is configured.

    Args:
        store: The store.
        clock: The time.
        endpoint: An OTLP/gRPC endpoint (``--otlp-endpoint``). Without it, the standard
            OTEL_EXPORTER_OTLP_* variables name the receiver; with it, they still set the options
            (headers, TLS).
        home: The service's folder, where an earlier version may have left its position; None
            without one.
        environ: The environment.
        decoder: Decodes the facts that spans show.

    Returns:
        The exporter, not started; None if no destination is configured.
    """
    named = (
        environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or ""
    )
    if not (endpoint or named.strip()) or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if endpoint and "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    # It logs each of its tries; this module says once that spans wait.
    logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").setLevel(logging.CRITICAL)
    return SpanExporter(
        store,
        clock,
        sink=OTLPSpanExporter(endpoint=endpoint or None),
        resource=service_resource(),
        decoder=decoder,
        holder=holder_name(process_id=os.getpid(), is_shared=store.is_shared),
        is_shared=store.is_shared,
        old_watermark=OldWatermark(home / WATERMARK_FILE if home is not None else None),
    )
