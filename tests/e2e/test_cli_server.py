"""`flowspan server`, and what the command says when there is no service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from tests.support.cli import COMMAND, flowspan, flowspan_process
from tests.support.dying import dying_with_us
from tests.support.service import read_service_file


def wait_until_ready(home, process) -> None:
    deadline = time.monotonic() + 60
    while (read_service_file(home) or {}).get("pid") != process.pid:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def started(flowspan_home):
    """`flowspan server start`, ready; killed at the end."""
    process = subprocess.Popen(
        [*dying_with_us(), *COMMAND, "server", "start", "--port", "0", "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        wait_until_ready(flowspan_home, process)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_start_status_stop(flowspan_home, started):
    (status,) = flowspan("server", "status", "--json").objects
    assert status["process_id"] == started.pid
    assert status["database"] == "sqlite"
    assert status["address"].startswith("unix:")
    shown = flowspan("server", "status").out
    assert f"process      {started.pid}\n" in shown
    (stopped,) = flowspan("server", "stop", "--json").objects
    assert stopped == {
        "address": status["address"],
        "process_id": started.pid,
        "stopped": True,
    }
    started.communicate(timeout=60)
    assert started.returncode == 0
    nobody = flowspan("server", "status", code=1)
    assert "no service is running" in nobody.err
    assert "flowspan server start" in nobody.err
    assert "no service is running" in flowspan("server", "stop", code=1).err


def test_ctrl_c_stops_a_service_cleanly(flowspan_home, started):
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 0
    assert "Traceback" not in errors
    assert read_service_file(flowspan_home) is None


def test_the_service_explains_its_own_flags(flowspan_home):
    helped = flowspan_process("server", "start", "--help")
    assert "usage: flowspan server start" in helped.out
    assert "--otlp-endpoint" in helped.out
    wrong = flowspan_process("server", "start", "--port", "many", code=2)
    assert "--port" in wrong.err


def test_a_service_of_an_unknown_process_is_not_stopped(service, monkeypatch):
    """As behind a tunnel, or from a container: the id means another process here."""
    monkeypatch.setattr("flowspan.cli.server._is_service", lambda _: False)
    refused = flowspan("--address", service.address, "server", "stop", code=1)
    assert "container" in refused.err
    assert service.is_running


def test_an_address_is_an_option_and_a_variable(service, monkeypatch):
    by_option = flowspan("--address", service.address, "server", "status", "--json")
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    by_variable = flowspan("server", "status", "--json")
    assert by_option.objects[0]["process_id"] == by_variable.objects[0]["process_id"] == service.pid


def test_reading_starts_no_service_where_nothing_was_ever_stored(flowspan_home):
    for command in (("run", "ls"), ("run", "show", "latest"), ("flow", "ls")):
        outcome = flowspan(*command, code=1)
        assert "no service is running" in outcome.err
    assert read_service_file(flowspan_home) is None


def test_reading_wakes_the_service_of_a_database(flowspan_home, started):
    flowspan("server", "stop")
    started.communicate(timeout=60)
    assert flowspan("run", "ls").out == "No flow runs.\n"
    awake = read_service_file(flowspan_home)
    assert awake is not None
    assert awake["pid"] != started.pid


def test_addresses_that_lead_nowhere(flowspan_home):
    for address, part in (
        ("127.0.0.1:1", "nothing listens there"),
        ("nonsense", "no port"),
        ("http://localhost:4600", "not a URL"),
        (f"unix:{flowspan_home}/none.sock", "no such socket"),
    ):
        outcome = flowspan("--address", address, "run", "ls", code=1)
        assert outcome.out == ""
        assert part in outcome.err
        assert address in outcome.err


def test_wrong_command_lines():
    for arguments in (("run", "lss"), ("run", "ls", "--limit", "-1"), ("nothing",)):
        assert flowspan(*arguments, code=2).err
    assert "age" in flowspan("run", "ls", "--since", "yesterday", code=2).err


def test_every_command_explains_itself():
    helped = flowspan("--help").out
    for group in ("server", "run", "task", "flow", "spool", "config"):
        assert group in helped
        commands = flowspan(group, "--help").out
        assert "Commands" in commands
    for command in ("ls", "show", "logs", "watch", "history", "cancel", "delete"):
        assert "flowspan run" in flowspan("run", command, "--help").out


def test_version_and_settings(flowspan_home):
    (version,) = flowspan("version", "--json").objects
    assert version["version"]
    shown = flowspan_process("version").out
    assert version["version"] in shown
    assert flowspan("--version").out == shown
    (settings,) = flowspan("config", "show", "--json").objects
    assert settings["home"] == str(flowspan_home)
    shown = flowspan("config", "show", env={"FLOWSPAN_LOG_LEVEL": "debug"}).out
    assert "FLOWSPAN_LOG_LEVEL" in shown
    wrong = flowspan("config", "show", code=1, env={"FLOWSPAN_LOG_LEVEL": "loud"})
    assert "FLOWSPAN_LOG_LEVEL" in wrong.err


def test_spools_are_listed_and_pushed(service, flowspan_home):
    program = "from flowspan import flow\n@flow\ndef lonely(): pass\nlonely()\n"
    gone = "127.0.0.1:1"
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FLOWSPAN_ADDRESS": gone, "FLOWSPAN_FLUSH_TIMEOUT_S": "0.1"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    (spool,) = flowspan("spool", "ls", "--json").objects
    assert spool["address"] == gone
    assert spool["size_bytes"] > 0
    assert "waits" in flowspan("spool", "ls").out
    to_service = ("--address", service.address, "spool", "push")
    assert flowspan(*to_service).out == "Nothing to send.\n"
    assert "Sent" in flowspan(*to_service, "--any-address").out
    assert "everything was sent" in flowspan("spool", "ls").out
    runs = flowspan("--address", service.address, "run", "ls", "--json").objects
    assert [(run["flow_name"], run["state"]["type"]) for run in runs] == [("lonely", "COMPLETED")]
