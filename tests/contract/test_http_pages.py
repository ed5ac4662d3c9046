"""The pages besides the calls: front page, health, figures, OpenAPI."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.support.raw_http import GET_RUN, get, send

from flowspan_service.api.services import services

if TYPE_CHECKING:
    from tests.support.harness import Harness


@pytest.fixture
def port(harness: Harness) -> int:
    return harness.start_http()


class Links(HTMLParser):
    """The places that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"] or "")
        elif "src" in found or tag in ("link", "script", "iframe"):
            self.loaded.append(tag)


def test_front_page_says_what_is_here_and_loads_nothing(port: int) -> None:
    answer = get(port, "/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = answer.body.decode()
    assert "flowspan 1.2.3" in page
    assert f"http://127.0.0.1:{port}/flowspan.v1.FlowRunService/ListFlowRuns" in page
    assert "authorization" not in page
    links = Links()
    links.feed(page)
    assert links.loaded == []
    for link in links.links:
        if link.startswith("/"):
            assert get(port, link).status == 200
    # The host of the request is quoted, not trusted.
    quoted = get(port, "/", {"host": "localhost"}).body
    assert b"http://localhost/flowspan" in quoted


def test_health_follows_the_database_and_the_stop(harness: Harness, port: int) -> None:
    answer = get(port, "/healthz")
    assert (answer.status, answer.content) == (200, {"status": "SERVING"})
    harness.run(harness.server.set_problem("The file was deleted."))
    answer = get(port, "/healthz")
    assert answer.status == 503
    assert answer.content == {"status": "NOT_SERVING", "reason": "The file was deleted."}
    assert b"flowspan_database_problem 1.0\n" in get(port, "/metrics").body
    harness.run(harness.server.set_problem(""))
    assert get(port, "/healthz").status == 200


SAMPLE = re.compile(
    r"(?P<name>[a-z_]+?)(_bucket|_count|_sum)?"
    r'(\{(?P<labels>[a-z]+="[^"]*"(,[a-z]+="[^"]*")*)\})? (?P<value>[0-9.e+-]+)'
)


def figures(port: int) -> dict[str, float]:
    """Read all samples; fail if a line has another form, or a metric has no help or type."""
    answer = get(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found, known = {}, set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# TYPE "):
            known.add(line.split()[2])
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match["name"] in known, line
            found[line.rpartition(" ")[0]] = float(match["value"])
    return found


def test_figures_count_calls_by_method_and_code(harness: Harness, port: int) -> None:
    send(port, GET_RUN, b'{"id": "x"}')
    send(port, GET_RUN, b'{"id": "0199c0de-0000-7000-8000-000000000001"}')
    send(port, "/flowspan.v1.SystemService/GetInfo")
    found = figures(port)
    calls = {
        name: value for name, value in found.items() if name.startswith("flowspan_calls_total")
    }
    run, info = "/flowspan.v1.FlowRunService/GetFlowRun", "/flowspan.v1.SystemService/GetInfo"
    assert calls[f'flowspan_calls_total{{code="INVALID_ARGUMENT",method="{run}"}}'] == 1
    assert calls[f'flowspan_calls_total{{code="NOT_FOUND",method="{run}"}}'] == 1
    assert calls[f'flowspan_calls_total{{code="OK",method="{info}"}}'] == 1
    assert found[f'flowspan_call_seconds_total{{method="{run}"}}'] > 0
    assert found['flowspan_info{database="sqlite",version="1.2.3"}'] == 1
    assert found["flowspan_sessions"] == 0
    assert found["flowspan_start_time_seconds"] == pytest.approx(
        harness.backend.about.started_us / 1e6
    )


def test_openapi_is_valid_and_complete(harness: Harness, port: int) -> None:
    answer = get(port, "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.content
    OpenAPIV31SpecValidator(document).validate()
    served = {
        method.path: method
        for table in services(harness.backend).values()
        for method in table
        if not method.takes_frames
    }
    assert set(served) <= set(document["paths"])
    for path, method in served.items():
        operations = document["paths"][path]
        is_read = method.has_no_side_effects and not method.is_stream
        assert ("get" in operations) == is_read, path
        assert operations["post"]["summary"], path
    schemas = document["components"]["schemas"]
    run = schemas["flowspan.v1.FlowRun"]["properties"]
    assert run["flowName"]["type"] == "string"
    assert run["flowName"]["description"]
    assert "STATE_TYPE_RUNNING" in schemas["flowspan.v1.StateType"]["enum"]
