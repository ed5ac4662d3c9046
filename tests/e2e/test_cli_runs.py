"""`flowspan run`, `task` and `flow` against a real service."""

from __future__ import annotations

import re
import subprocess
import time
from uuid import UUID

import pytest
from tests.support.cli import COMMAND, flowspan, flowspan_process, on_terminal
from tests.support.flow_processes import FlowProcess
from tests.support.report_client import Reporter, new_id
from tests.support.service import ServiceProcess

from flowspan.v1 import failure_pb2, log_pb2

BAD = failure_pb2.Failure(
    type="SyntaxError",
    message="invalid syntax (bad.py, line 3)",
    stack_trace="Traceback (most recent call last):\n  the frames\nSyntaxError: invalid syntax\n",
)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def report_census(channel) -> str:
    """Report a run with a subflow and 40 tasks, one failed and one retried; return its id."""
    reporter = Reporter(channel, now_s=time.time() - 100)
    root = reporter.flow_run(
        "stdlib-census", "brave-otter", parameters=b'{"packages":1,"name":"x"}', tags=["demo", "a"]
    )
    reporter.state(root, "RUNNING")
    package = reporter.flow_run("census-package", "json", parent=root)
    reporter.state(package, "RUNNING")
    for number in range(40):
        task = reporter.task_run("parse-file", f"parse-file-{number}", parent=package)
        reporter.state(task, "RUNNING")
        if number == 5:
            reporter.log(task, "two\nlines of [red]text[/red]", level=log_pb2.LOG_LEVEL_ERROR)
            reporter.state(task, "FAILED", failure=BAD, wait_s=0.05)
        elif number == 7:
            reporter.state(task, "SCHEDULED", name="AwaitingRetry")
            reporter.state(task, "RUNNING", name="Retrying", attempt=2)
            reporter.state(task, "COMPLETED", attempt=2)
        else:
            reporter.state(task, "COMPLETED")
    reporter.log(package, "40 files")
    reporter.state(package, "COMPLETED")
    reporter.state(root, "COMPLETED")
    reporter.finish()
    return root


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Yield a service with one census in it and the run's id, for read-only tests."""
    service = ServiceProcess(home=tmp_path_factory.mktemp("shared"))
    service.start()
    try:
        yield service, report_census(service.channel)
        service.check_histories()
    finally:
        service.end()


@pytest.fixture
def census(shared, monkeypatch):
    """Return the id of a census, for read-only tests."""
    service, run_id = shared
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    return run_id


@pytest.fixture
def address(service, monkeypatch):
    """Start a service for this test alone; return its address, which is configured."""
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    return service.address


def test_ls_lists_top_level_runs_newest_first(address, service):
    census = report_census(service.channel)
    reporter = Reporter(service.channel)
    failed = reporter.flow_run("etl", "sad-heron")
    reporter.state(failed, "RUNNING")
    reporter.state(failed, "FAILED", name="TimedOut", failure=BAD)
    reporter.finish()

    lines = flowspan("run", "ls").lines
    assert [line.split()[0] for line in lines] == ["ID", failed[-8:], census[-8:]]
    assert "✗ TimedOut" in lines[1]
    assert "demo, a" in lines[2]
    assert lines == [line.rstrip() for line in lines]

    def ids(*options):
        return [run["id"] for run in flowspan("run", "ls", "--json", *options).objects]

    assert ids() == [failed, census]
    assert ids("--state", "failed") == ids("--state", "TimedOut") == [failed]
    assert ids("--flow", "stdlib-census") == ids("--tag", "demo", "--tag", "a") == [census]
    assert ids("--tag", "demo", "--tag", "other") == []
    assert ids("--limit", "1") == [failed]
    assert len(ids("--all")) == 3
    assert ids("--since", "30s") == [failed]
    assert "more" in flowspan("run", "ls", "-n", "1").out
    assert flowspan("run", "ls", "--state", "crashed").out == "No flow runs.\n"


def test_show_draws_the_tree_and_explains_failures(census):
    shown = flowspan("run", "show", census).out
    assert 'packages=1, name="x"' in shown
    assert "parse-file ×40" in shown
    assert "✗ 1 Failed  ✓ 39 Completed" in shown
    assert "parse-file-5 " in shown
    assert "SyntaxError: invalid syntax (bad.py, line 3)" in shown
    assert "  the frames" in shown
    assert re.search(r"parse-file-7 .*attempt 2", shown)
    assert "parse-file-8" not in shown
    assert "parse-file-8 " in flowspan("run", "show", census, "--full").out

    (tree,) = flowspan("run", "show", census, "--json").objects
    assert tree["id"] == census
    assert tree["parameters"] == {"packages": 1, "name": "x"}
    (package,) = tree["children"]
    assert package["kind"] == "flow_run"
    assert [task["name"] for task in package["children"]] == [f"parse-file-{n}" for n in range(40)]
    failure = package["children"][5]["state"]["failure"]
    assert failure["type"] == "SyntaxError"
    assert package["children"][7]["attempt"] == 2


def test_runs_are_found_by_prefix_name_and_latest(census):
    for text in (census, census.upper(), census[:13], census[:8], "brave-otter", "latest"):
        assert flowspan("run", "show", text, "--json").objects[0]["id"] == census
    assert flowspan("run", "show", "parse-file-5", "--json").objects[0]["kind"] == "task_run"
    assert flowspan("task", "show", "json", "--json").objects[0]["flow_name"] == "census-package"


def test_runs_that_are_not_there_are_an_error_with_a_hint(census):
    for text in (new_id(), "01010101", "no-such-name"):
        outcome = flowspan("run", "show", text, code=1)
        assert outcome.out == ""
        assert outcome.err.startswith("Error: ")
        assert text in outcome.err
        assert "flowspan run ls" in outcome.err


def test_a_beginning_of_several_ids_lists_them(address, service):
    reporter = Reporter(service.channel)
    ids = [reporter.flow_run("etl", f"run-{number}") for number in range(2)]
    reporter.finish()
    outcome = flowspan("run", "show", ids[0][:6], code=2)
    assert all(run_id in outcome.err for run_id in ids)


def test_logs_of_the_whole_tree_or_of_one_run(census):
    out = flowspan("run", "logs", census).out
    assert re.search(r"ERROR +parse-file-5 \| two\nlines of \[red\]text\[/red\]\n", out)
    assert re.search(r"INFO +census-package json \| 40 files\n", out)
    assert flowspan("run", "logs", census, "--own").out == ""
    errors = flowspan("run", "logs", census, "--level", "error", "--json").objects
    assert [(record["level"], record["message"]) for record in errors] == [
        ("ERROR", "two\nlines of [red]text[/red]")
    ]
    assert UUID(errors[0]["run_id"])


def test_a_long_record_is_shown_whole(address, service):
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "long")
    reporter.state(run, "RUNNING")
    pieces = [letter * 200_000 for letter in "abc"]
    for index, piece in enumerate(pieces):
        reporter.log(run, piece, chunk_index=index, chunk_count=3)
        reporter._now_ns -= 1_000_000  # The chunks of a record share its time.
    reporter._now_ns += 2_000_000
    reporter.log(run, "after")
    reporter.state(run, "COMPLETED")
    reporter.finish()
    records = flowspan("run", "logs", "latest", "--json").objects
    assert [record["message"] for record in records] == ["".join(pieces), "after"]
    followed = flowspan("run", "logs", "latest", "--json", "--follow").objects
    assert [record["message"] for record in followed] == ["".join(pieces), "after"]


def test_history_has_every_state(census):
    shown = flowspan("run", "history", "parse-file-7").lines
    assert [line.split()[0] for line in shown] == ["#", "1", "2", "3", "4", "5"]
    states = flowspan("run", "history", "parse-file-7", "--json").objects
    assert [state["state"]["name"] for state in states] == [
        "Pending",
        "Running",
        "AwaitingRetry",
        "Retrying",
        "Completed",
    ]
    assert [state["attempt"] for state in states] == [1, 1, 1, 2, 2]
    assert {state["cause"] for state in states} == {"REPORTED"}


def test_tasks_and_flows_are_listed(census):
    failed = flowspan("task", "ls", "--run", "json", "--state", "failed", "--json").objects
    assert [run["name"] for run in failed] == ["parse-file-5"]
    assert len(flowspan("task", "ls", "--limit", "0", "--json").objects) == 40
    assert len(flowspan("task", "ls").lines) == 1 + 20 + 1
    flows = flowspan("flow", "ls", "--json").objects
    assert [flow["name"] for flow in flows] == ["census-package", "stdlib-census"]
    assert "stdlib-census" in flowspan("flow", "ls").out


def test_delete_takes_the_tree_and_spares_what_runs(address, service):
    census = report_census(service.channel)
    assert "41 runs below it" in flowspan("run", "delete", census).out
    flowspan("run", "show", census, code=1)
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "busy")
    task = reporter.task_run("load", "load-0", parent=run)
    reporter.state(run, "RUNNING")
    reporter.send()
    refused = flowspan("run", "delete", run, code=1)
    assert "Error: " in refused.err
    assert "task run" in flowspan("run", "delete", task, code=1).err
    assert flowspan("run", "delete", run, "--force", "--json").objects == [
        {"id": run, "deleted_run_count": 2}
    ]


def test_cancel_is_a_wish_to_a_process_and_an_order_without_one(address, service):
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "busy")
    reporter.state(run, "RUNNING")
    reporter.send()
    (answer,) = flowspan("run", "cancel", run, "--json").objects
    assert answer["verdict"]["kind"] == "ACCEPTED"
    assert answer["run"]["state"]["type"] == "CANCELLING"
    reporter.state(run, "CANCELLED")
    reporter.finish()
    refused = flowspan("run", "cancel", run, code=1)
    assert "not cancelled" in refused.err


def test_cancel_stops_a_flow_that_runs(service, flowspan_home):
    code = """
        from flowspan import flow, task

        @task
        def step(number):
            if number == 3:
                print("waits", flush=True)
                input()

        @flow
        def patient():
            for number in range(1_000_000):
                step(number)

        patient(return_state=True)
    """
    to_service = ("--address", service.address)
    with FlowProcess(code, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("waits")
        run_id = wait_for_run(to_service)
        assert "is Cancelling" in flowspan(*to_service, "run", "cancel", run_id).out
        process.say("go on")
        process.finish(expected_code=None)
    (tree,) = flowspan(*to_service, "run", "show", run_id, "--json").objects
    assert tree["state"]["type"] == "CANCELLED"
    assert tree["state"]["message"] == "Cancelled from the command line."
    assert 4 <= len(tree["children"]) < 1_000_000


def wait_for_run(to_service: tuple[str, ...]) -> str:
    """Wait for the only run, which is reported after some milliseconds; return its id."""
    deadline = time.monotonic() + 60
    while True:
        runs = flowspan(*to_service, "run", "ls", "--json").objects
        if runs:
            return runs[0]["id"]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_output_in_a_pipe_has_no_colours_and_is_never_cut(address, service):
    reporter = Reporter(service.channel)
    run = reporter.flow_run("f" * 120, "r" * 120)
    reporter.completed(run)
    reporter.finish()
    for command in (("run", "ls"), ("run", "show", run), ("run", "watch", run), ("flow", "ls")):
        run_it = flowspan_process if command == ("run", "ls") else flowspan
        out = run_it(*command, env={"COLUMNS": "60"}).out
        assert "\x1b" not in out
        assert "f" * 120 in out


def test_output_on_a_terminal_fits_it(census):
    for columns, command in ((70, ("run", "ls")), (80, ("run", "show", census))):
        written = on_terminal((*COMMAND, *command), columns=columns).out
        assert "\x1b[" in written
        body = ESCAPE.sub("", written).split("\n\n✗")[0]  # Stack traces are left unchanged.
        tree = [line for line in body.splitlines() if "─ " in line or census[-8:] in line]
        assert tree
        assert max(map(len, tree)) <= columns


def test_no_color(census):
    written = on_terminal((*COMMAND, "run", "ls"), env={"NO_COLOR": "1"}).out
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", written)
    assert "stdlib-census" in written


def test_a_reader_that_goes_away_is_no_error(census):
    for command in (("run", "show", census, "--full"), ("task", "ls", "-n", "0", "--json")):
        process = subprocess.Popen(
            [*COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        assert process.stdout is not None
        process.stdout.close()
        _, errors = process.communicate(timeout=60)
        assert errors == b""
        assert process.returncode == 1


def test_a_terminal_without_the_symbols_gets_something_readable(census):
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    shown = flowspan_process("run", "ls", env=ascii_only).out
    assert "? Completed" in shown
    (tree,) = flowspan_process("run", "show", census, "--json", env=ascii_only).objects
    assert tree["id"] == census
