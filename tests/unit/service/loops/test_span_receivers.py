"""The receivers of spans: that of the service, and those that clients name."""

from __future__ import annotations

import pytest

from flowspan_service.config import load
from flowspan_service.domain.sessions import OTLP_GRPC, OTLP_HTTP, OtlpTarget, SpanSource
from flowspan_service.loops.span_receivers import Receiver, Receivers, receivers_of

OWN = Receiver(OTLP_GRPC, "http://own:4317", is_own=True)
NAMED = Receiver(OTLP_GRPC, "http://c:4317")


def source(url: str, protocol: str = OTLP_GRPC) -> SpanSource:
    return SpanSource("", {}, OtlpTarget(protocol, url))


@pytest.mark.parametrize(
    ("own", "allows", "expected"),
    [
        (None, False, None),
        (None, True, NAMED),
        (OWN, False, OWN),
        (OWN, True, NAMED),
    ],
)
def test_where_the_spans_of_a_client_go(
    own: Receiver | None, allows: bool, expected: Receiver | None
) -> None:
    receivers = Receivers(own, allows_clients=allows)
    assert receivers.of(source(NAMED.url)) == expected
    for without in (None, SpanSource("", {}), SpanSource("", {}, OtlpTarget(OTLP_GRPC, "", "l"))):
        assert receivers.of(without) == own
    assert receivers.has_any is (own is not None or allows)


@pytest.mark.parametrize(
    ("own", "named", "is_own"),
    [
        ("http://own:4317", "http://own:4317", True),
        ("http://own:4317", "http://OWN:4317/", True),
        ("https://own", "https://own:443", True),
        ("http://own:4317", "https://own:4317", False),
        ("http://own:4317", "http://own:4318", False),
        ("http://own:4317", "http://own", False),
    ],
)
def test_who_gets_the_headers_of_the_service(own: str, named: str, is_own: bool) -> None:
    receivers = Receivers(Receiver(OTLP_GRPC, own, is_own=True), allows_clients=True)
    found = receivers.of(source(named))
    assert found is not None
    assert found.is_own is is_own
    over_http = receivers.of(source(own, OTLP_HTTP))
    assert over_http == Receiver(OTLP_HTTP, own), "another receiver"


ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OF_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
IN_HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": OTLP_HTTP}


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
        ((), {OF_TRACES: "http://c:4318/own", **IN_HTTP}, (OTLP_HTTP, "http://c:4318/own")),
        (
            ("--otlp-endpoint", "http://f:4318/", "--otlp-protocol", OTLP_HTTP),
            {OF_TRACES: "http://c"},
            (OTLP_HTTP, "http://f:4318/v1/traces"),
        ),
    ],
)
def test_the_receiver_of_the_service(
    arguments: tuple[str, ...], environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    config = load(["--home", "/h", *arguments], environ)
    own = receivers_of(config, environ, is_private=True).own
    assert (own[:2] if own is not None else None) == expected
    assert own is None or own.is_own


@pytest.mark.parametrize(
    ("when", "is_private", "allows"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("always", False, True),
        ("never", True, False),
    ],
)
def test_when_clients_may_name_receivers(when: str, is_private: bool, allows: bool) -> None:
    config = load(["--home", "/h", "--client-otlp", when], {})
    assert receivers_of(config, {}, is_private=is_private).allows_clients is allows


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
