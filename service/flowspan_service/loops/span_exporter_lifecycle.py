"""Export of the spans that clients cannot export. OpenTelemetry is imported with the first one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.loops.loop_claims import holder_name
from flowspan_service.loops.span_exporter import SpanExporter
from flowspan_service.loops.span_watermark import OldWatermark
from flowspan_service.process.live_processes import exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.config import Config
    from flowspan_service.domain.otlp_receivers import Receiver, Receivers
    from flowspan_service.domain.span_facts import SpanDecoder
    from flowspan_service.loops.otlp_connections import Connect
    from flowspan_service.loops.span_lanes import Sender

WATERMARK_FILE = "spans-exported"
LATE_START_S = 2.0
"""The delay of the first search of a service without a receiver of its own: it must not slow down
the first run of a local service."""


class ExceptionSignal(NamedTuple):
    """The export of exceptions to the service's own receiver as log records."""

    receiver: Receiver
    """The receiver of logs."""
    keeps_events: bool
    """True if the spans keep their events as well."""


def exception_signal_of(logs: Receivers, environ: Mapping[str, str]) -> ExceptionSignal | None:
    """Return the receiver of exceptions as log records; None if they stay events of spans.

    Args:
        logs: The receivers of logs. Without one of the service, the events stay.
        environ: The environment, which may opt in to log records.
    """
    choice = environ.get("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "").strip().lower()
    if logs.own is None or choice not in ("logs", "logs/dup"):
        return None
    return ExceptionSignal(logs.own, keeps_events=choice == "logs/dup")


@contextlib.contextmanager
def exporting_spans(
    config: Config,
    store: Store,
    clock: Clock,
    receivers: Receivers,
    decoder: SpanDecoder,
    connect: Connect,
    exceptions: ExceptionSignal | None = None,
) -> Iterator[SpanExporter]:
    """Export spans during the block; yield the exporter.

    Args:
        config: Names the folder where an earlier version left its position.
        store: The store.
        clock: The time.
        receivers: Where spans go.
        decoder: Decodes the facts that spans show.
        connect: Connects to receivers.
        exceptions: How the service's own receiver gets exceptions; None for events of spans.
    """
    exporter = SpanExporter(
        store,
        clock,
        receivers=receivers,
        senders=_senders(store, decoder, connect, exceptions),
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
    connect: Connect,
    exceptions: ExceptionSignal | None,
) -> Callable[[Receiver], Sender]:
    def sender(receiver: Receiver) -> Sender:
        # OpenTelemetry is slow to import and seldom needed.
        from flowspan_service.loops.span_batches import SpanBatches  # noqa: PLC0415 - start-up cost
        from flowspan_service.loops.span_resources import (  # noqa: PLC0415 - start-up cost
            service_resource,
        )
        from flowspan_service.loops.span_senders import (  # noqa: PLC0415 - start-up cost
            Sink,
            SpanSender,
            SpanSink,
        )

        batches = SpanBatches(store, service_resource(), decoder)
        sink: Sink = SpanSink(connect(Signal.TRACES, receiver))
        if receiver.is_own and exceptions is not None:
            from flowspan_service.loops.span_exceptions import ExceptionLogs  # noqa: PLC0415 - rare

            logs = connect(Signal.LOGS, exceptions.receiver)
            sink = ExceptionLogs(sink, logs, keeps_events=exceptions.keeps_events)
        return SpanSender(batches, sink)

    return sender
