"""The name of the service in what it tells about itself, and the interval of its metrics."""

from __future__ import annotations

import pytest

from flowspan_service.loops.own_sinks import own_resource
from flowspan_service.loops.own_telemetry import interval_s


@pytest.mark.parametrize(
    ("is_embedded", "environ", "name"),
    [
        (False, {}, "flowspan-service"),
        (False, {"OTEL_SERVICE_NAME": "prod"}, "prod"),
        # The name of the program that started the service is not that of the service.
        (True, {"OTEL_SERVICE_NAME": "etl"}, "flowspan-service"),
    ],
)
def test_the_name_of_the_service(
    is_embedded: bool, environ: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=data")
    attributes = own_resource(environ, version="1.2.3", is_embedded=is_embedded).attributes
    assert attributes["service.name"] == name
    assert attributes["service.version"] == "1.2.3"
    assert attributes["team"] == "data"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500", 0.5), ("", 60.0), ("x", 60.0), ("-1", 60.0), ("0", 60.0), ("inf", 60.0)],
)
def test_the_interval(text: str, expected: float) -> None:
    assert interval_s({"OTEL_METRIC_EXPORT_INTERVAL": text}) == expected
    assert interval_s({}) == 60.0
