"""The receivers that a process names to the service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan.config import Config
from flowspan.connection.otlp_target import (
    OtlpTarget,
    own_provider,
    own_target,
    published_target,
    told_target,
)
from flowspan.telemetry.endpoint import LOGS, target_of
from flowspan.v1 import trace_pb2
from flowspan_service.api.fields.traces import check_otlp_target

HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}
TO_LOGS = {"OTEL_LOGS_EXPORTER": "otlp"}


def named(
    environ: dict[str, str], *, has_provider: bool = False, is_told: bool = False, **settings: Any
) -> OtlpTarget | None:
    config = Config(home=Path("/home"), **settings)
    return own_target(config, environ, has_provider=has_provider, is_told=is_told)


@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({}, None),
        (ENDPOINT, ("grpc", "http://c:4317", "")),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t"}, ("grpc", "https://t", "")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}, ("grpc", "https://c:4317", "")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
            ("grpc", "http://c:4317", ""),
        ),
        (ENDPOINT | HTTP, ("http/protobuf", "http://c:4317/v1/traces", "")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/", **HTTP},
            ("http/protobuf", "http://c:4318/base/v1/traces", ""),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/own",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ("http/protobuf", "http://c:4318/own", ""),
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("grpc", "http://localhost:4317", "")),
        (
            {"OTEL_TRACES_EXPORTER": "console, OTLP", **HTTP},
            ("http/protobuf", "http://localhost:4318/v1/traces", ""),
        ),
        ({"OTEL_TRACES_EXPORTER": "console"} | ENDPOINT, None),
        ({"OTEL_TRACES_EXPORTER": "none"} | ENDPOINT, None),
        ({"OTEL_SDK_DISABLED": "True"} | ENDPOINT, None),
        (ENDPOINT | TO_LOGS, ("grpc", "http://c:4317", "http://c:4317")),
        (TO_LOGS, ("grpc", "", "http://localhost:4317")),
        (
            ENDPOINT | TO_LOGS | {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:4317"},
            ("grpc", "http://c:4317", "http://logs:4317"),
        ),
        (
            ENDPOINT | TO_LOGS | HTTP,
            ("http/protobuf", "http://c:4317/v1/traces", "http://c:4317/v1/logs"),
        ),
        (
            ENDPOINT | TO_LOGS | {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf"},
            ("grpc", "http://c:4317", ""),
        ),
    ],
)
def test_by_the_standard_variables(
    environ: dict[str, str], target: tuple[str, str, str] | None
) -> None:
    assert named(environ) == target


def test_the_setting_is_for_logs_as_well() -> None:
    target = named(TO_LOGS, otlp_endpoint="http://set:4317")
    assert target == OtlpTarget("grpc", "http://set:4317", "http://set:4317")
    target = named(TO_LOGS | ENDPOINT, otlp_endpoint="http://set:4317")
    assert target == OtlpTarget("grpc", "http://c:4317", "http://c:4317")


@pytest.mark.parametrize(
    "environ",
    [
        ENDPOINT,
        ENDPOINT | HTTP,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t", **ENDPOINT},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/own", **HTTP},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/", **HTTP},
        {"OTEL_TRACES_EXPORTER": "otlp", **HTTP},
    ],
)
def test_the_service_is_told_where_this_process_exports(environ: dict[str, str]) -> None:
    target, own = named(environ), target_of(environ)
    assert target is not None
    assert (target.protocol, target.traces_url) == (own.protocol, own.url)
    with_logs = named(environ | TO_LOGS)
    assert with_logs is not None
    logs = target_of(environ | TO_LOGS, signal=LOGS)
    assert (with_logs.protocol, with_logs.logs_url) == (logs.protocol, logs.url)


ENDPOINTS = st.one_of(
    st.text(max_size=60),
    st.builds(
        lambda *parts: "".join(parts),
        st.sampled_from(["http://", "https://", "HTTP://", "", "//", "http:/"]),
        st.sampled_from(["", "user@", "user:secret@", "@", "a@b@"]),
        st.one_of(st.sampled_from(["c", "[::1]", "[", "größe", "127.0.0.1"]), st.text(max_size=9)),
        st.sampled_from(["", ":4317", ":0", ":x", ":99999", ":"]),
        st.one_of(st.sampled_from(["", "/", "/a b", "/a?b#c", "//"]), st.text(max_size=9)),
    ),
)


@given(endpoint=ENDPOINTS, is_http=st.booleans())
def test_no_endpoint_makes_a_hello_that_the_service_refuses(endpoint: str, is_http: bool) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **TO_LOGS, **(HTTP if is_http else {})}
    target = named(environ, otlp_endpoint=endpoint or None)
    if target is not None:
        check_otlp_target(trace_pb2.OtlpTarget(**target._asdict()), "target")
        for url in filter(None, target[1:]):
            assert (urlsplit(url).username, urlsplit(url).password) == (None, None)


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({"otlp_endpoint": "c:4317"}, ("grpc", "http://c:4317", "")),
        ({"tracing": True}, ("grpc", "http://localhost:4317", "")),
        ({"tracing": False, "otlp_endpoint": "c:4317"}, None),
    ],
)
def test_by_the_settings(settings: dict[str, Any], target: tuple[str, str, str] | None) -> None:
    assert named({}, **settings) == target


def test_true_alone_does_not_replace_the_receiver_of_the_service() -> None:
    assert named({}, tracing=True, is_told=True) is None
    assert named({}, tracing=True, is_told=True, otlp_endpoint="http://c:1") is not None


def test_the_variables_win_over_the_setting_but_for_a_provider_of_the_program() -> None:
    own = {"otlp_endpoint": "http://setting:1"}
    assert named(ENDPOINT, **own) == ("grpc", "http://c:4317", "")
    assert named(ENDPOINT, has_provider=True, **own) == ("grpc", "http://setting:1", "")
    assert named(ENDPOINT, has_provider=True) == ("grpc", "http://c:4317", "")
    assert named({}, has_provider=True, tracing=True) is None, "who knows where it exports"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://user:secret@c:4317", "http://c:4317"),
        ("https://token@c", "https://c"),
        ("http://c:4317/?key=secret#part", "http://c:4317"),
        ("http://[::1]:4317", "http://[::1]:4317"),
    ],
)
def test_nothing_secret_is_named(endpoint: str, url: str) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret"}
    assert named(environ | headers) == ("grpc", url, "")
    over_http = named(environ | headers | HTTP)
    assert over_http is not None
    assert over_http.traces_url.endswith("/v1/traces")
    assert "secret" not in str(over_http)
    assert "@" not in over_http.traces_url


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://c"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:port"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c d:1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/\n", **HTTP, "X": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c\udcff"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{'c' * 1100}"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", **ENDPOINT},
    ],
)
def test_a_wrong_value_names_nothing(environ: dict[str, str]) -> None:
    target = named(environ)
    assert target is None or "\n" not in target.traces_url


def test_what_a_service_tells() -> None:
    assert told_target(None, None) is None
    assert told_target({"protocol": "", "traces_url": "", "logs_url": ""}, "") is None
    assert told_target({}, "http://old:4317") == ("grpc", "http://old:4317", "")
    told = {"protocol": "http/protobuf", "traces_url": "http://t", "logs_url": "http://l"}
    assert told_target(told, "") == ("http/protobuf", "http://t", "http://l")
    assert told_target({"traces_url": "http://t"}, "http://t") == ("grpc", "http://t", "")


def test_the_file_of_a_local_service(tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    with pytest.raises(OSError, match=r"service\.json"):
        published_target(tmp_path)
    for text in ("", "[]", "{"):
        file.write_text(text)
        with pytest.raises(ValueError):  # noqa: PT011 - of the parser, or ours
            published_target(tmp_path)
    file.write_text('{"otlp_endpoint": "http://old:1", "otlp_target": {}}')
    assert published_target(tmp_path) == ("grpc", "http://old:1", "")


OWN_PROVIDER = """
from flowspan.connection.otlp_target import own_provider
import sys
assert not own_provider()
assert "opentelemetry" not in sys.modules
from opentelemetry import trace
assert not own_provider()
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
assert own_provider()
"""


def test_a_provider_of_the_program() -> None:
    subprocess.run([sys.executable, "-c", OWN_PROVIDER], check=True, timeout=60)
    assert isinstance(own_provider(), bool)
