"""Where the service sends what it tells about itself, and as what."""

from __future__ import annotations

import pytest

from flowspan_service.loops.own_receiver import Receiver, own_receiver, own_resource
from flowspan_service.loops.own_telemetry import interval_s

GRPC, HTTP = "grpc", "http/protobuf"


@pytest.mark.parametrize(
    ("endpoint", "protocol", "environ", "expected"),
    [
        ("http://otlp:4317", GRPC, {}, Receiver(GRPC, "http://otlp:4317")),
        ("otlp:4317", GRPC, {}, Receiver(GRPC, "http://otlp:4317")),
        ("http://otlp:4318", HTTP, {}, Receiver(HTTP, "http://otlp:4318/v1/metrics")),
        ("https://otlp/base/", HTTP, {}, Receiver(HTTP, "https://otlp/base/v1/metrics")),
        # The endpoint of the service has the protocol of the service.
        (
            "http://otlp:4317",
            GRPC,
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": HTTP},
            Receiver(GRPC, "http://otlp:4317"),
        ),
        ("", GRPC, {}, Receiver(GRPC, None)),
        ("", GRPC, {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": " HTTP/protobuf"}, Receiver(HTTP, None)),
        ("", HTTP, {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"}, Receiver(HTTP, None)),
        ("", HTTP, {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": GRPC}, Receiver(HTTP, None)),
    ],
)
def test_the_receiver_of_metrics(
    endpoint: str, protocol: str, environ: dict[str, str], expected: Receiver
) -> None:
    found = own_receiver("metrics", endpoint=endpoint, protocol=protocol, environ=environ)
    assert found == expected


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
