"""The decision whether this process has metrics. Without metrics, nothing is imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTER = "OTEL_METRICS_EXPORTER"
_NO_PROVIDERS = frozenset({"_ProxyMeterProvider", "NoOpMeterProvider"})


class ReportFigures(Protocol):
    """The figures of the reporter.

    Attributes:
        lost_logs: Number of log records that were dropped for lack of space.
        lost_states: Number of states that were dropped for lack of space.
        meter: The counter of runs; None without metrics.
        meter_key: The choice that led to the meter.
    """

    lost_logs: int
    lost_states: int
    meter: Any
    meter_key: object

    def waiting_events(self) -> int:
        """Return the number of events that the service has not acknowledged."""
        ...

    def spooled_events(self) -> int:
        """Return the number of events that were written to spools."""
        ...

    def spool_bytes(self) -> int:
        """Return the size of the spools of this process."""
        ...


def wants_metrics(environ: Mapping[str, str]) -> bool:
    """Return True if the environment, or a meter provider of the program, asks for metrics."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get(EXPORTER, "").strip().lower()
    return exporters != "none" and (bool(exporters) or has_meter_provider())


def has_meter_provider() -> bool:
    """Return True if the program installed a meter provider."""
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return False
    return type(metrics.get_meter_provider()).__name__ not in _NO_PROVIDERS


def choice_key(environ: Mapping[str, str], endpoint: str | None) -> tuple[object, ...]:
    """Return a key that changes if metrics may have to go elsewhere.

    Args:
        environ: The environment.
        endpoint: The setting otlp_endpoint.
    """
    settings = sorted(pair for pair in environ.items() if pair[0].startswith("OTEL_"))
    return (has_meter_provider(), endpoint, *settings)
