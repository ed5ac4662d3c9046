"""The receivers of logs by the settings and the environment of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.log_receivers import LogReceiver, LogReceivers
from flowspan_service.domain.sessions import OTLP_HTTP, OTLP_PROTOCOLS
from flowspan_service.loops.span_exporter_lifecycle import ExceptionSignal
from flowspan_service.transports.listening import is_private
from flowspan_service.transports.log_sinks import LogSinks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.config import Config

_PREFIX = "OTEL_EXPORTER_OTLP_"
_HTTP_PATH = "/v1/logs"


def log_receivers_of(config: Config, environ: Mapping[str, str]) -> LogReceivers:
    """Return the receivers of logs: the service's own, and whether clients may name others."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return LogReceivers()
    allows_clients = (
        is_private(config) if config.client_otlp == "auto" else config.client_otlp == "always"
    )
    own = _own_receiver(config, environ) if config.otlp_logs else None
    return LogReceivers(own, allows_clients=allows_clients)


def exception_signal_of(
    receivers: LogReceivers, environ: Mapping[str, str]
) -> ExceptionSignal | None:
    """Return how the service's own receiver gets exceptions; None for events of spans.

    Args:
        receivers: The receivers of logs. Without one of the service, the events stay.
        environ: The environment, which may opt in to log records.
    """
    choice = environ.get("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "").strip().lower()
    own = receivers.of(None)
    if own is None or choice not in ("logs", "logs/dup"):
        return None
    return ExceptionSignal(lambda: LogSinks(environ)(own), keeps_events=choice == "logs/dup")


def _own_receiver(config: Config, environ: Mapping[str, str]) -> LogReceiver | None:
    """Return the receiver of ``--otlp-endpoint``, or else of the standard variables."""
    protocol, url, is_base = config.otlp_protocol, config.otlp_endpoint.strip(), True
    if not url:
        url = environ.get(f"{_PREFIX}LOGS_ENDPOINT", "").strip()
        is_base = not url
        url = url or environ.get(f"{_PREFIX}ENDPOINT", "").strip()
        named = environ.get(f"{_PREFIX}LOGS_PROTOCOL", "").strip().lower()
        protocol = named if named in OTLP_PROTOCOLS else protocol
    if not url:
        return None
    if "://" not in url:
        url = f"http://{url}"
    if protocol == OTLP_HTTP and is_base:
        url = url.rstrip("/") + _HTTP_PATH
    return LogReceiver(protocol, url, is_own=True)
