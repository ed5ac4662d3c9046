"""The receivers by the settings and the environment of the service."""

from __future__ import annotations

import pytest

from flowspan_service.config import load
from flowspan_service.domain.otlp_receivers import Receiver, Signal
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP
from flowspan_service.loops.otlp_receivers import own_receiver, receivers_of

TRACES, LOGS, METRICS = Signal.TRACES, Signal.LOGS, Signal.METRICS
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OF_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
IN_HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": OTLP_HTTP}


def found(
    signal: Signal, arguments: tuple[str, ...], environ: dict[str, str], *, has_default: bool
) -> tuple[str, str] | None:
    config = load(["--home", "/h", *arguments], environ)
    own = own_receiver(signal, config, environ, has_default=has_default)
    assert own is None or own.is_own
    return None if own is None else own[:2]


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {}, None),
        ((), {ENDPOINT: " "}, None),
        ((), {ENDPOINT: "http://["}, None),
        ((), {ENDPOINT: "http://c:port"}, None),
        ((), {ENDPOINT: "ftp://c"}, None),
        (("--otlp-endpoint", "http://["), {}, None),
        ((), {ENDPOINT: "http://c:4317"}, (OTLP_GRPC, "http://c:4317")),
        ((), {ENDPOINT: "http://c", OF_TRACES: "http://t"}, (OTLP_GRPC, "http://t")),
        (("--otlp-endpoint", "f:4317"), {ENDPOINT: "http://c"}, (OTLP_GRPC, "http://f:4317")),
        (("--otlp-endpoint", "f:4317"), {"OTEL_SDK_DISABLED": "True"}, None),
        ((), {ENDPOINT: "http://c:4318", **IN_HTTP}, (OTLP_HTTP, "http://c:4318/v1/traces")),
        ((), {ENDPOINT: "http://c/in?t=1", **IN_HTTP}, (OTLP_HTTP, "http://c/in/v1/traces?t=1")),
        ((), {OF_TRACES: "http://c:4318/own", **IN_HTTP}, (OTLP_HTTP, "http://c:4318/own")),
        (
            ("--otlp-endpoint", "http://f:4318/", "--otlp-protocol", OTLP_HTTP),
            {OF_TRACES: "http://c"},
            (OTLP_HTTP, "http://f:4318/v1/traces"),
        ),
        (
            ("--otlp-protocol", OTLP_HTTP),
            {OF_TRACES: "http://c", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": OTLP_GRPC},
            (OTLP_HTTP, "http://c"),
        ),
    ],
)
def test_the_receiver_of_spans(
    arguments: tuple[str, ...], environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert found(TRACES, arguments, environ, has_default=False) == expected


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((), {}, None),
        (("--otlp-endpoint", "a:1"), {}, (OTLP_GRPC, "http://a:1")),
        (
            ("--otlp-endpoint", "http://a:1/", "--otlp-protocol", OTLP_HTTP),
            {},
            (OTLP_HTTP, "http://a:1/v1/logs"),
        ),
        ((), {ENDPOINT: "http://a:1"}, (OTLP_GRPC, "http://a:1")),
        ((), {OF_TRACES: "http://a:1"}, None),
        (
            (),
            {
                ENDPOINT: "http://a:1",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:1/x",
                "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": OTLP_HTTP,
            },
            (OTLP_HTTP, "http://logs:1/x"),
        ),
        ((), {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://["}, None),
        (("--otlp-endpoint", "http://a:1"), {"OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_receiver_of_logs(
    arguments: tuple[str, ...], environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert found(LOGS, arguments, environ, has_default=False) == expected
    config = load(["--home", "/h", "--otlp-logs", *arguments], environ)
    own = receivers_of(LOGS, config, environ, is_private=True).own
    assert own == (None if expected is None else Receiver(*expected, is_own=True))


def test_the_own_receiver_gets_logs_only_if_the_settings_ask_for_it() -> None:
    for arguments, environ, gets_logs in (
        (("--otlp-endpoint", "a:1"), {}, False),
        (("--otlp-endpoint", "a:1", "--otlp-logs"), {}, True),
        (("--otlp-endpoint", "a:1"), {"OTEL_LOGS_EXPORTER": "otlp"}, True),
    ):
        config = load(["--home", "/h", *arguments], environ)
        assert (receivers_of(LOGS, config, environ, is_private=True).own is not None) is gets_logs
        assert receivers_of(TRACES, config, environ, is_private=True).own is not None


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        # The endpoint of the service has the protocol of the service.
        (
            ("--otlp-endpoint", "http://otlp:4317"),
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": OTLP_HTTP},
            (OTLP_GRPC, "http://otlp:4317"),
        ),
        (
            ("--otlp-endpoint", "https://otlp/base/", "--otlp-protocol", OTLP_HTTP),
            {},
            (OTLP_HTTP, "https://otlp/base/v1/metrics"),
        ),
        ((), {}, (OTLP_GRPC, "http://localhost:4317")),
        ((), IN_HTTP, (OTLP_HTTP, "http://localhost:4318/v1/metrics")),
        (
            (),
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": " HTTP/protobuf"},
            (OTLP_HTTP, "http://localhost:4318/v1/metrics"),
        ),
        (
            (),
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json", **IN_HTTP},
            (OTLP_HTTP, "http://localhost:4318/v1/metrics"),
        ),
        ((), {"OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_receiver_of_metrics(
    arguments: tuple[str, ...], environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert found(METRICS, arguments, environ, has_default=True) == expected


@pytest.mark.parametrize("signal", [TRACES, LOGS])
@pytest.mark.parametrize(
    ("when", "is_private", "allows"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("always", False, True),
        ("never", True, False),
    ],
)
def test_when_clients_may_name_receivers(
    signal: Signal, when: str, is_private: bool, allows: bool
) -> None:
    config = load(["--home", "/h", "--client-otlp", when], {})
    assert receivers_of(signal, config, {}, is_private=is_private).allows_clients is allows
