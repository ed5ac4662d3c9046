"""The receivers of this process's spans and logs, as the service is told them in Hello.

With them, the service exports the spans of runs whose process died where the process itself exports
its spans. The answer follows from the settings and the environment; OpenTelemetry is not imported.
`flowspan.telemetry.setup` makes the same decision for the spans of this process.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from flowspan.core.limits import MAX_OTLP_URL_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flowspan.config import Config

GRPC = "grpc"
HTTP = "http/protobuf"
TRACES = "TRACES"
LOGS = "LOGS"

_PREFIX = "OTEL_EXPORTER_OTLP_"
_DEFAULT_ENDPOINTS = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_HTTP_PATHS = {TRACES: "/v1/traces", LOGS: "/v1/logs"}


class OtlpTarget(NamedTuple):
    """The receivers of OpenTelemetry data; see flowspan.v1.OtlpTarget."""

    protocol: str
    """GRPC or HTTP."""
    traces_url: str = ""
    """The receiver of spans; empty for none."""
    logs_url: str = ""
    """The receiver of logs; empty for none."""


def own_target(
    config: Config, environ: Mapping[str, str], *, has_provider: bool, is_told: bool = False
) -> OtlpTarget | None:
    """Return the receivers of this process by its own configuration.

    Args:
        config: The client's settings.
        environ: The environment.
        has_provider: True if the program installed a tracer provider of its own. The variables of
            the environment then count as its configuration.
        is_told: True if the service told its receiver, which FLOWSPAN_TRACING=true alone does not
            replace.

    Returns:
        The receivers, without credentials; None if the process sends its spans and logs nowhere, or
        where the service told it.
    """
    if config.tracing is False or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    traces = _traces(config, environ, has_provider=has_provider, is_told=is_told)
    logs = _logs(config, environ)
    if traces is None and logs is None:
        return None
    protocol = (traces or logs or ("", ""))[0]
    # One target has one protocol. Spans count more than logs.
    logs_url = logs[1] if logs is not None and logs[0] == protocol else ""
    return OtlpTarget(protocol, traces[1] if traces is not None else "", logs_url)


def _traces(
    config: Config, environ: Mapping[str, str], *, has_provider: bool, is_told: bool
) -> tuple[str, str] | None:
    """Return the protocol and the receiver of spans; None for none."""
    endpoint = config.otlp_endpoint
    if has_provider and endpoint:  # the setting for providers that flowspan did not make
        return _receiver(environ, TRACES, endpoint)
    exporters = _names(environ, "OTEL_TRACES_EXPORTER")
    if exporters:
        return _receiver(environ, TRACES) if "otlp" in exporters else None
    if _value(environ, TRACES, "ENDPOINT"):
        return _receiver(environ, TRACES)
    if endpoint:
        return _receiver(environ, TRACES, endpoint)
    if config.tracing and not has_provider and not is_told:
        return _receiver(environ, TRACES, _DEFAULT_ENDPOINTS[GRPC])
    return None


def _logs(config: Config, environ: Mapping[str, str]) -> tuple[str, str] | None:
    if "otlp" not in _names(environ, "OTEL_LOGS_EXPORTER"):
        return None
    is_named = _value(environ, LOGS, "ENDPOINT")
    return _receiver(environ, LOGS, None if is_named else config.otlp_endpoint)


def _receiver(
    environ: Mapping[str, str], signal: str, endpoint: str | None = None
) -> tuple[str, str] | None:
    """Return the protocol and the URL of a receiver; None if a variable has a wrong value."""
    protocol = _value(environ, signal, "PROTOCOL") or GRPC
    if protocol not in _DEFAULT_ENDPOINTS:
        return None
    url = endpoint or _value(environ, signal, "ENDPOINT") or _DEFAULT_ENDPOINTS[protocol]
    if "://" not in url:
        insecure = _value(environ, signal, "INSECURE").lower() == "true" or endpoint is not None
        url = f"{'http' if insecure else 'https'}://{url}"
    is_whole = endpoint is None and environ.get(f"{_PREFIX}{signal}_ENDPOINT", "").strip()
    # A general endpoint is a base over HTTP; one for a signal alone is used unchanged.
    plain = _plain(url, protocol, more_path="" if is_whole else _HTTP_PATHS[signal])
    return None if plain is None else (protocol, plain)


def _plain(url: str, protocol: str, *, more_path: str) -> str | None:
    """Return a URL without user, password, query and fragment; None if it is none.

    Args:
        url: The URL.
        protocol: GRPC, which has no paths, or HTTP.
        more_path: The path to append to its own, for HTTP.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    path = ""
    if protocol == HTTP:
        path = parts.path.rstrip("/") + more_path if more_path else parts.path
    plain = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"
    if not is_valid or not plain.isprintable() or " " in plain:
        return None
    return plain if len(plain.encode(errors="replace")) <= MAX_OTLP_URL_BYTES else None


def _value(environ: Mapping[str, str], signal: str, name: str) -> str:
    for variable in (f"{_PREFIX}{signal}_{name}", f"{_PREFIX}{name}"):
        text = environ.get(variable, "").strip()
        if text:
            return text
    return ""


def _names(environ: Mapping[str, str], variable: str) -> list[str]:
    return [name.strip().lower() for name in environ.get(variable, "").split(",") if name.strip()]


def published_target(home: Path) -> OtlpTarget | None:
    """Return the receivers that the local service tells its clients in `<home>/service.json`.

    Raises:
        OSError, ValueError: There is no such file (yet), or it is malformed.
    """
    facts = json.loads((home / "service.json").read_bytes())
    if not isinstance(facts, dict):
        raise ValueError("it is no object")
    return told_target(facts.get("otlp_target"), facts.get("otlp_endpoint"))


def told_target(target: Any, endpoint: Any) -> OtlpTarget | None:
    """Return the receivers in the answer of a service; None if it tells none.

    Args:
        target: The mapping of its receivers; None or empty from a service that has none, or is
            older.
        endpoint: Its OTLP/gRPC endpoint, which an older service tells alone.
    """
    if isinstance(target, dict) and (target.get("traces_url") or target.get("logs_url")):
        names = ("protocol", "traces_url", "logs_url")
        protocol, traces_url, logs_url = (str(target.get(name) or "") for name in names)
        return OtlpTarget(protocol or GRPC, traces_url, logs_url)
    return OtlpTarget(GRPC, str(endpoint)) if endpoint else None


def own_provider() -> bool:
    """Return True if the program installed a tracer provider; nothing is imported."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    kind = type(trace.get_tracer_provider())
    proxy = getattr(trace, "ProxyTracerProvider", None)
    return kind is not proxy and not kind.__module__.startswith("flowspan.")
