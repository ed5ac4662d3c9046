"""Spans that start programs, in requests and headers."""

from __future__ import annotations

import pytest

from flowspan_service.api.fields.traces import check_traceparent, span_of
from flowspan_service.domain.errors import InvalidFieldError

SPAN = f"00-{'a' * 32}-{'b' * 16}-01"
OTHER = f"00-{'c' * 32}-{'d' * 16}-00"


def test_the_request_comes_before_the_headers() -> None:
    headers = {"traceparent": OTHER, "tracestate": "v=1"}
    assert span_of(SPAN, headers) == (SPAN, "")
    assert span_of("", headers) == (OTHER, "v=1")
    assert span_of("", {}) is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a=1,b=2", "a=1,b=2"),
        ("flowspan=r:1,a=1", "a=1"),
        (" a=1 , flowspan=r:1 ,, b=2", "a=1,b=2"),
        ("flowspan=r:1", ""),
        ("flowspans=1", "flowspans=1"),
        ("a=" + "x" * 511, ""),
        ("a=ü", ""),
        ("a=\0", ""),
    ],
)
def test_tracestate_of_the_caller(sent: str, kept: str) -> None:
    assert span_of("", {"traceparent": SPAN, "tracestate": sent}) == (SPAN, kept)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        SPAN[:-1],
        SPAN + "-",
        SPAN.upper(),
        SPAN.replace("00-", "ff-", 1),
        SPAN.replace("a", "0"),
        SPAN.replace("b", "0"),
        SPAN + "\n",
    ],
)
def test_what_is_no_traceparent(text: str) -> None:
    with pytest.raises(InvalidFieldError):
        check_traceparent(text, "traceparent")
    if text.strip() != SPAN:
        assert span_of("", {"traceparent": text, "tracestate": "v=1"}) is None
    assert span_of("", {"traceparent": b"\xff"}) is None


def test_later_versions_are_read_as_the_first() -> None:
    for later in (SPAN.replace("00-", "01-", 1), SPAN.replace("00-", "cc-", 1) + "-more"):
        check_traceparent(later, "traceparent")
        assert span_of(later, {}) == (SPAN, "")
