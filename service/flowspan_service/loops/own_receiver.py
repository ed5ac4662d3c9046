"""The receiver of the service's own metrics and spans.

OpenTelemetry is slow to import and seldom needed, so `loops.own_telemetry` imports this late.
"""

from __future__ import annotations

import logging
import socket
import uuid
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OTLP_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

OWN_SERVICE_NAME = "flowspan-service"

_NOISY = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
"""The loggers of exporters, which log each of their tries."""


class Receiver(NamedTuple):
    """A receiver of one kind of data."""

    protocol: str
    """OTLP_GRPC or OTLP_HTTP."""
    url: str | None
    """None for the one that OpenTelemetry's variables name, or its default."""


def own_receiver(
    signal: str, *, endpoint: str, protocol: str, environ: Mapping[str, str]
) -> Receiver:
    """Return the receiver of a kind of data.

    Args:
        signal: The kind of data: "traces" or "metrics".
        endpoint: The setting --otlp-endpoint; empty for the standard variables.
        protocol: The protocol of the service's receiver, unless a variable names another one for
            this kind of data.
        environ: The environment.
    """
    if endpoint:
        url = endpoint if "://" in endpoint else f"http://{endpoint}"
        return Receiver(
            protocol, f"{url.rstrip('/')}/v1/{signal}" if protocol == OTLP_HTTP else url
        )
    named = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "").strip().lower()
    return Receiver(named if named in OTLP_PROTOCOLS else protocol, None)


def own_resource(environ: Mapping[str, str], *, version: str, is_embedded: bool) -> Resource:
    """Return the resource of the service itself.

    Args:
        environ: The environment. Its OTEL_RESOURCE_ATTRIBUTES apply; its OTEL_SERVICE_NAME, too,
            unless it is that of the program which started the service.
        version: The version of the service.
        is_embedded: True if a program started the service for itself.
    """
    attributes = {
        "service.version": version,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
    }
    name = environ.get("OTEL_SERVICE_NAME", "").strip()
    attributes[SERVICE_NAME] = OWN_SERVICE_NAME if is_embedded or not name else name
    return Resource.create().merge(Resource(attributes))


def metric_exporter(receiver: Receiver) -> MetricExporter:
    """Return the exporter of metrics for a receiver."""
    _quieten()
    if receiver.protocol == OTLP_GRPC:
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - one of two
            metric_exporter as over_grpc,
        )

        return over_grpc.OTLPMetricExporter(endpoint=receiver.url)
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415 - one of two
        metric_exporter as over_http,
    )

    return over_http.OTLPMetricExporter(endpoint=receiver.url)


def span_exporter(receiver: Receiver) -> SpanExporter:
    """Return the exporter of spans for a receiver."""
    _quieten()
    if receiver.protocol == OTLP_GRPC:
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - one of two
            trace_exporter as over_grpc,
        )

        return over_grpc.OTLPSpanExporter(endpoint=receiver.url)
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415 - one of two
        trace_exporter as over_http,
    )

    return over_http.OTLPSpanExporter(endpoint=receiver.url)


def _quieten() -> None:
    """Keep the exporters from logging each try; their callers log what matters."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
