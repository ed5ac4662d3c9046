"""The receivers of logs by the settings and the environment of the service."""

from __future__ import annotations

import pytest

from flowspan_service.config import load
from flowspan_service.domain.log_receivers import LogReceiver
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OtlpTarget
from flowspan_service.transports.log_receivers import log_receivers_of

NAMED = OtlpTarget(OTLP_GRPC, "", "http://client:4317")
OF_CLIENT = LogReceiver(OTLP_GRPC, NAMED.logs_url)


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {}, None),
        (("--otlp-endpoint", "http://a:1"), {}, None),
        (("--otlp-logs",), {}, None),
        (("--otlp-logs", "--otlp-endpoint", "a:1"), {}, (OTLP_GRPC, "http://a:1")),
        (
            ("--otlp-logs", "--otlp-endpoint", "http://a:1/", "--otlp-protocol", OTLP_HTTP),
            {},
            (OTLP_HTTP, "http://a:1/v1/logs"),
        ),
        (
            (),
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"},
            (OTLP_GRPC, "http://a:1"),
        ),
        (
            (),
            {
                "OTEL_LOGS_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:1/x",
                "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": OTLP_HTTP,
            },
            (OTLP_HTTP, "http://logs:1/x"),
        ),
        (
            ("--otlp-logs", "--otlp-endpoint", "http://a:1"),
            {"OTEL_SDK_DISABLED": "true"},
            None,
        ),
    ],
)
def test_the_own_receiver(
    arguments: tuple[str, ...], environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    found = log_receivers_of(load(("--home", "/h", *arguments), environ), environ).of(None)
    assert found == (None if expected is None else LogReceiver(*expected, is_own=True))


@pytest.mark.parametrize(
    ("arguments", "is_allowed"),
    [
        ((), True),
        (("--host", "0.0.0.0", "--insecure"), False),  # noqa: S104 - nothing listens
        (("--host", "0.0.0.0", "--insecure", "--client-otlp", "always"), True),  # noqa: S104 - likewise
        (("--client-otlp", "never"), False),
        (("--no-tcp",), True),
    ],
)
def test_whether_clients_may_name_receivers(arguments: tuple[str, ...], is_allowed: bool) -> None:
    receivers = log_receivers_of(load(("--home", "/h", *arguments), {}), {})
    assert receivers.of(NAMED) == (OF_CLIENT if is_allowed else None)
    assert receivers.are_any == is_allowed
