"""`flowspan run watch` and `run logs --follow` on an active run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time

import pytest
from tests.support.cli import COMMAND, flowspan, on_terminal
from tests.support.report_client import Reporter

from flowspan import get_client
from flowspan.api import StateType
from flowspan.v1 import failure_pb2

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(autouse=True)
def address(service, monkeypatch):
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)


class Command:
    """A command in the background; its output is read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def finish(self, code: int = 0) -> list[str]:
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == code, (out, err)
        return out.splitlines()


def running_flow(service) -> tuple[Reporter, str]:
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING")
    reporter.send()
    return reporter, run


def test_plain_lines_in_a_pipe(service):
    reporter, run = running_flow(service)
    with Command("run", "watch", "latest") as command:
        assert "▸ Running       etl brave-otter" in command.line()
        assert command.line() == "(1 run so far)\n"
        task = reporter.task_run("load", "load-0", parent=run)
        reporter.state(task, "RUNNING")
        failure = failure_pb2.Failure(type="OSError", message="disk full")
        reporter.state(task, "FAILED", failure=failure)
        reporter.state(run, "FAILED", failure=failure)
        reporter.finish()
        lines = command.finish()
    assert [line.split("  ", 1)[1].rstrip() for line in lines] == [
        "○ Pending       load-0",
        "▸ Running       load-0",
        "✗ Failed        load-0  1.0ms  OSError: disk full",
        "✗ Failed        etl brave-otter  3.0ms  OSError: disk full",
    ]


def test_exit_status_tells_the_outcome(service):
    for kind, code in (("COMPLETED", 0), ("FAILED", 1)):
        reporter, run = running_flow(service)
        reporter.state(run, kind)
        reporter.finish()
        flowspan("run", "watch", run, "--exit-status", code=code)
        flowspan("run", "watch", run, code=0)


def test_promise_a_watch_is_gapless_over_restarts_of_the_service(service):
    reporter, run = running_flow(service)
    items = []
    with Command("run", "watch", run, "--json") as command:
        while not items or items[-1]["event"] != "snapshot_end":
            items.append(json.loads(command.line()))
        reader = threading.Thread(
            target=lambda: items.extend(map(json.loads, iter(command.line, "")))
        )
        reader.start()
        for step in range(6):
            task = reporter.task_run("load", f"load-{step}", parent=run)
            reporter.completed(task)
            reporter.send()
            if step in {1, 3}:
                service.restart()
        reporter.state(run, "COMPLETED")
        reporter.finish()
        command.process.wait(60)
        reader.join(60)
        assert command.process.returncode == 0
    known = {item["run"]["id"]: item["run"] for item in items if item["event"] == "snapshot"}
    changes = [item["transition"] for item in items if item["event"] == "transition"]
    positions = [change["position"] for change in changes]
    assert positions == sorted(set(positions))
    for item in flowspan("task", "ls", "--run", run, "--json").objects:
        told = [change["ordinal"] for change in changes if change["run_id"] == item["id"]]
        first = known[item["id"]]["transition_count"] + 1 if item["id"] in known else 1
        assert told == list(range(first, 4))
    assert changes[-1]["state"]["type"] == "COMPLETED"
    assert changes[-1]["run_id"] == run


def test_a_live_tree_on_a_terminal(service):
    reporter, run = running_flow(service)
    tasks = [reporter.task_run("load", f"load-{number}", parent=run) for number in range(30)]
    reporter.send()

    def go_on() -> bytes:
        for task in tasks:
            reporter.completed(task)
        reporter.state(run, "COMPLETED")
        reporter.finish()
        return b""

    written = on_terminal(
        (*COMMAND, "run", "watch", "latest"), columns=100, rows=20, when=("0/30", go_on)
    )
    assert written.code == 0
    text = ESCAPE.sub("", written.out)
    assert "load ×30" in text
    assert "0/30" in text
    last = text[text.rindex("etl brave-otter") :]
    assert "✓ Completed" in last
    assert "flowspan run logs" in last


def test_ctrl_c_ends_it_without_a_word(service):
    reporter, _ = running_flow(service)
    outcome = on_terminal(
        (*COMMAND, "run", "watch", "latest"), when=("brave-otter", lambda: b"\x03")
    )
    assert outcome.code == 130
    assert "Traceback" not in outcome.out
    assert "Abort" not in outcome.out
    reporter.finish()


def test_logs_are_followed_to_the_end(service):
    reporter, run = running_flow(service)
    reporter.log(run, "first")
    reporter.send()
    with Command("run", "logs", run, "--follow", "--json") as command:
        assert json.loads(command.line())["message"] == "first"
        task = reporter.task_run("load", "load-0", parent=run)
        reporter.log(task, "second")
        reporter.send()
        assert json.loads(command.line())["message"] == "second"
        service.restart()
        reporter.log(run, "third")
        reporter.completed(task)
        reporter.state(run, "COMPLETED")
        reporter.finish()
        assert [json.loads(line)["message"] for line in command.finish()] == ["third"]


def test_a_run_that_is_deleted_ends_the_watch(service):
    reporter, run = running_flow(service)
    with Command("run", "watch", run, "--exit-status") as command:
        assert "Running" in command.line()
        command.line()
        deadline = time.monotonic() + 60
        flowspan("run", "delete", run, "--force")
        while command.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert command.process.returncode == 1
    del reporter


@pytest.mark.parametrize("options", [(), ("--flow", "etl"), ("--flow", "other", "--flow", "etl")])
def test_the_next_run_is_waited_for_and_watched(service, options):
    """Runs that have started, that are pending, or that have a parent do not count."""
    reporter, running = running_flow(service)
    planned = json.loads(service_call(lambda client: client.create_flow_run("etl", name="planned")))
    with Command("run", "watch", "--next", "--json", *options) as command:
        waiting = command.process.stderr.readline()
        assert waiting.startswith("Waiting for the next run")
        assert all(name in waiting for name in options[1::2])
        child = reporter.flow_run("etl", "child", parent=running)
        reporter.completed(child)
        reporter.state(running, "RUNNING", name="Retrying", attempt=2)
        service_call(lambda client: client.create_flow_run("etl", name="not-yet"))
        service_call(lambda client: client.set_flow_run_state(planned, StateType.CANCELLING)[1])
        if options:
            reporter.completed(reporter.flow_run("unasked", "not-it"))
        reporter.send()
        wanted = reporter.flow_run("etl", "it")
        reporter.state(wanted, "RUNNING")
        reporter.state(wanted, "COMPLETED")
        reporter.state(running, "COMPLETED", attempt=2)
        reporter.finish()
        items = [json.loads(line) for line in command.finish()]
    told = {item["run"]["id"] for item in items if item["event"] == "snapshot"}
    told |= {item["transition"]["run_id"] for item in items if item["event"] == "transition"}
    assert told == {wanted}


def service_call(ask) -> str:
    """Call the service for a run; return its id as JSON."""
    with get_client(sync_client=True) as client:
        return json.dumps(str(ask(client).id))


def test_the_next_run_may_fail_at_once_or_be_lost_with_the_service(service):
    reporter = Reporter(service.channel)
    with Command("run", "watch", "--next", "--exit-status") as command:
        command.process.stderr.readline()
        service.restart()
        run = reporter.flow_run("etl", "wrong-arguments")
        reporter.state(run, "FAILED")
        reporter.finish()
        assert "wrong-arguments" in command.finish(code=1)[0]


def test_what_is_to_be_watched_is_said_once():
    for arguments in ((), ("latest", "--next"), ("latest", "--flow", "etl"), ("--flow", "etl")):
        refused = flowspan("run", "watch", *arguments, code=2)
        assert "--next" in refused.err


def test_a_program_that_waits_first_starts_the_local_service(flowspan_home, monkeypatch):
    monkeypatch.delenv("FLOWSPAN_ADDRESS")
    program = "from flowspan import flow\n@flow\ndef first(): pass\nfirst()\n"
    with Command("run", "watch", "--next", "--flow", "first") as command:
        assert "of first" in command.process.stderr.readline()
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert any("Completed     first" in line for line in command.finish())
