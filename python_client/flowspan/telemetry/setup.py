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

import logging
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from flowspan.config import Config, get_config
from flowspan.connection.otlp_target import published_target
from flowspan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import TracerProvider

    from flowspan.connection.otlp_target import OtlpTarget
    from flowspan.telemetry.endpoint import Target
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
    service_endpoint: Callable[[float], OtlpTarget | None] | None,
    *,
    wait_s: float = WELCOME_WAIT_S,
    environ: Mapping[str, str] | None = None,
) -> Decision:
    """Decide whether and where to trace, by the rules of this module.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Asks the service for its receivers; waits at most this number of seconds.
        wait_s: Time to wait for the service.
        environ: The environment; the process's by default.
    """
    environ = os.environ if environ is None else environ
    try:
        config = config or get_config()
        if _is_off(config, environ):
            return Decision(None, is_final=True)
        provider = installed_provider(environ)
        if provider is not None:
            _leave_early()
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


def load(
    config: Config | None,
    service_endpoint: Callable[[float], OtlpTarget | None] | None,
    environ: Mapping[str, str],
) -> None:
    """Import what spans need, if `decide` would probably create a provider. Never raises.

    Args:
        config: The client's settings; those of the process by default.
        service_endpoint: Returns the receivers that the service announced.
        environ: The environment.
    """
    from flowspan.telemetry.endpoint import names_endpoint  # noqa: PLC0415 - start-up cost

    try:
        config = config or get_config()
        told = None if config.otlp_endpoint else _told_target(config, service_endpoint, 0.0)
        named = names_endpoint(environ) or environ.get("OTEL_TRACES_EXPORTER")
        is_asked = named or config.otlp_endpoint or told or config.tracing
        if not is_asked or _is_off(config, environ):
            return
        from flowspan.telemetry import provider, remote_span  # noqa: F401, PLC0415 - import the SDK
        from flowspan.telemetry.transports import load_transport  # noqa: PLC0415 - start-up cost

        load_transport(_target_of(config, told, environ))
    except Exception:
        # The first run finds the same problem, and logs a warning.
        logger.debug("Modules for spans could not be imported.", exc_info=True)


def trace_early(environ: Mapping[str, str]) -> None:
    """Record the spans of start-up code by rules 1 to 3, before the first run decides."""
    if installed_provider(environ) is not None:
        return
    from flowspan.telemetry import early  # noqa: PLC0415 - imports OpenTelemetry

    early.stand_in(lambda: _early_provider(environ))


def _early_provider(environ: Mapping[str, str]) -> TracerProvider | None:
    """Return a provider by rules 1 and 3, without installing it."""
    from flowspan.telemetry.endpoint import target_of  # noqa: PLC0415 - start-up cost
    from flowspan.telemetry.provider import make_provider  # noqa: PLC0415 - imports the SDK

    try:
        exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
        if _is_off(get_config(), environ) or exporters.lower() == "none":
            return None
        return make_provider(exporters, target_of(environ), environ)
    except Exception:
        # The first run decides again, and logs a warning.
        logger.debug("Start-up code is not traced.", exc_info=True)
        return None


def _leave_early() -> None:
    early = sys.modules.get("flowspan.telemetry.early")
    if early is not None:
        early.leave()


def _own(
    config: Config,
    service_endpoint: Callable[[float], OtlpTarget | None] | None,
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
        told = None
        if not config.otlp_endpoint:
            told = _told_target(config, service_endpoint, wait_s)
            if told is None and config.tracing is None:
                return Decision(None, is_final=False)
        exporters, target = "otlp", _target_of(config, told, environ)
    from flowspan.telemetry.provider import install_provider  # noqa: PLC0415 - imports the SDK

    provider = install_provider(exporters, target, environ)
    _leave_early()
    return Decision(_tracer(provider, config, environ), is_final=True)


def _target_of(config: Config, told: OtlpTarget | None, environ: Mapping[str, str]) -> Target:
    """Return the receiver of rules 4 to 6, with the options that the environment sets."""
    from flowspan.telemetry.endpoint import target_of  # noqa: PLC0415 - start-up cost

    target = target_of(environ, config.otlp_endpoint or DEFAULT_ENDPOINT)
    if told is None:
        return target
    return replace(target, url=_with_scheme(told.traces_url), protocol=told.protocol)


def _told_target(
    config: Config, service_endpoint: Callable[[float], OtlpTarget | None] | None, wait_s: float
) -> OtlpTarget | None:
    """Return the receivers of the service: from the local one's file, or a remote one's Welcome.

    None if it tells no receiver of spans.
    """
    told = None
    try:
        told = (
            published_target(config.home)
            if config.address is None
            else _ask(service_endpoint, wait_s)
        )
    except (OSError, ValueError):
        told = _ask(service_endpoint, 0.0)  # It is starting, and inherits this process's settings.
    return told if told is not None and told.traces_url else None


def _ask(
    service_endpoint: Callable[[float], OtlpTarget | None] | None, wait_s: float
) -> OtlpTarget | None:
    return service_endpoint(wait_s) if service_endpoint is not None else None


def _with_scheme(url: str) -> str:
    """Return a URL; older services tell "host:port" alone."""
    return url if "://" in url else f"http://{url}"


def _tracer(provider: TracerProvider, config: Config, environ: Mapping[str, str]) -> SpanTracer:
    from flowspan.telemetry.parameters import shown_parameters  # noqa: PLC0415 - start-up cost
    from flowspan.telemetry.run_span import SCOPE_NAME, SpanTracer  # noqa: PLC0415 - start-up cost

    tracer = provider.get_tracer(SCOPE_NAME, __version__)
    return SpanTracer(
        tracer, environ=environ, provider=provider, parameters=shown_parameters(config)
    )


def _is_off(config: Config, environ: Mapping[str, str]) -> bool:
    return config.tracing is False or _is_true(environ.get("OTEL_SDK_DISABLED", ""))


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"
