"""The export of the service's metrics over OTLP."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Protocol

import structlog
from opentelemetry.sdk.metrics.export import MetricExportResult

from flowspan_service.loops.metric_records import metrics_data
from flowspan_service.loops.otlp_connections import suppress_instrumentation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource

    from flowspan_service.metrics.points import Snapshot

log = structlog.get_logger("flowspan.metrics")

LAST_TIMEOUT_S = 2.0
"""The time that the last export may take."""


class Sink(Protocol):
    """A receiver of metrics, such as an exporter of OpenTelemetry."""

    def export(self, metrics_data: MetricsData, /) -> MetricExportResult:
        """Send the metrics; may block for seconds."""
        ...

    def shutdown(self) -> None:
        """Close the sink."""
        ...


class MetricsExport:
    """Exports snapshots of the figures, in the event loop of the service.

    Args:
        take: Returns a snapshot.
        sink: The receiver.
        resource: The resource of the service.
        version: The version of the service.
        place: The receiver, for the log.
    """

    def __init__(
        self,
        take: Callable[[], Awaitable[Snapshot]],
        *,
        sink: Sink,
        resource: Resource,
        version: str,
        place: str,
    ) -> None:
        self._take = take
        self._sink = sink
        self._resource = resource
        self._version = version
        self._place = place
        self._has_failed = False

    async def export(self) -> None:
        """Export a snapshot; a failure is logged."""
        try:
            await self._export()
        except Exception:
            log.exception("metrics_not_exported")

    async def close(self) -> None:
        """Export once more, within two seconds, and close the receiver."""
        try:
            await asyncio.wait_for(self._export(), LAST_TIMEOUT_S)
        except TimeoutError:
            log.warning(
                "metrics_not_exported", receiver=self._place, reason="it did not answer in time"
            )
        except Exception:
            log.exception("metrics_not_exported")
        self._sink.shutdown()

    async def _export(self) -> None:
        snapshot = await self._take()
        is_accepted = await _in_thread(lambda: self._send(snapshot))
        if not is_accepted and not self._has_failed:
            log.warning(
                "metrics_not_exported",
                receiver=self._place,
                reason="it cannot be reached, or takes no metrics (Jaeger takes none); the export "
                "is retried",
            )
        elif is_accepted and self._has_failed:
            log.info("metrics_exported_again")
        self._has_failed = not is_accepted

    def _send(self, snapshot: Snapshot) -> bool:
        suppress_instrumentation()
        data = metrics_data(snapshot, self._resource, version=self._version)
        return self._sink.export(data) is MetricExportResult.SUCCESS


async def _in_thread(function: Callable[[], bool]) -> bool:
    """Call a function in a thread of its own, which the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def settle(outcome: bool | Exception) -> None:  # noqa: FBT001 - the outcome of the function
        if done.done():
            return
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)

    def run() -> None:
        outcome: bool | Exception
        try:
            outcome = function()
        except Exception as error:  # noqa: BLE001 - the caller gets it
            outcome = error
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            return  # the loop is closed, and no task waits

    threading.Thread(target=run, name="metrics-export", daemon=True).start()
    return await done
