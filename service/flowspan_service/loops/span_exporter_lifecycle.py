"""Export of the spans that clients cannot export. OpenTelemetry is imported with the first one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.loops.loop_claims import holder_name
from flowspan_service.loops.span_exporter import SpanExporter
from flowspan_service.loops.span_watermark import OldWatermark
from flowspan_service.process.live_processes import exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.config import Config
    from flowspan_service.domain.span_facts import SpanDecoder
    from flowspan_service.loops.log_exporter import LogSink
    from flowspan_service.loops.span_lanes import Sender
    from flowspan_service.loops.span_receivers import Receiver, Receivers
    from flowspan_service.loops.span_senders import RequestSenders

WATERMARK_FILE = "spans-exported"
LATE_START_S = 2.0
"""The delay of the first search of a service without a receiver of its own: it must not slow down
the first run of a local service."""


class ExceptionSignal(NamedTuple):
    """How the service's own receiver gets exceptions: as log records."""

    connect: Callable[[], LogSink]
    """Returns a connection to the receiver of logs."""
    keeps_events: bool
    """True if the spans keep their events as well."""


@contextlib.contextmanager
def exporting_spans(
    config: Config,
    store: Store,
    clock: Clock,
    receivers: Receivers,
    decoder: SpanDecoder,
    request_senders: RequestSenders,
    exceptions: ExceptionSignal | None = None,
) -> Iterator[SpanExporter]:
    """Export spans during the block; yield the exporter.

    Args:
        config: Names the folder where an earlier version left its position.
        store: The store.
        clock: The time.
        receivers: Where spans go.
        decoder: Decodes the facts that spans show.
        request_senders: Returns senders to the receivers that clients name.
        exceptions: How the service's own receiver gets exceptions; None for events of spans.
    """
    exporter = SpanExporter(
        store,
        clock,
        receivers=receivers,
        senders=_senders(store, decoder, request_senders, exceptions),
        exists=exists,
        holder=holder_name(process_id=os.getpid(), is_shared=store.is_shared),
        is_shared=store.is_shared,
        old_watermark=OldWatermark(config.home / WATERMARK_FILE),
        delay_s=0.0 if receivers.own is not None else LATE_START_S,
    )
    exporter.start()
    try:
        yield exporter
    finally:
        exporter.close()


def _senders(
    store: Store,
    decoder: SpanDecoder,
    request_senders: RequestSenders,
    exceptions: ExceptionSignal | None,
) -> Callable[[Receiver], Sender]:
    def sender(receiver: Receiver) -> Sender:
        # OpenTelemetry is slow to import and seldom needed.
        from flowspan_service.loops.span_batches import SpanBatches  # noqa: PLC0415 - start-up cost
        from flowspan_service.loops.span_resources import (  # noqa: PLC0415 - start-up cost
            service_resource,
        )
        from flowspan_service.loops.span_senders import (  # noqa: PLC0415 - start-up cost
            SpanSender,
            sink_of,
        )

        batches = SpanBatches(store, service_resource(), decoder)
        sink = sink_of(receiver, request_senders)
        if receiver.is_own and exceptions is not None:
            from flowspan_service.loops.span_exceptions import ExceptionLogs  # noqa: PLC0415 - rare

            sink = ExceptionLogs(sink, exceptions.connect(), keeps_events=exceptions.keeps_events)
        return SpanSender(batches, sink)

    return sender
