"""The receivers by the settings and the environment of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from flowspan_service.domain.otlp_receivers import Receiver, Receivers, Signal, place_of, url_at
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OTLP_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowspan_service.config import Config

log = structlog.get_logger("flowspan.telemetry")

_PREFIX = "OTEL_EXPORTER_OTLP_"
_DEFAULT_ENDPOINTS = {OTLP_GRPC: "http://localhost:4317", OTLP_HTTP: "http://localhost:4318"}


def receivers_of(
    signal: Signal, config: Config, environ: Mapping[str, str], *, is_private: bool
) -> Receivers:
    """Return the receivers of the spans or the logs of runs.

    Args:
        signal: TRACES or LOGS. The service's own receiver gets logs only if the settings ask for
            it.
        config: The settings.
        environ: The environment.
        is_private: True if only this machine can reach the service.
    """
    has_own = signal != Signal.LOGS or config.otlp_logs
    own = own_receiver(signal, config, environ) if has_own else None
    allows_clients = is_private if config.client_otlp == "auto" else config.client_otlp == "always"
    return Receivers(signal, own, allows_clients=allows_clients)


def own_receiver(
    signal: Signal, config: Config, environ: Mapping[str, str], *, has_default: bool = False
) -> Receiver | None:
    """Return the receiver of the service for a signal; None if none is configured.

    It is the one of ``--otlp-endpoint``, or else of the standard OTEL_EXPORTER_OTLP_* variables.

    Args:
        signal: The kind of data.
        config: The settings.
        environ: The environment.
        has_default: True for the receiver on this machine's usual port if none is configured.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    protocol, base, url = config.otlp_protocol, config.otlp_endpoint.strip(), ""
    if not base:
        protocol = _protocol(signal, config, environ)
        url = environ.get(f"{_PREFIX}{signal.upper()}_ENDPOINT", "").strip()
        base = environ.get(f"{_PREFIX}ENDPOINT", "").strip()
        base = base or (_DEFAULT_ENDPOINTS[protocol] if has_default else "")
    url = url or (base and url_at(base, protocol, signal))
    if not url:
        return None
    if "://" not in url:
        url = f"http://{url}"
    if place_of(url) is None:
        log.warning(
            "otlp_endpoint_invalid",
            signal=str(signal),
            reason="the service has no receiver of its own: expected a URL such as "
            "http://localhost:4317 in --otlp-endpoint, FLOWSPAN_OTLP_ENDPOINT or "
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        )
        return None
    return Receiver(protocol, url, is_own=True)


def _protocol(signal: Signal, config: Config, environ: Mapping[str, str]) -> str:
    """Return the protocol of the receiver that the standard variables name."""
    if signal == Signal.TRACES:
        return config.otlp_protocol  # by the variable of this signal, unless a flag precedes it
    named = environ.get(f"{_PREFIX}{signal.upper()}_PROTOCOL", "").strip().lower()
    return named if named in OTLP_PROTOCOLS else config.otlp_protocol
