"""Export of the service's own metrics and spans over OTLP, if it is configured."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from flowspan_service.config import Config
    from flowspan_service.loops.metric_exporter import MetricsExport
    from flowspan_service.loops.own_spans import OwnSpans
    from flowspan_service.metrics.points import Snapshot

log = structlog.get_logger("flowspan.telemetry")

DEFAULT_INTERVAL_S = 60.0


@contextlib.asynccontextmanager
async def exporting_metrics(
    config: Config,
    environ: Mapping[str, str],
    take: Callable[[], Awaitable[Snapshot]],
    *,
    version: str,
) -> AsyncIterator[None]:
    """Export metrics during the block and at its end; no-op unless configured.

    Args:
        config: The settings.
        environ: The environment, whose standard variables apply.
        take: Returns a snapshot of the figures.
        version: The version of the service.
    """
    if not config.otlp_metrics or _is_disabled(environ):
        yield
        return
    export = _LateExport(lambda: _metrics_export(config, environ, take, version))
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
    config: Config, environ: Mapping[str, str], *, version: str
) -> Iterator[OwnSpans | None]:
    """Yield the maker of the service's own spans; None unless they are configured.

    Args:
        config: The settings.
        environ: The environment, whose standard variables apply.
        version: The version of the service.
    """
    spans = None
    if config.own_spans and not _is_disabled(environ):
        try:
            spans = _own_spans(config, environ, version)
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


def _metrics_export(
    config: Config,
    environ: Mapping[str, str],
    take: Callable[[], Awaitable[Snapshot]],
    version: str,
) -> MetricsExport:
    from flowspan_service.loops import own_receiver  # noqa: PLC0415 - start-up cost
    from flowspan_service.loops.metric_exporter import (  # noqa: PLC0415 - start-up cost
        MetricsExport,
    )

    receiver = own_receiver.own_receiver(
        "metrics", endpoint=config.otlp_endpoint, protocol=config.otlp_protocol, environ=environ
    )
    return MetricsExport(
        take,
        sink=own_receiver.metric_exporter(receiver),
        resource=own_receiver.own_resource(
            environ, version=version, is_embedded=config.is_embedded
        ),
        version=version,
        place=receiver.url or "the receiver of OTEL_EXPORTER_OTLP_*",
    )


def _own_spans(config: Config, environ: Mapping[str, str], version: str) -> OwnSpans:
    from flowspan_service.loops import own_receiver  # noqa: PLC0415 - start-up cost
    from flowspan_service.loops.own_spans import OwnSpans  # noqa: PLC0415 - start-up cost

    receiver = own_receiver.own_receiver(
        "traces", endpoint=config.otlp_endpoint, protocol=config.otlp_protocol, environ=environ
    )
    return OwnSpans(
        own_receiver.span_exporter(receiver),
        resource=own_receiver.own_resource(
            environ, version=version, is_embedded=config.is_embedded
        ),
        version=version,
    )


def _is_disabled(environ: Mapping[str, str]) -> bool:
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
