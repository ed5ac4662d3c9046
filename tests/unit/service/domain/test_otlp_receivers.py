"""The rule where the spans and the logs of a session go."""

from __future__ import annotations

import pytest

from flowspan_service.domain.otlp_receivers import Receiver, Receivers, Signal, place_of, url_at
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OtlpTarget, SpanSource

SIGNALS = (Signal.TRACES, Signal.LOGS)
OWN = Receiver(OTLP_GRPC, "http://own:4317", is_own=True)
NAMED = "http://client:4317"


def source(signal: Signal, url: str, protocol: str = OTLP_GRPC) -> SpanSource:
    """Return a client that names a receiver of one signal; of the other, another one."""
    urls = {"traces_url": "http://other:1", "logs_url": "http://other:1", f"{signal}_url": url}
    return SpanSource("", {}, OtlpTarget(protocol, **urls))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("own", "allows", "expected"),
    [
        (None, False, None),
        (None, True, Receiver(OTLP_GRPC, NAMED)),
        (OWN, False, OWN),
        (OWN, True, Receiver(OTLP_GRPC, NAMED)),
    ],
)
def test_where_the_data_of_a_client_goes(
    signal: Signal, own: Receiver | None, allows: bool, expected: Receiver | None
) -> None:
    receivers = Receivers(signal, own, allows_clients=allows)
    assert receivers.of(source(signal, NAMED)) == expected
    assert receivers.of_target(source(signal, NAMED).target) == expected
    for without in (None, SpanSource("", {}), source(signal, "")):
        assert receivers.of(without) == own
    assert receivers.has_any is (own is not None or allows)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("own", "named", "is_own"),
    [
        ("http://own:4317", "http://own:4317", True),
        ("http://own:4317", "http://OWN:4317/", True),
        ("https://own", "https://own:443", True),
        ("http://own", "http://own:80/other", True),
        ("http://own:4317", "https://own:4317", False),
        ("http://own:4317", "http://own:4318", False),
        ("http://own:4317", "http://own", False),
        ("http://own:4317", "http://own:no", False),
    ],
)
def test_who_gets_the_headers_of_the_service(
    signal: Signal, own: str, named: str, is_own: bool
) -> None:
    receivers = Receivers(signal, Receiver(OTLP_GRPC, own, is_own=True), allows_clients=True)
    found = receivers.of(source(signal, named))
    assert found == (receivers.own if is_own else Receiver(OTLP_GRPC, named))
    over_http = receivers.of(source(signal, own, OTLP_HTTP))
    assert over_http == Receiver(OTLP_HTTP, own), "another receiver"


@pytest.mark.parametrize(
    ("protocol", "url", "words"),
    [
        (OTLP_GRPC, "http://c:4317", ""),
        (OTLP_GRPC, "http://c:4318", OTLP_HTTP),
        (OTLP_HTTP, "http://c:4318/v1/traces", ""),
        (OTLP_HTTP, "http://c:4317/v1/traces", "--otlp-protocol grpc"),
        (OTLP_HTTP, "http://c", ""),
        (OTLP_HTTP, "http://[", ""),
    ],
)
def test_the_hint_for_the_port_of_the_other_protocol(protocol: str, url: str, words: str) -> None:
    hint = Receiver(protocol, url, is_own=True).hint
    assert words in hint
    assert bool(hint) is bool(words)


@pytest.mark.parametrize(
    ("endpoint", "protocol", "url"),
    [
        ("http://c:4317", OTLP_GRPC, "http://c:4317"),
        ("http://c:4318", OTLP_HTTP, "http://c:4318/v1/metrics"),
        ("https://c/base/", OTLP_HTTP, "https://c/base/v1/metrics"),
    ],
)
def test_the_url_of_a_signal(endpoint: str, protocol: str, url: str) -> None:
    assert url_at(endpoint, protocol, Signal.METRICS) == url


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://c", ("http", "c", 80)),
        ("https://[::1]:1/x", ("https", "::1", 1)),
        ("ftp://c", None),
        ("http://", None),
        ("http://c:port", None),
        ("http://c\n", None),
    ],
)
def test_the_place_of_a_receiver(url: str, place: tuple[str, str, int] | None) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize("user", ["", "me@", "me:hunter2@"])
def test_logs_show_no_password_of_a_receiver(user: str) -> None:
    assert Receiver(OTLP_HTTP, f"http://{user}c:1/v1/logs?t=1").shown == "http://c:1/v1/logs?t=1"
