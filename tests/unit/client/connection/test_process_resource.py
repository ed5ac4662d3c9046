"""The OpenTelemetry resource of the process."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from flowspan.connection import program
from flowspan.connection.process_resource import process_resource, service_name_for_children
from flowspan.core import limits

HERE = {
    "service.name": "etl",
    "host.name": os.uname().nodename,
    "process.pid": str(os.getpid()),
}


@pytest.fixture(autouse=True)
def _program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_of_parent", "etl")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that installs a provider with these attributes of its resource."""

    def install(attributes: Any) -> None:
        made = SimpleNamespace(resource=SimpleNamespace(attributes=attributes))
        module = SimpleNamespace(get_tracer_provider=lambda: made)
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)

    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    return install


@pytest.mark.usefixtures("provider")
def test_without_a_provider_it_is_that_of_flowspans_own() -> None:
    assert process_resource({}) == HERE
    assert process_resource({"OTEL_SERVICE_NAME": "shop"}) == {**HERE, "service.name": "shop"}
    given = "service.name=named,deployment.environment=a%20b, host.name = h ,nonsense,=x"
    assert process_resource({"OTEL_RESOURCE_ATTRIBUTES": given}) == {
        "service.name": "named",
        "deployment.environment": "a b",
        "host.name": "h",
        "process.pid": str(os.getpid()),
    }
    both = {"OTEL_RESOURCE_ATTRIBUTES": given, "OTEL_SERVICE_NAME": "shop"}
    assert process_resource(both)["service.name"] == "shop"
    given = "process.pid=7"
    assert process_resource({"OTEL_RESOURCE_ATTRIBUTES": given})["process.pid"] == "7"


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"service.name": "mine"}, "mine"),
        ({"service.name": "unknown_service:python"}, "etl"),
        ({"other": "x"}, "etl"),
        (None, "etl"),
    ],
)
def test_the_name_that_worker_processes_get(provider: Any, attributes: Any, name: str) -> None:
    provider(attributes)
    assert service_name_for_children({}) == name
    assert service_name_for_children({"OTEL_SERVICE_NAME": "shop"}) == (
        "mine" if name == "mine" else "shop" if attributes is None else "etl"
    )


def test_the_resource_of_the_provider(provider: Any) -> None:
    provider(
        {
            "service.name": "mine",
            "process.pid": 7,
            "process.runtime": 1.5,
            "is.test": True,
            "process.command_args": ("python", "a.py"),
            "service.parts": object(),
            7: "no name",
        }
    )
    assert process_resource({"OTEL_SERVICE_NAME": "other"}) == {
        "service.name": "mine",
        "process.pid": "7",
        "process.runtime": "1.5",
        "is.test": "true",
        "process.command_args": '["python", "a.py"]',
    }


@pytest.mark.parametrize("attributes", [None, {}, "text"])
def test_a_provider_without_a_resource(provider: Any, attributes: Any) -> None:
    provider(attributes)
    assert process_resource({}) == HERE


def test_a_provider_that_fails(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    provider({})

    def fail() -> None:
        raise RuntimeError("not now")

    module = SimpleNamespace(get_tracer_provider=fail)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    assert process_resource({}) == HERE


def test_it_keeps_the_limits_of_hello(provider: Any) -> None:
    many = {f"key{number:03}": "v" for number in range(100)}
    provider({**many, "service.name": "é" * 2000, "x" * 300: "long", "nul\0": "a", "a": "b\0c"})
    found = process_resource({})
    assert len(found) <= limits.MAX_RESOURCE_ATTRIBUTES
    assert found["service.name"] == "é" * (limits.MAX_RESOURCE_VALUE_BYTES // 2)
    assert all(0 < len(key.encode()) <= limits.MAX_RESOURCE_KEY_BYTES for key in found)
    provider({"nul\0": "a", "a": "b\0c", "s": "\udcff"})
    assert process_resource({}) == {"a": "bc", "s": "\\udcff"}
