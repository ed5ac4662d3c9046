"""The OpenTelemetry resource of this process, for the spans that the service exports."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flowspan.connection.program import host_name, service_name
from flowspan.core.limits import (
    MAX_RESOURCE_ATTRIBUTES,
    MAX_RESOURCE_KEY_BYTES,
    MAX_RESOURCE_VALUE_BYTES,
)
from flowspan.core.values.inspection import encodable

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE_NAME = "service.name"
HOST_NAME = "host.name"
PROCESS_ID = "process.pid"

_PLAIN_TYPES = (str, bool, int, float)


def process_resource(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of the resource, within the limits of flowspan.v1.Hello.

    It is the resource of the tracer provider that the program or flowspan installed. Without one,
    it is the resource that flowspan's own provider would have. Nothing is imported for it.

    Args:
        environ: The environment of the process.
    """
    try:
        attributes = _of_provider()
    except Exception:  # noqa: BLE001 - the provider may be the program's own
        attributes = None
    if not attributes:
        attributes = _of_environment(environ)
    return dict(_limited(attributes))


def _of_provider() -> dict[str, Any] | None:
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    attributes = getattr(resource, "attributes", None)
    return dict(attributes) if isinstance(attributes, Mapping) else None


def service_name_for_children(environ: Mapping[str, str]) -> str:
    """Return the `service.name` of this process, for its worker processes.

    Args:
        environ: The environment of the process.
    """
    name = process_resource(environ).get(SERVICE_NAME, "")
    # A provider of the program's own may have the SDK's placeholder.
    return service_name(environ) if not name or name.startswith("unknown_service") else name


def default_attributes(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes of this process that the environment may replace.

    Args:
        environ: The environment of the process.
    """
    attributes: dict[str, Any] = {
        SERVICE_NAME: service_name(environ),
        HOST_NAME: host_name(),
        PROCESS_ID: os.getpid(),
    }
    return {key: value for key, value in attributes.items() if value}


def _of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    attributes = default_attributes(environ)
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = pair.partition("=")
        if equals and key.strip():
            attributes[key.strip()] = unquote(value.strip())
    name = environ.get("OTEL_SERVICE_NAME", "").strip()
    if name:
        attributes[SERVICE_NAME] = name
    return attributes


def _limited(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the attributes as text; the name of the service first, in case there are too many."""
    names = sorted((key for key in attributes if type(key) is str), key=SERVICE_NAME.__ne__)
    for key in names[:MAX_RESOURCE_ATTRIBUTES]:
        name = encodable(key)
        value = _text(attributes[key])
        if value is None or "\0" in name or not 0 < len(name.encode()) <= MAX_RESOURCE_KEY_BYTES:
            continue
        cut = value.encode()[:MAX_RESOURCE_VALUE_BYTES].decode("utf-8", "ignore")
        yield name, cut.replace("\0", "")


def _text(value: Any) -> str | None:
    """Return a value as text; None if it is of a type that OpenTelemetry does not have."""
    if type(value) is str:
        return encodable(value)
    if type(value) in _PLAIN_TYPES:
        return json.dumps(value)
    if type(value) in (tuple, list) and all(type(each) in _PLAIN_TYPES for each in value):
        return encodable(json.dumps(value, ensure_ascii=False))
    return None
