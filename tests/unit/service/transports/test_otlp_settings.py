"""The settings of requests to receivers."""

from __future__ import annotations

from base64 import b64encode

import pytest

from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.transports.otlp_settings import (
    TIMEOUT_S,
    RequestSettings,
    own_settings,
    with_user_of,
)

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize("signal", list(Signal))
def test_the_variables_of_a_signal_precede_those_of_all(signal: Signal) -> None:
    of_all = {
        "HEADERS": "a=1",
        "TIMEOUT": "3",
        "COMPRESSION": "gzip",
        "CERTIFICATE": "ca",
        "CLIENT_CERTIFICATE": "cert",
        "CLIENT_KEY": "key",
    }
    environ = {f"{PREFIX}{name}": text for name, text in of_all.items()}
    everything = RequestSettings((("a", "1"),), 3.0, "gzip", "ca", "cert", "key")
    assert own_settings(signal, environ) == everything
    own = {"HEADERS": "X-Token=a%20b, c = d", "TIMEOUT": "0.5", "COMPRESSION": "Deflate"}
    environ |= {f"{PREFIX}{signal.upper()}_{name}": text for name, text in own.items()}
    found = own_settings(signal, environ)
    headers = (("x-token", "a b"), ("c", "d"))
    assert found == everything._replace(headers=headers, timeout_s=0.5, compression="deflate")
    (other, *_) = [each for each in Signal if each != signal]
    assert own_settings(other, environ) == everything


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HEADERS", "malformed, =, =x"),
        ("TIMEOUT", "soon"),
        ("TIMEOUT", "-1"),
        ("TIMEOUT", "nan"),
        ("TIMEOUT", "inf"),
        ("COMPRESSION", "none"),
        ("COMPRESSION", "zstd"),
    ],
)
def test_malformed_variables_are_left_out(name: str, text: str) -> None:
    assert own_settings(Signal.TRACES, {f"{PREFIX}{name}": text}) == RequestSettings()
    assert RequestSettings().timeout_s == TIMEOUT_S


@pytest.mark.parametrize("url", ["http://a:4317", "http://a:4318/v1/traces", "http://a/@x"])
def test_a_url_without_a_user_stays_as_it_is(url: str) -> None:
    assert with_user_of(url, RequestSettings()) == (url, RequestSettings())


def test_user_and_password_of_a_url_become_a_header() -> None:
    url, settings = with_user_of("https://me:p%40ss@a:1/v1/logs?t=1", RequestSettings())
    encoded = b64encode(b"me:p@ss").decode()
    assert url == "https://a:1/v1/logs?t=1"
    assert settings.headers == (("authorization", f"Basic {encoded}"),)
    own = RequestSettings((("authorization", "Bearer x"),))
    assert with_user_of("https://me:p%40ss@a:1", own) == ("https://a:1", own)
