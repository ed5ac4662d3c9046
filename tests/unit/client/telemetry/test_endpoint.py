"""The standard variables of the OTLP exporter."""

from __future__ import annotations

from base64 import b64encode

import pytest

from flowspan.exceptions import ConfigError
from flowspan.telemetry.endpoint import LOGS, TRACES, Target, names_endpoint, target_of


@pytest.mark.parametrize(
    ("environ", "endpoint", "url"),
    [
        ({}, None, "http://localhost:4317"),
        ({}, "collector:4317", "http://collector:4317"),
        ({}, "https://collector", "https://collector"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, None, "http://a:1"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, "http://b:2", "http://b:2"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "a:1"}, None, "https://a:1"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "a:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
            None,
            "http://a:1",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1",
            },
            None,
            "http://t:1",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, None, "http://localhost:4318/v1/traces"),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1/base/",
            },
            None,
            "http://a:1/base/v1/traces",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:1/mine",
            },
            None,
            "http://a:1/mine",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1/base?tenant=x",
            },
            None,
            "http://a:1/base/v1/traces?tenant=x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:p@a:1"}, None, "http://a:1"),
        ({}, "u:p@a:1", "http://a:1"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1/@x"}, None, "http://a:1/@x"),
    ],
)
def test_the_endpoint(environ: dict[str, str], endpoint: str | None, url: str) -> None:
    assert target_of(environ, endpoint).url == url


def test_everything_else() -> None:
    target = target_of(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://a:1",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x, k=v=w,",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "me.pem",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": "me.key",
        }
    )
    assert target == Target(
        url="https://a:1",
        headers=(("authorization", "Bearer x"), ("k", "v=w")),
        timeout_s=2.5,
        gzip=True,
        certificate="ca.pem",
        client_certificate="me.pem",
        client_key="me.key",
    )
    assert target.is_secure
    assert target.authority == "a:1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROTOCOL", "http/json"),
        ("COMPRESSION", "brotli"),
        ("TIMEOUT", "soon"),
        ("TIMEOUT", "-1"),
        ("HEADERS", "no-equals-sign"),
        ("ENDPOINT", "ftp://a"),
        ("ENDPOINT", "http://"),
    ],
)
def test_a_value_that_is_wrong_is_named(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target_of({f"OTEL_EXPORTER_OTLP_{name}": text})
    assert text in str(caught.value)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_user_and_password_of_an_endpoint_become_a_header(protocol: str) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:p%40ss%3Aword@a:1",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    encoded = b64encode(b"me:p@ss:word").decode()
    assert target_of(environ).headers == (("authorization", f"Basic {encoded}"),)
    own = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x"}
    assert target_of(environ | own).headers == (("authorization", "Bearer x"),)


def test_no_message_shows_the_password_of_an_endpoint() -> None:
    with pytest.raises(ConfigError, match="is invalid") as caught:
        target_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://me:hunter2@a:1"})
    assert "hunter2" not in str(caught.value)


def test_who_names_an_endpoint() -> None:
    assert not names_endpoint({"OTEL_EXPORTER_OTLP_ENDPOINT": " "})
    assert names_endpoint({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"})


@pytest.mark.parametrize(
    ("url", "protocol", "words"),
    [
        ("http://localhost:4318", "grpc", "over HTTP? Set OTEL_EXPORTER_OTLP_PROTOCOL=http/proto"),
        ("https://otel.example:4317/v1/traces", "http/protobuf", "over gRPC? Set OTEL_EXPORTER_"),
        ("http://localhost:4317", "grpc", ""),
        ("http://localhost:4318/v1/traces", "http/protobuf", ""),
        ("http://localhost:14318", "grpc", ""),
        ("http://localhost", "grpc", ""),
        ("http://localhost:port", "grpc", ""),
    ],
)
def test_port_of_the_other_protocol_gets_advice(url: str, protocol: str, words: str) -> None:
    said = Target(url=url, protocol=protocol).explain("UNAVAILABLE: away")
    assert said.startswith("UNAVAILABLE: away")
    assert words in said
    assert bool(words) == (said != "UNAVAILABLE: away")


def test_a_receiver_without_tls_gets_advice() -> None:
    failure = "SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"
    said = Target(url="https://otel.example:4317").explain(failure)
    assert said == f"{failure}: does the receiver use TLS? If not, write http://otel.example:4317"
    assert Target(url="http://otel.example:4317").explain(failure) == failure


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_receiver_that_lacks_a_signal_gets_advice(protocol: str) -> None:
    logs, spans = (
        Target(url="http://otel.example", protocol=protocol, signal=signal)
        for signal in (LOGS, TRACES)
    )
    said = logs.explain("UNIMPLEMENTED", is_unknown=True)
    assert "takes no logs. Set OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" in said
    assert "OTEL_LOGS_EXPORTER=none" in said
    assert logs.explain("UNAVAILABLE") == "UNAVAILABLE"
    assert spans.explain("UNIMPLEMENTED", is_unknown=True) == "UNIMPLEMENTED"
