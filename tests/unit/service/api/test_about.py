"""Facts about the service: the receivers that it tells its clients."""

from __future__ import annotations

import pytest

from flowspan_service.api.about import told_endpoint, told_target
from flowspan_service.config import load
from flowspan_service.domain.sessions import OtlpTarget

HTTP = ("--otlp-protocol", "http/protobuf")


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        ((), None),
        (("--otlp-logs",), None),
        (("--otlp-endpoint", "http://["), None),
        (("--otlp-endpoint", "http://c:4317"), OtlpTarget("grpc", "http://c:4317")),
        (("--otlp-endpoint", "c:4317"), OtlpTarget("grpc", "http://c:4317")),
        (
            ("--otlp-endpoint", "https://user:secret@c/?key=secret", "--otlp-logs"),
            OtlpTarget("grpc", "https://c", "https://c"),
        ),
        (
            ("--otlp-endpoint", "http://c:4318", *HTTP),
            OtlpTarget("http/protobuf", "http://c:4318/v1/traces"),
        ),
        (
            ("--otlp-endpoint", "http://c:4318/base/", *HTTP, "--otlp-logs"),
            OtlpTarget(
                "http/protobuf", "http://c:4318/base/v1/traces", "http://c:4318/base/v1/logs"
            ),
        ),
    ],
)
def test_receivers_that_clients_are_told(
    arguments: tuple[str, ...], target: OtlpTarget | None
) -> None:
    assert told_target(load(["--home", "/h", *arguments], {})) == target


@pytest.mark.parametrize(
    ("arguments", "endpoint"),
    [
        ((), ""),
        (("--otlp-endpoint", "http://a:4317"), "http://a:4317"),
        (("--otlp-endpoint", "a:4317"), "a:4317"),
        (("--otlp-endpoint", "http://me:secret@a:4317"), "http://a:4317"),
        (("--otlp-endpoint", "me:secret@a:4317"), "http://a:4317"),
        (("--otlp-endpoint", "http://a:4318", "--otlp-protocol", "http/protobuf"), ""),
    ],
)
def test_clients_that_know_no_targets_are_told_no_password(
    arguments: tuple[str, ...], endpoint: str
) -> None:
    assert told_endpoint(load(["--home", "/h", *arguments], {})) == endpoint
