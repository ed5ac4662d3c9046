"""Links from runs to their traces."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from tests.support.api_records import make_run

from flowspan.api import TraceContext
from flowspan.cli.output import CleanConsole
from flowspan.cli.trace_links import TraceLinks, has_browser, linked

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
URL = f"http://service/{TRACE_ID}"


def traced(flags: str = "01"):
    context = TraceContext(traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}")
    return make_run(0, "etl", is_flow=True, trace=context)


def links(trace_url: str = "http://service/{trace_id}") -> TraceLinks:
    return TraceLinks(lambda: SimpleNamespace(trace_url=trace_url))


def unasked() -> TraceLinks:
    return TraceLinks(lambda: pytest.fail("the service was asked"))


def test_the_service_tells_the_address():
    assert links().url_of(traced()) == URL
    assert links().text_of(traced()).plain == URL


def test_the_own_setting_wins(monkeypatch):
    monkeypatch.setenv("FLOWSPAN_TRACE_URL", "https://own/{trace_id}?x=1")
    assert unasked().url_of(traced()) == f"https://own/{TRACE_ID}?x=1"


def test_without_an_address_people_see_the_id():
    assert links("").url_of(traced()) is None
    assert links("").text_of(traced()).plain == TRACE_ID


def test_an_unsafe_address_of_a_service_is_ignored():
    assert links("javascript:{trace_id}").url_of(traced()) is None


def test_a_trace_that_was_not_sampled_has_no_link():
    assert unasked().url_of(traced("00")) is None
    assert "not sampled" in unasked().text_of(traced("00")).plain


def test_a_run_without_a_trace_asks_nobody():
    run = make_run(0, "etl", is_flow=True)
    assert unasked().url_of(run) is None
    assert unasked().text_of(run).plain == ""


def test_a_terminal_can_open_the_link():
    out = io.StringIO()
    CleanConsole(file=out, force_terminal=True, color_system="standard").print(linked(URL))
    assert f";{URL}\x1b\\{URL}\x1b]8;;\x1b\\" in out.getvalue()
    plain = io.StringIO()
    CleanConsole(file=plain, force_terminal=False).print(linked(URL))
    assert plain.getvalue() == f"{URL}\n"


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"SSH_CONNECTION": "1 2 3 4"}, "linux", False),
        ({"SSH_CONNECTION": "1 2 3 4", "DISPLAY": ":10"}, "linux", True),
        ({"BROWSER": "wslview"}, "linux", True),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "1 2 3 4"}, "darwin", False),
    ],
)
def test_a_browser_needs_a_screen(environ, platform, expected):
    assert has_browser(environ, platform) is expected
