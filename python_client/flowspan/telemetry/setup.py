"""The decision whether and where to trace.

The first of these rules that applies decides:

1. ``FLOWSPAN_TRACING=false`` or ``OTEL_SDK_DISABLED=true``: no spans.
2. A tracer provider that the program installed: it creates the spans and exports them as it likes.
3. The standard ``OTEL_TRACES_EXPORTER`` and ``OTEL_EXPORTER_OTLP_*`` variables.
4. ``FLOWSPAN_OTLP_ENDPOINT``.
5. The endpoint that the service announces.
6. ``FLOWSPAN_TRACING=true``: OpenTelemetry's default endpoint, http://localhost:4317.

Otherwise there are no traces, and OpenTelemetry is not even imported. With rules 3 to 6, flowspan
creates the provider and installs it as the global one, so that instrumented libraries need no
setup of their own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from flowspan.config import Config, get_config
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import TracerProvider

    from flowspan.telemetry.run_span import SpanTracer

logger = logging.getLogger("flowspan.telemetry")

WELCOME_WAIT_S = 0.25
"""Time that the first run of a process waits for a remote service to announce an endpoint."""
DEFAULT_ENDPOINT = "http://localhost:4317"


class Decision(NamedTuple):
    """The outcome of the decision.

    Attributes:
        tracer: The tracer for the spans of runs; None for no tracing.
        is_final: False if a later run should decide again, because no rule has applied yet.
    """

    tracer: SpanTracer | None
    is_final: bool


def decide(
    config: Config | None,
    service_endpoint: Callable[[float], str | None] | None,
    *,
    wait_s: float = WELCOME_WAIT_S,
    environ: Mapping[str, str] | None = None,
) -> Decision:
    """Decide whether and where to trace, by the rules of this module.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Asks the service for its endpoint, waiting at most this number of seconds.
        wait_s: Time to wait for the service.
        environ: The environment; the process's by default.
    """
    environ = os.environ if environ is None else environ
    try:
        config = config or get_config()
        if config.tracing is False or _is_true(environ.get("OTEL_SDK_DISABLED", "")):
            return Decision(None, is_final=True)
        provider = installed_provider(environ)
        if provider is not None:
            return Decision(_tracer(provider, config, environ), is_final=True)
        return _own(config, service_endpoint, wait_s, environ)
    except Exception as error:
        logger.warning("Tracing is off: %s", error, exc_info=logger.isEnabledFor(logging.DEBUG))
        return Decision(None, is_final=True)


def installed_provider(environ: Mapping[str, str]) -> TracerProvider | None:
    """Return the tracer provider that the program installed, or None, without imports."""
    if "opentelemetry.trace" not in sys.modules and "OTEL_PYTHON_TRACER_PROVIDER" not in environ:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - imported already, or asked for

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider


def _own(
    config: Config,
    service_endpoint: Callable[[float], str | None] | None,
    wait_s: float,
    environ: Mapping[str, str],
) -> Decision:
    """Apply rules 3 to 6."""
    from flowspan.telemetry.endpoint import names_endpoint, target_of  # noqa: PLC0415 - start-up cost

    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporters.lower() == "none":
        return Decision(None, is_final=True)
    if exporters:
        target = target_of(environ)
    elif names_endpoint(environ):
        exporters, target = "otlp", target_of(environ)
    else:
        endpoint = config.otlp_endpoint or _told_endpoint(config, service_endpoint, wait_s)
        if not endpoint and config.tracing is None:
            return Decision(None, is_final=False)
        exporters, target = "otlp", target_of(environ, endpoint or DEFAULT_ENDPOINT)
    from flowspan.telemetry.provider import install_provider  # noqa: PLC0415 - imports the SDK

    provider = install_provider(exporters, target, environ)
    return Decision(_tracer(provider, config, environ), is_final=True)


def _told_endpoint(
    config: Config, service_endpoint: Callable[[float], str | None] | None, wait_s: float
) -> str | None:
    """Return the endpoint of the service: from the local one's file, or a remote one's Welcome."""
    if config.address is None:
        try:
            facts = json.loads((config.home / "service.json").read_bytes())
            return str(facts.get("otlp_endpoint") or "") or None
        except (OSError, ValueError, AttributeError):
            wait_s = 0.0  # It is still starting, and inherits this process's settings.
    return service_endpoint(wait_s) if service_endpoint is not None else None


def _tracer(provider: TracerProvider, config: Config, environ: Mapping[str, str]) -> SpanTracer:
    from flowspan.telemetry.parameters import shown_parameters  # noqa: PLC0415 - start-up cost
    from flowspan.telemetry.run_span import SCOPE_NAME, SpanTracer  # noqa: PLC0415 - start-up cost

    tracer = provider.get_tracer(SCOPE_NAME, __version__)
    return SpanTracer(
        tracer, environ=environ, provider=provider, parameters=shown_parameters(config)
    )


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"
