"""Links to traces: where they come from, where they are shown, and what `run open` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.cli import COMMAND, flowspan, flowspan_process, on_terminal
from tests.support.flow_processes import FlowProcess
from tests.support.otlp import OtlpReceiver
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
    from flowspan import flow, task

    @task
    def step():
        pass

    @flow
    def inner():
        step()

    @flow
    def outer():
        inner()

    outer()
"""
TOLD = "http://viewer.example/trace/{trace_id}"
OWN = "https://own.example/#{trace_id}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceProcess, str]]:
    """Return a service that tells where traces are shown, and the address of a receiver."""
    service = ServiceProcess(home=tmp_path_factory.mktemp("links"), arguments=("--trace-url", TOLD))
    with OtlpReceiver() as receiver:
        service.start()
        try:
            yield service, receiver.endpoint
        finally:
            service.end()


@pytest.fixture
def address(served: tuple[ServiceProcess, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", served[0].address)
    return served[0].address


@pytest.fixture
def endpoint(served: tuple[ServiceProcess, str]) -> str:
    return served[1]


def run(home: Path, address: str | None, **env: str) -> str:
    """Run the program; return the lines of its runs on the console."""
    with FlowProcess(PROGRAM, home=home, address=address, env=env) as process:
        process.finish()
    assert "Completed" in process.errors
    return process.errors


def test_the_link_is_wherever_a_run_is_shown(
    address: str, endpoint: str, flowspan_home: Path
) -> None:
    run(flowspan_home, address, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    (tree,) = flowspan("run", "show", "latest", "--json").objects
    url = TOLD.replace("{trace_id}", tree["trace"]["traceparent"].split("-")[1])
    assert tree["trace_url"] == tree["children"][0]["trace_url"] == url
    assert f"  trace       {url}\n" in flowspan("run", "show", "latest").out
    assert flowspan("run", "ls", "--json").objects[0]["trace_url"] == url
    assert flowspan("task", "ls", "--json").objects[0]["trace_url"] == url
    watched = flowspan("run", "watch", "latest", "--json").objects
    assert watched[0]["run"]["trace_url"] == url
    screen = on_terminal((*COMMAND, "run", "show", "latest"), columns=60).out
    assert f";{url}\x1b\\" in screen
    assert url in on_terminal((*COMMAND, "run", "watch", "latest"), columns=60).out


def test_a_flow_shows_its_link_once_when_it_has_ended(
    address: str, endpoint: str, flowspan_home: Path
) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "FLOWSPAN_TRACE_URL": OWN}
    shown = run(flowspan_home, address, **env)
    (tree,) = flowspan("run", "show", "latest", "--json", env={"FLOWSPAN_TRACE_URL": OWN}).objects
    url = tree["trace_url"]
    assert url.startswith("https://own.example/#")
    assert shown.count("Trace: ") == 1
    assert f"Flow run '{tree['name']}' - Trace: {url}" in shown.splitlines()[-1]
    assert url not in flowspan("run", "logs", "latest").out


def test_open_gives_the_page_to_the_browser(
    address: str, endpoint: str, flowspan_home: Path, tmp_path: Path
) -> None:
    run(flowspan_home, address, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    (found,) = flowspan("run", "ls", "--limit", "1", "--json").objects
    url, opened = found["trace_url"], tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    screen = {"BROWSER": str(browser), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    outcome = flowspan_process("run", "open", "latest", env=screen)
    assert (outcome.out, outcome.err) == (f"{url}\n", "")
    assert opened.read_text() == f"{url}\n"
    opened.unlink()
    printed = flowspan_process("run", "open", found["id"], "--print", "--json", env=screen)
    trace_id = found["trace"]["traceparent"].split("-")[1]
    assert printed.objects == [
        {"id": found["id"], "trace_id": trace_id, "trace_url": url, "opened": False}
    ]
    assert not opened.exists()


def test_open_prints_the_page_if_there_is_no_browser(
    address: str, endpoint: str, flowspan_home: Path
) -> None:
    run(flowspan_home, address, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    nothing = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "1 2 3 4"}
    outcome = flowspan_process("run", "open", "latest", env=nothing)
    assert outcome.out.startswith("http://viewer.example/trace/")
    assert "no browser here" in outcome.err
    broken = flowspan_process("run", "open", "latest", env={**nothing, "BROWSER": "/no/such"})
    assert (broken.out, "no browser here" in broken.err) == (outcome.out, True)


def test_a_run_without_a_trace(address: str, flowspan_home: Path) -> None:
    assert "Trace: " not in run(flowspan_home, address)
    refused = flowspan("run", "open", "latest", code=1)
    assert "has no trace" in refused.err
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in refused.err
    assert flowspan("run", "ls", "--json").objects[0]["trace_url"] is None
    assert "  trace  " not in flowspan("run", "show", "latest").out


def test_a_trace_that_was_not_sampled(address: str, endpoint: str, flowspan_home: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_SAMPLER": "always_off"}
    assert "Trace: " not in run(flowspan_home, address, **env)
    refused = flowspan("run", "open", "latest", code=1)
    assert "was not sampled" in refused.err
    assert "OTEL_TRACES_SAMPLER" in refused.err
    assert flowspan("run", "ls", "--json").objects[0]["trace_url"] is None
    assert "not sampled" in flowspan("run", "show", "latest").out


def test_no_address_is_configured(
    service: ServiceProcess, flowspan_home: Path, endpoint: str
) -> None:
    shown = run(flowspan_home, service.address, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert "Trace: " not in shown
    here = {"FLOWSPAN_ADDRESS": service.address}
    refused = flowspan("run", "open", "latest", code=1, env=here)
    assert "FLOWSPAN_TRACE_URL" in refused.err
    assert "--trace-url" in refused.err
    (tree,) = flowspan("run", "show", "latest", "--json", env=here).objects
    assert tree["trace_url"] is None


@pytest.mark.parametrize("text", ["localhost/{trace_id}", "http://localhost/"])
def test_a_wrong_address_is_refused_at_the_start(address: str, text: str) -> None:
    setting = {"FLOWSPAN_TRACE_URL": text}
    refused = flowspan("run", "ls", code=1, env=setting)
    assert f"FLOWSPAN_TRACE_URL={text}" in refused.err.replace("'", "")
    of_service = flowspan_process("server", "start", "--trace-url", text, code=2)
    assert "argument --trace-url: it " in of_service.err


def test_the_local_service_tells_it_as_well(endpoint: str, flowspan_home: Path) -> None:
    own = {"FLOWSPAN_TRACE_URL": OWN, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    run(flowspan_home, None, **own)  # starts the service
    shown = run(flowspan_home, None, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert "Trace: https://own.example/#" in shown
