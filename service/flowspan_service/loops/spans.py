"""Exports the spans that clients cannot: of runs that crashed, and of clients without an SDK.

Each is exported at least once, also when this service is killed between the commit and the export:
what had been exported is remembered as a position in the order of transitions (`Watermark`), and a
service that starts looks through the transitions after it. Exported twice, a span is the same.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from flowspan_service.domain.states import TERMINAL_TYPES
from flowspan_service.loops.span_records import needs_span, span_of
from flowspan_service.loops.span_watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.domain.runs import Run

log = structlog.get_logger("flowspan.spans")

DEFAULT_SERVICE_NAME = "flowspan"
"""The same as that of the client's own spans."""
WATERMARK_FILE = "spans-exported"

MAX_WAITING = 20_000
"""How many runs wait in memory; what is more is read from the store when it is its turn."""
PAGE = 1_000
BATCH = 500
SAVE_INTERVAL_S = 1.0
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
CLOSE_TIMEOUT_S = 2.0
MAX_LOOK_BACK = 1_000_000
"""How many positions a service looks back at most: a database may have been used without one."""
UNKNOWN_LOOK_BACK = 10_000
"""How many positions a service looks back that does not know how far its predecessor came …"""
UNKNOWN_LOOK_BACK_US = 600_000_000
"""… and how long, in microseconds."""


class Sink(Protocol):
    """Takes spans; an exporter of OpenTelemetry's."""

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        """Sends them; may block for seconds."""
        ...

    def shutdown(self) -> None:
        """Ends it; an export that is under way gives up."""
        ...


class SpanExporter:
    """A listener to the store's commits, with a thread that exports.

    Args:
        store: The store.
        clock: The time.
        sink: Where the spans go.
        resource: What they are said to come from.
        watermark: Up to where they have gone.
    """

    def __init__(
        self, store: Store, clock: Clock, *, sink: Sink, resource: Resource, watermark: Watermark
    ) -> None:
        self._store = store
        self._clock = clock
        self._sink = sink
        self._resource = resource
        self._watermark = watermark
        self._waiting: deque[Run] = deque()
        self._overflowed = False
        self._committed = 0
        """The position of the last commit that the listener was told of."""
        self._done = 0
        """The position up to which everything was exported."""
        self._saved = -1
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        """Listens to the store, and exports what its predecessor did not."""
        self._store.on_commit(self)
        self._thread.start()

    def close(self) -> None:
        """Ends it, within about two seconds. What is left is exported at the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)
        self._sink.shutdown()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S / 2)

    def __call__(self, *, position: int, ended: Sequence[Run], **_: object) -> None:
        """See app.ports.CommitListener."""
        for run in ended:
            if not needs_span(run):
                continue
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(run)
            else:
                self._overflowed = True
            self._wake.set()
        self._committed = position

    def _run(self) -> None:
        self._until_it_works(self._look_back)
        while not self._stop.is_set():
            self._wake.wait(SAVE_INTERVAL_S)
            self._wake.clear()
            if self._overflowed:
                self._overflowed = False
                self._waiting.clear()
                self._until_it_works(self._catch_up)
            else:
                self._export_waiting()
            self._save()

    def _until_it_works(self, look: Callable[[], None]) -> None:
        """Reads the store; tries again where it cannot be read."""
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                look()
            except Exception:
                log.warning("spans_not_looked_for", exc_info=True)
                self._stop.wait(pause_s)
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
            else:
                return

    def _look_back(self) -> None:
        """Exports what ended under the service's predecessor."""
        head = self._store.position()
        done, oldest_us = self._watermark.load(), 0
        if done is None or done > head:
            done = max(0, head - UNKNOWN_LOOK_BACK)
            oldest_us = self._clock.now_us() - UNKNOWN_LOOK_BACK_US
        self._done = max(done, head - MAX_LOOK_BACK)
        self._catch_up(oldest_us)

    def _catch_up(self, oldest_us: int = 0) -> None:
        """Exports what ended after the watermark, as the store has it."""
        while not self._stop.is_set():
            changes, upto, _ = self._store.transitions.changes(
                after=self._done, run_id=None, limit=PAGE
            )
            ended = {
                run.id: run
                for change, run in changes
                if change.state.type in TERMINAL_TYPES
                and change.commit_us >= oldest_us
                and needs_span(run)
            }
            if not self._export(ended.values()) or upto <= self._done:
                return
            self._done = upto

    def _export_waiting(self) -> None:
        # In this order: what was committed up to here is in the queue already.
        committed = self._committed
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        # What was caught up on while it waited has been exported.
        runs = [run for run in waiting if run.position > self._done]
        if self._export(runs) and not self._overflowed:
            self._done = max(self._done, committed)

    def _export(self, runs: Iterable[Run]) -> bool:
        """Sends the spans of the runs until they arrived; False if the service ends before."""
        spans = [span for run in runs if (span := self._span_of(run)) is not None]
        return all(self._send(spans[at : at + BATCH]) for at in range(0, len(spans), BATCH))

    def _span_of(self, run: Run) -> ReadableSpan | None:
        try:
            return span_of(run, self._resource)
        except Exception:
            log.warning("span_not_made", run_id=run.id, exc_info=True)
            return None

    def _send(self, spans: Sequence[ReadableSpan]) -> bool:
        pause_s = FIRST_PAUSE_S
        while self._sink.export(spans) is not SpanExportResult.SUCCESS:
            if pause_s == FIRST_PAUSE_S:
                log.warning("spans_wait", reason="they cannot be exported; it is tried again")
            if self._stop.wait(pause_s):
                return False
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
        if pause_s > FIRST_PAUSE_S:
            log.info("spans_exported_again")
        return True

    def _save(self) -> None:
        if self._done == self._saved:
            return
        try:
            self._watermark.save(self._done)
            self._saved = self._done
        except OSError as error:
            log.warning("spans_watermark_not_saved", error=str(error))


def span_exporter(
    store: Store,
    clock: Clock,
    *,
    endpoint: str | None,
    home: Path | None,
    environ: Mapping[str, str],
) -> SpanExporter | None:
    """Makes the exporter, if it is known where spans go.

    Args:
        store: The store.
        clock: The time.
        endpoint: An OTLP/gRPC endpoint (``--otlp-endpoint``). Without it, the standard
            OTEL_EXPORTER_OTLP_* variables say where; with it, they still say how (headers, TLS).
        home: The service's folder, where it remembers how far it came; None remembers nothing.
        environ: The environment.

    Returns:
        The exporter, not started; None if nothing says where spans go.
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
        resource=_resource(),
        watermark=Watermark(home / WATERMARK_FILE if home is not None else None),
    )


def _resource() -> Resource:
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: DEFAULT_SERVICE_NAME}))
    return resource
