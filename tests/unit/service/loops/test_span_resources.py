"""The resources of spans that the service exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from tests.unit.service.loops.test_span_records import make_run

from flowspan_service.domain.runs import TraceContext
from flowspan_service.domain.sessions import SpanSource
from flowspan_service.loops.span_resources import resource_of, service_resource

if TYPE_CHECKING:
    import pytest

OWN = Resource({"service.name": "flowspan"})
BY_SERVICE = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01", exported_by_service=True)


def test_the_clients_resource_without_its_sdk() -> None:
    sent = {
        "service.name": "etl",
        "host.name": "a",
        "process.pid": "4711",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "go",
        "telemetry.sdk.version": "1",
    }
    resource = resource_of(make_run(), SpanSource("flowspan-go", sent), OWN)
    assert dict(resource.attributes) == {
        "service.name": "etl",
        "host.name": "a",
        "process.pid": 4711,
    }


def test_a_resource_without_a_name_gets_that_of_the_client() -> None:
    for name, expected in (("flowspan-go", "flowspan-go"), ("", "flowspan")):
        resource = resource_of(make_run(), SpanSource(name, {"host.name": "a"}), OWN)
        assert dict(resource.attributes) == {"service.name": expected, "host.name": "a"}


def test_a_client_without_a_resource() -> None:
    thin = SpanSource("by-hand", {})
    named = resource_of(make_run(trace=BY_SERVICE), thin, OWN)
    assert dict(named.attributes) == {"service.name": "by-hand"}
    assert resource_of(make_run(), thin, OWN) is OWN, "its SDK names the service itself"
    assert resource_of(make_run(trace=BY_SERVICE), SpanSource("", {}), OWN) is OWN
    assert resource_of(make_run(), None, OWN) is OWN


def test_the_services_own_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    attributes = dict(service_resource().attributes)
    assert attributes["service.name"] == "flowspan"
    assert attributes["deployment.environment"] == "test"
    assert not [key for key in attributes if key.startswith("telemetry.sdk")]
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert service_resource().attributes["service.name"] == "mine"
