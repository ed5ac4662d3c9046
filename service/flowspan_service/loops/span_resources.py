"""The resources of the spans that the service exports: those of the clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from flowspan_service.domain.resource_attributes import resource_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.sessions import SpanSource

DEFAULT_SERVICE_NAME = "flowspan"
"""The service name of the client's own spans, too."""
_SDK = "telemetry.sdk."


def service_resource() -> Resource:
    """Return the resource that the environment of the service describes.

    It is that of clients which sent none, such as the Python client before it sent one.
    """
    resource = Resource.create()
    attributes = dict(resource.attributes)
    if str(attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        attributes[SERVICE_NAME] = DEFAULT_SERVICE_NAME
    return Resource(_without_sdk(attributes), resource.schema_url)


def resource_of(run: Run, source: SpanSource | None, own: Resource) -> Resource:
    """Return the resource of the spans of a run.

    Args:
        run: The run.
        source: What is known about its client; None if its session is gone.
        own: The resource of the service.
    """
    if source is None:
        return own
    if source.resource:
        attributes = resource_attributes(source.resource)
        attributes.setdefault(SERVICE_NAME, source.client_name or DEFAULT_SERVICE_NAME)
        return Resource(attributes)
    if source.client_name and run.trace is not None and run.trace.exported_by_service:
        return Resource({SERVICE_NAME: source.client_name})
    return own


def _without_sdk(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return the attributes without those of the SDK, which has not made these spans."""
    return {key: value for key, value in attributes.items() if not key.startswith(_SDK)}
