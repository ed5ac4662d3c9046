"""Addresses of traces, in the client and in the service."""

from __future__ import annotations

import pytest

from flowspan.core import trace_urls
from flowspan_service.domain import trace_urls as of_service

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
UNSAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-00"
JAEGER = "http://localhost:16686/trace/{trace_id}"
CHECKS = [
    pytest.param(trace_urls.check_trace_url, id="client"),
    pytest.param(of_service.check_trace_url, id="service"),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "text",
    [
        JAEGER,
        "https://grafana.example/explore?left=%5B%22{trace_id}%22%5D",
        "https://[::1]:3000/#/trace/{trace_id}?from={trace_id}",
    ],
)
def test_an_address_with_the_placeholder_is_accepted(check, text):
    assert check(text) == text


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "text",
    [
        "localhost:16686/trace/{trace_id}",
        "ftp://localhost/{trace_id}",
        "javascript:alert('{trace_id}')",
        "http:///trace/{trace_id}",
        "http://localhost:port/{trace_id}",
        "http://localhost:16686/trace/",
        "http://localhost:16686/trace/{traceID}",
        "http://{trace_id}/trace",
        "http://user:secret@localhost/{trace_id}",
        "http://localhost/a b/{trace_id}",
        "http://localhost/\x1b]8;;http://x\x07{trace_id}",
        "http://localhost/é/{trace_id}",
        "http://localhost/{trace_id}\n",
        f"http://localhost/{'a' * 2048}/{{trace_id}}",
    ],
)
def test_anything_else_is_refused(check, text):
    with pytest.raises(ValueError, match=r"URL|contain|longer|user"):
        check(text)


def test_the_placeholder_stands_for_the_id():
    assert trace_urls.url_of_trace(JAEGER, SAMPLED) == f"http://localhost:16686/trace/{TRACE_ID}"


@pytest.mark.parametrize(
    ("trace_url", "traceparent"),
    [("", SAMPLED), (JAEGER, ""), (JAEGER, UNSAMPLED), (JAEGER, "00-\x1b-1-01")],
)
def test_a_trace_that_nobody_can_see_has_no_address(trace_url, traceparent):
    assert trace_urls.url_of_trace(trace_url, traceparent) == ""


def test_sampled_is_the_lowest_bit_of_the_flags():
    assert trace_urls.is_sampled(f"00-{TRACE_ID}-00f067aa0ba902b7-03")
    assert not trace_urls.is_sampled(f"00-{TRACE_ID}-00f067aa0ba902b7-02")


@pytest.mark.parametrize("told", [None, "", "file:///etc/passwd", 5, "http://x/\x1b{trace_id}"])
def test_a_service_cannot_make_a_client_show_anything_else(told):
    assert trace_urls.trace_url_told(told) == ""
