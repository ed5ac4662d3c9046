"""Export of the service's own metrics and spans over OTLP, if it is configured."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

import structlog

from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.loops.otlp_receivers import own_receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from flowspan_service.config import Config
    from flowspan_service.loops.metric_exporter import MetricsExport
    from flowspan_service.loops.otlp_connections import Connect, Connection
    from flowspan_service.loops.own_spans import OwnSpans
    from flowspan_service.metrics.points import Snapshot

log = structlog.get_logger("flowspan.telemetry")

DEFAULT_INTERVAL_S = 60.0


@contextlib.asynccontextmanager
async def exporting_metrics(
    config: Config,
    environ: Mapping[str, str],
    connect: Connect,
    take: Callable[[], Awaitable[Snapshot]],
    *,
    version: str,
) -> AsyncIterator[None]:
    """Export metrics during the block and at its end; no-op unless configured.

    Args:
        config: The settings.
        environ: The environment, whose standard variables apply.
        connect: Connects to receivers.
        take: Returns a snapshot of the figures.
        version: The version of the service.
    """
    receiver = None
    if config.otlp_metrics:
        receiver = own_receiver(Signal.METRICS, config, environ, has_default=True)
    if receiver is None:
        yield
        return
    connection = connect(Signal.METRICS, receiver)
    about = _About(environ, version=version, is_embedded=config.is_embedded)
    place = receiver.shown
    export = _LateExport(lambda: _metrics_export(connection, take, about, place=place))
    exporting = asyncio.create_task(export.run(interval_s(environ)))
    try:
        yield
    finally:
        exporting.cancel()
        await asyncio.gather(exporting, return_exceptions=True)
        await export.close()


class _LateExport:
    """An export that is made for its first use: OpenTelemetry would delay the service's start.

    Args:
        make: Makes the export; it imports, so it is called in a thread.
    """

    def __init__(self, make: Callable[[], MetricsExport]) -> None:
        self._make = make
        self._made: MetricsExport | None = None
        self._is_off = False

    async def run(self, pause_s: float) -> None:
        """Export after each pause, until cancelled."""
        while not self._is_off:
            await asyncio.sleep(pause_s)
            export = await self._get()
            if export is not None:
                await export.export()

    async def close(self) -> None:
        """Export once more, within two seconds, and close the receiver."""
        export = await self._get()
        if export is not None:
            await export.close()

    async def _get(self) -> MetricsExport | None:
        if self._made is None and not self._is_off:
            try:
                self._made = await asyncio.to_thread(self._make)
            except Exception:
                self._is_off = True
                log.exception("metrics_off")
        return self._made


@contextlib.contextmanager
def making_own_spans(
    config: Config, environ: Mapping[str, str], connect: Connect, *, version: str
) -> Iterator[OwnSpans | None]:
    """Yield the maker of the service's own spans; None unless they are configured.

    Args:
        config: The settings.
        environ: The environment, whose standard variables apply.
        connect: Connects to receivers.
        version: The version of the service.
    """
    spans, receiver = None, None
    if config.own_spans:
        receiver = own_receiver(Signal.TRACES, config, environ, has_default=True)
    if receiver is not None:
        about = _About(environ, version=version, is_embedded=config.is_embedded)
        try:
            spans = _own_spans(connect(Signal.TRACES, receiver), about)
        except Exception:
            log.exception("own_spans_off")
    try:
        yield spans
    finally:
        if spans is not None:
            spans.close()


def interval_s(environ: Mapping[str, str]) -> float:
    """Return the time between two exports; values that are not positive numbers are ignored."""
    try:
        value = float(environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1000
    except ValueError:
        return DEFAULT_INTERVAL_S
    return value if 0 < value < float("inf") else DEFAULT_INTERVAL_S


class _About(NamedTuple):
    """The facts that describe the service in its telemetry."""

    environ: Mapping[str, str]
    version: str
    is_embedded: bool


def _metrics_export(
    connection: Connection,
    take: Callable[[], Awaitable[Snapshot]],
    about: _About,
    *,
    place: str,
) -> MetricsExport:
    from flowspan_service.loops.metric_exporter import (  # noqa: PLC0415 - start-up cost
        MetricsExport,
    )
    from flowspan_service.loops.own_sinks import (  # noqa: PLC0415 - start-up cost
        MetricSink,
        own_resource,
    )

    return MetricsExport(
        take,
        sink=MetricSink(connection),
        resource=own_resource(about.environ, version=about.version, is_embedded=about.is_embedded),
        version=about.version,
        place=place,
    )


def _own_spans(connection: Connection, about: _About) -> OwnSpans:
    from flowspan_service.loops.own_sinks import (  # noqa: PLC0415 - start-up cost
        OwnSpanSink,
        own_resource,
    )
    from flowspan_service.loops.own_spans import OwnSpans  # noqa: PLC0415 - start-up cost

    return OwnSpans(
        OwnSpanSink(connection),
        resource=own_resource(about.environ, version=about.version, is_embedded=about.is_embedded),
        version=about.version,
    )
