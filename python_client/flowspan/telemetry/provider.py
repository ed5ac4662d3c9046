"""The tracer provider that flowspan creates if the program has none."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version

from flowspan.connection.process_resource import HOST_NAME, PROCESS_ID, default_attributes
from flowspan.exceptions import ConfigError
from flowspan.telemetry import early
from flowspan.telemetry.export_queue import queue_limits_of
from flowspan.telemetry.exporter import ExportingProcessor
from flowspan.telemetry.fast_tracer import FastTracer, Processors
from flowspan.telemetry.process_end import begin_exit
from flowspan.telemetry.run_span import SCOPE_NAME
from flowspan.telemetry.span_ids import SpanIds
from flowspan.telemetry.transports import transport_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer
    from opentelemetry.trace import TracerProvider as AnyProvider
    from opentelemetry.util.types import Attributes

    from flowspan.telemetry.endpoint import Target

INSTANCE_ID = "service.instance.id"
_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
_UNNAMED = "unknown_service"
"""The SDK's placeholder for the name of a service that the environment does not name."""


class FlowspanProvider(TracerProvider):
    """The SDK's provider, except that it uses fast spans for runs (see `FastTracer`)."""

    def __init__(self, resource: Resource, processors: Processors) -> None:
        limits = SpanLimits()
        super().__init__(
            resource=resource,
            active_span_processor=processors,
            id_generator=SpanIds(),
            span_limits=limits,
            shutdown_on_exit=False,
        )
        self._processors, self._limits = processors, limits

    @property
    def dropped_span_count(self) -> int:
        """The number of spans that flowspan's exporters did not deliver."""
        return self._processors.dropped_count

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return a tracer: flowspan's own scope gets the fast one."""
        if instrumenting_module_name != SCOPE_NAME:
            return super().get_tracer(
                instrumenting_module_name, instrumenting_library_version, schema_url, attributes
            )
        scope = InstrumentationScope(SCOPE_NAME, instrumenting_library_version)
        return FastTracer(self, self._processors, self._limits, scope)


def install_provider(exporters: str, target: Target, environ: Mapping[str, str]) -> AnyProvider:
    """Install flowspan's provider as the global one: the provisional one, or else a new one.

    Args:
        exporters: See `make_provider`.
        target: See `make_provider`.
        environ: The environment.

    Returns:
        The global provider, which is another one if other code installed it first.

    Raises:
        ConfigError: An exporter is not installed.
    """
    provider = early.provisional() or make_provider(exporters, target, environ)
    trace.set_tracer_provider(provider)
    return trace.get_tracer_provider()


def make_provider(exporters: str, target: Target, environ: Mapping[str, str]) -> FlowspanProvider:
    """Create a provider. The end of the process exports its spans.

    The sampler, span limits and resource follow the standard variables, which the SDK reads itself.

    Args:
        exporters: The value of OTEL_TRACES_EXPORTER: "otlp", "console", or the names of installed
            exporters, separated by commas.
        target: The receiver for "otlp".
        environ: The environment.

    Raises:
        ConfigError: An exporter is not installed.
    """
    processors = Processors()
    for name in exporters.split(","):
        processors.add_span_processor(_processor(name.strip(), target, environ))
    provider = FlowspanProvider(process_resource_of(environ), processors)
    atexit.register(provider.shutdown)
    atexit.register(begin_exit)  # runs before it
    return provider


def process_resource_of(environ: Mapping[str, str]) -> Resource:
    """Return the resource of flowspan's own provider.

    OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and the resource detectors win over the defaults:
    the name of the program, the host and the process id. In a forked child, the process id becomes
    the child's, and the `service.instance.id` that the SDK chose another one.

    Args:
        environ: The environment of the process.
    """
    given = _given_resource()
    defaults = default_attributes(environ)
    if not str(given.attributes.get(SERVICE_NAME, "")).startswith(_UNNAMED):
        defaults.pop(SERVICE_NAME)
    for key in (HOST_NAME, PROCESS_ID):
        if key in given.attributes:
            defaults.pop(key, None)
    resource = given.merge(Resource(defaults))
    own: dict[str, Callable[[], str | int]] = {}
    if PROCESS_ID in defaults:
        own[PROCESS_ID] = os.getpid
    if INSTANCE_ID in given.attributes and INSTANCE_ID not in environ.get(_ATTRIBUTES, ""):
        own[INSTANCE_ID] = _new_instance_id  # the SDK chose it
    if own:
        _renew_in_forked_children(resource, own)
    return resource


def _given_resource() -> Resource:
    """Return the resource that the environment and the resource detectors describe."""
    try:
        return Resource.create()
    except RuntimeError:
        # The main thread of the program has ended, and its other threads continue. The SDK calls
        # detectors in threads of a pool, which Python refuses to start then.
        sdk = {
            TELEMETRY_SDK_LANGUAGE: "python",
            TELEMETRY_SDK_NAME: "opentelemetry",
            TELEMETRY_SDK_VERSION: sdk_version,
            SERVICE_NAME: _UNNAMED,
        }
        return Resource(sdk).merge(OTELResourceDetector().detect())


def _new_instance_id() -> str:
    return str(uuid4())


def _renew_in_forked_children(
    resource: Resource, own: Mapping[str, Callable[[], str | int]]
) -> None:
    """Update what differs in each process in the resource of forked children.

    The tracers of libraries hold the resource from before the fork, so it changes in place.

    Args:
        resource: The resource.
        own: Functions that return the values for a new process, by attribute.
    """
    reference = weakref.ref(resource)

    def renew() -> None:
        inherited = reference()
        if inherited is not None:
            renewed = {name: value() for name, value in own.items()}
            attributes = {**inherited.attributes, **renewed}
            # The SDK has no public way to change a resource, which is immutable otherwise.
            inherited._attributes = BoundedAttributes(attributes=attributes)  # noqa: SLF001 - above

    os.register_at_fork(after_in_child=renew)


def _processor(name: str, target: Target, environ: Mapping[str, str]) -> SpanProcessor:
    if name == "otlp":
        return ExportingProcessor(
            transport_to(target),
            place=target.url,
            limits=queue_limits_of(environ, target.timeout_s, "OTEL_BSP"),
        )
    if name == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stdout))
    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        msg = (
            f"OTEL_TRACES_EXPORTER names {name!r}, which is not installed: expected 'otlp', "
            "'console', 'none' or a name that a package registers as opentelemetry_traces_exporter"
        )
        raise ConfigError(msg)
    exporter: Any = next(iter(found)).load()
    return BatchSpanProcessor(exporter())
