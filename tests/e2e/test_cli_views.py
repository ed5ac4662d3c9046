"""Views of runs against a real service: states, ids, times, trees, failures."""

from __future__ import annotations

import io
import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.support.cli import COMMAND, flowspan, on_terminal
from tests.support.flow_processes import run_code
from tests.support.report_client import Reporter, ReportStream, created, entered, new_id

from flowspan.api.client import SyncFlowspanClient
from flowspan.cli.summary import print_summary
from flowspan.v1 import failure_pb2

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(autouse=True)
def address(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    return service.address


def seen(*arguments: str, columns: int = 80) -> list[str]:
    """Return the lines that a terminal of this width shows, without colours."""
    outcome = on_terminal((*COMMAND, *arguments), columns=columns)
    assert outcome.code == 0, outcome.out
    return ESCAPE.sub("", outcome.out).splitlines()


def test_states_are_counted_under_their_names(service: ServiceProcess, flowspan_home: str) -> None:
    code = """
        import time
        from flowspan import flow, task
        from flowspan.cache_policies import INPUTS
        from flowspan.states import Completed
        from flowspan.transactions import transaction

        @task(cache_policy=INPUTS, persist_result=True)
        def train(n):
            return n

        @task(timeout_seconds=0.01)
        def slow():
            while True:
                time.sleep(0.001)

        @task
        def bad():
            raise ValueError("bad")

        @task
        def after(_):
            pass

        @task
        def written():
            pass

        @written.on_rollback
        def unwrite(txn):
            pass

        @flow
        def named():
            for n in range(7):
                train(n)
            for n in range(5):
                train(n)
            for n in range(9):
                slow(return_state=True)
            failed = bad.submit()
            failed.wait()
            for n in range(9):
                after.submit(failed).wait()
            for n in range(9):
                try:
                    with transaction():
                        written()
                        raise KeyError(n)
                except KeyError:
                    pass
            return Completed()

        named(return_state=True)
    """
    run_code(code, home=flowspan_home, address=service.address, expected_code=None)
    for lines in (flowspan("run", "show", "latest").lines, seen("run", "show", "latest")):
        shown = "\n".join(lines)
        assert re.search(r"train ×12 +✓ 7 Completed, 5 Cached", shown)
        assert re.search(r"slow ×9 +✗ TimedOut", shown)
        assert re.search(r"after ×9 +\S NotReady", shown)
        assert re.search(r"written ×9 +✓ RolledBack", shown)
        assert re.search(r" 12  train +✓ 7 Completed, 5 Cached", shown)


def make_tasks(service: ServiceProcess, count: int = 3) -> tuple[str, list[str]]:
    """Report a flow run and tasks with long names; return their ids."""
    reporter = Reporter(service.channel)
    flow = reporter.flow_run("etl", "brave-otter", tags=["a-tag-of-some-length", "another-one"])
    reporter.state(flow, "RUNNING")
    tasks = [
        reporter.task_run("load_a_table", f"load_a_table-{n}", parent=flow, tags=["nightly-runs"])
        for n in range(count)
    ]
    reporter.completed(*tasks)
    reporter.state(flow, "COMPLETED")
    reporter.finish()
    return flow, tasks


def test_task_ls_shows_names_and_ends_of_ids_by_which_runs_are_found(
    service: ServiceProcess,
) -> None:
    flow, tasks = make_tasks(service)
    lines = seen("task", "ls")
    assert max(map(cell_len, lines)) <= 80
    for line, task in zip(lines[1:], reversed(tasks), strict=True):
        end = line.split()[0]
        assert task.endswith(end)
        assert len(end) == 8
        assert re.search(r"load_a_table-\d  ✓ Completed", line)
        for command in (("task", "show"), ("run", "logs"), ("run", "history"), ("run", "watch")):
            flowspan(*command, end)
        assert flowspan("task", "show", end, "--json").objects[0]["id"] == task
    (line,) = seen("run", "ls")[1:]
    assert flowspan("run", "show", line.split()[0], "--json").objects[0]["id"] == flow
    # The suggested commands are for the task, not for the flow of the same time.
    hint = flowspan("task", "show", tasks[1]).lines[-1]
    assert hint.split()[-1] in tasks[1]
    assert flowspan(*hint.split()[2:], "--json").code == 0
    assert flowspan("run", "show", hint.split()[-1], "--json").objects[0]["id"] == tasks[1]


@pytest.mark.parametrize("length", [4, 7, 8, 12, 14, 17, 19, 35, 36])
def test_an_end_of_an_id_of_any_length_is_found(service: ServiceProcess, length: int) -> None:
    _, tasks = make_tasks(service)
    end = tasks[1][-length:]
    for text in (end, end.upper(), end.replace("-", "")):
        assert flowspan("task", "show", text, "--json").objects[0]["id"] == tasks[1]


def test_ids_that_end_alike_are_shown_at_more_length(service: ServiceProcess) -> None:
    start = new_id()[:18]
    ids = [f"{start}-9abc-{head}77777777" for head in ("0000", "0001", "1111")]
    ids.append(f"{start}-8abc-111177777777")
    stream = ReportStream(service.channel)
    stream.wait_for_ack(stream.report(*(created(i, run_name="n" * 40) for i in ids)))
    stream.goodbye()
    ends = {line.split()[0] for line in seen("run", "ls", "--limit", "0", columns=60)[1:]}
    assert ends == {"0077777777", "0177777777", "9abc-111177777777", "8abc-111177777777"}
    for end in ends:
        (run,) = flowspan("run", "show", end, "--json").objects
        assert run["id"].endswith(end)
    ambiguous = flowspan("run", "show", "77777777", code=2)
    assert all(run_id in ambiguous.err for run_id in ids)
    assert "more than one run" in ambiguous.err


def test_artifacts_are_found_by_the_end_that_is_listed(address: str) -> None:
    with SyncFlowspanClient(address) as client:
        made = [client.create_artifact("own", n) for n in range(3)]
    for line, artifact in zip(seen("artifact", "ls", "--all")[1:], reversed(made), strict=True):
        end = line.split()[0]
        (found,) = flowspan("artifact", "inspect", end, "--json").objects
        assert found["id"] == str(artifact.id)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [30, 40, 60, 80, 120])
def test_every_table_fits_the_terminal(address: str, service: ServiceProcess, columns: int) -> None:
    flow, tasks = make_tasks(service, count=12)
    wide = Reporter(service.channel)
    odd = wide.flow_run("日本語のフロー" * 8, "👩‍🚀" * 12, tags=["e\u0301" * 40])
    wide.state(odd, "RUNNING", name="状態" * 20, message="理由" * 100)
    wide.state(odd, "FAILED", name="T" * 60, message="w" * 300)
    wide.finish()
    with SyncFlowspanClient(address) as client:
        client.create_artifact("own", 1, key="k" * 100, description="d" * 200)
        client.create_artifact("table", [{f"column {n}": "x" * 50 for n in range(9)}], key="t")
        client.set_variable("v" * 100, "x" * 300, tags=["t" * 60])
    for command in (
        ("run", "ls", "--all"),
        ("task", "ls"),
        ("flow", "ls"),
        ("run", "history", odd),
        ("run", "history", tasks[0]),
        ("artifact", "ls", "--all"),
        ("variable", "ls"),
        ("config", "show"),
    ):
        lines = seen(*command, columns=columns)
        assert max(map(cell_len, lines)) <= columns, (command, lines)
        assert len(lines) > 1
        piped = flowspan(*command).lines
        assert "…" not in "".join(piped[:2]).replace("… and more", "")
    tree = [line for line in seen("run", "show", flow, columns=columns) if "load" in line]
    assert tree
    assert max(map(cell_len, tree)) <= columns
    names = seen("task", "ls", columns=columns)
    assert "load_a" in names[1]
    assert "✓ Compl" in names[1]


def test_a_run_has_one_duration_in_every_command(address: str, service: ServiceProcess) -> None:
    """It ran for 2 s and 1 s with 300 s between, and was created 5 s before it started."""
    reporter = Reporter(service.channel, now_s=time.time() - 400)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING", wait_s=5)
    reporter.state(run, "SCHEDULED", name="AwaitingRetry", wait_s=2)
    reporter.state(run, "RUNNING", attempt=2, wait_s=300)
    reporter.state(run, "COMPLETED", attempt=2, wait_s=1)
    reporter.finish()
    assert flowspan("run", "show", run, "--json").objects[0]["run_duration_s"] == 3
    assert re.search(r"TOOK  WAITED\n.*  3\.0s  5m 05s\n", flowspan("run", "ls").out)
    shown = flowspan("run", "show", run).out
    assert "took 3.0s, waited 5m 05s" in shown
    assert re.search(r"✓ Completed +3\.0s  attempt 2 · waited 5m 05s", shown)
    assert "3.0s  waited 5m 05s" in flowspan("run", "watch", run).lines[0]
    drawn = on_terminal((*COMMAND, "run", "watch", run), columns=100).out
    assert re.search(r"3\.0s.*waited 5m 05s", ESCAPE.sub("", drawn))
    out = io.StringIO()
    print_summary(Console(file=out, width=100), run, address=address)
    assert "Completed in 3.0s, waited 5m 05s" in out.getvalue()


def test_a_watch_reckons_as_the_service_does(address: str, service: ServiceProcess) -> None:
    reporter = Reporter(service.channel, now_s=time.time() - 100)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING", wait_s=5)
    reporter.send()
    with SyncFlowspanClient(address) as client:
        items = client.watch(run)
        from flowspan.cli.tree import RunTree  # noqa: PLC0415 - an internal of `run watch`

        tree = RunTree(client.read_flow_run(run).id)
        tree.apply(next(items))
        reporter.state(run, "SCHEDULED", name="AwaitingRetry", wait_s=2)
        reporter.state(run, "RUNNING", attempt=2, wait_s=30)
        reporter.state(run, "COMPLETED", attempt=2, wait_s=1)
        reporter.finish()
        for item in items:
            tree.apply(item)
        assert tree.root is not None
        known = client.read_flow_run(run)
        assert tree.root.run.run_duration_s == pytest.approx(known.run_duration_s) == 3
        assert (tree.root.run.started_at, tree.root.run.ended_at) == (
            known.started_at,
            known.ended_at,
        )


NESTED = """
    from flowspan import flow, task

    @task
    def innermost():
        raise ValueError("bad")

    @flow
    def inner():
        innermost()

    @flow
    def middle():
        {middle}

    @flow
    def outer():
        middle()

    outer(return_state=True)
"""


@pytest.mark.parametrize(
    ("middle", "tracebacks"),
    [
        ("inner()", ["ValueError: bad"]),
        ("return inner(return_state=True)", ["ValueError: bad"]),
        ("inner.with_options(retries=1)()", ["ValueError: bad"]),
        # Its own error differs from the error of the run below it.
        (
            "inner(return_state=True); raise KeyError('own')",
            ["KeyError: 'own'", "ValueError: bad"],
        ),
        (
            "[inner(return_state=True) for _ in range(20)]; raise OSError(1)",
            ["OSError: 1", "ValueError: bad"],
        ),
    ],
    ids=["raised", "returned", "retried", "own", "many"],
)
def test_one_traceback_for_a_chain_of_nested_runs(
    service: ServiceProcess, flowspan_home: str, middle: str, tracebacks: list[str]
) -> None:
    code = NESTED.format(middle=middle)
    run_code(code, home=flowspan_home, address=service.address)
    shown = flowspan("run", "show", "latest").out
    assert shown.count("Traceback (most recent call last)") == len(tracebacks)
    for last_line in tracebacks:
        assert shown.count(f"    {last_line}\n") == 1
    assert "python_client/flowspan" not in shown
    task = flowspan("task", "show", flowspan("task", "ls", "--json").objects[0]["id"]).out
    assert task.count("Traceback (most recent call last)") == 1


def test_an_error_raised_from_another_is_shown_once_with_its_cause(
    service: ServiceProcess, flowspan_home: str
) -> None:
    middle = """
        try:
            inner()
        except ValueError as error:
            raise RuntimeError("wrapped") from error
    """
    code = NESTED.format(middle=middle.strip())
    run_code(code, home=flowspan_home, address=service.address)
    shown = flowspan("run", "show", "latest").out
    assert shown.count("✗ ") >= 4
    assert shown.count("    RuntimeError: wrapped\n") == 1
    assert shown.count("    ValueError: bad\n") == 1


def test_many_equal_failures_are_counted(service: ServiceProcess) -> None:
    failure = failure_pb2.Failure(type="E", message="m", stack_trace="\n".join("x" * 40) + "\n")
    reporter = Reporter(service.channel)
    flow = reporter.flow_run("etl", "brave-otter")
    reporter.state(flow, "RUNNING")
    for n in range(1_200):
        task = reporter.task_run("t", f"t-{n}", parent=flow)
        reporter.state(task, "RUNNING")
        reporter.state(task, "FAILED", failure=failure)
    reporter.state(flow, "FAILED", failure=failure)
    reporter.finish()
    shown = flowspan("run", "show", flow).lines
    assert len(shown) < 80
    assert "   └─ … 1,190 more  ✗ Failed" in shown
    assert "✗ t-0  E: m  (and 1,199 more runs)" in shown
    assert shown.count("    … 28 more lines. Use --full to show all.") == 1


def test_circles_of_parents(service: ServiceProcess) -> None:
    """a called b, b called c, c called a; d called itself. A faulty client may report this."""
    a, b, c, d = (new_id() for _ in range(4))
    stream = ReportStream(service.channel)
    runs = [
        created(a, parent_run_id=c, root_run_id=a),
        created(b, parent_run_id=a, root_run_id=a),
        created(c, parent_run_id=b, root_run_id=a, kind="TASK"),
        created(d, parent_run_id=d, root_run_id=d),
    ]
    ends = [entered(i, kind) for i in (a, b, c, d) for kind in ("RUNNING", "FAILED")]
    stream.wait_for_ack(stream.report(*runs, *ends))
    stream.goodbye()
    assert not stream.verdicts
    for run_id, count in ((a, 3), (b, 3), (c, 3), (d, 1)):
        for option in ("", "--full", "--json"):
            shown = flowspan("run", "show", run_id, *option.split()).out
            if option == "--json":
                assert shown.count('"children":[') == count
                json.loads(shown)
            else:
                assert len(re.findall(r"✗ Failed", shown)) >= count
        assert flowspan("run", "watch", run_id).lines
        assert flowspan("run", "watch", run_id, "--json").objects[-1]["event"] == "snapshot_end"
        seen("run", "watch", run_id)
        flowspan("run", "logs", run_id)


@pytest.mark.slow
def test_a_tree_a_thousand_deep_and_a_history_of_many_pages(service: ServiceProcess) -> None:
    """Python's recursion limit is 1,000; a page of a history has 10,000 transitions."""
    reporter = Reporter(service.channel)
    ids = [reporter.flow_run("step", "top")]
    for number in range(1, 2_000):
        ids.append(reporter.flow_run("step", f"s{number}", parent=ids[-1]))
    for run_id in ids[:-1]:
        reporter.state(run_id, "RUNNING")
    reporter.send()
    for run_id in reversed(ids[:-1]):
        reporter.state(run_id, "COMPLETED")
    reporter.send()
    last = ids[-1]
    for attempt in range(1, 6_001):
        reporter.state(last, "RUNNING", attempt=attempt)
        reporter.state(last, "SCHEDULED", name="AwaitingRetry", attempt=attempt)
        if attempt % 1_000 == 0:
            reporter.send()
    reporter.state(last, "CANCELLED", attempt=6_000)
    reporter.finish()

    shown = flowspan("run", "show", ids[0]).lines
    assert any(line.strip().startswith("2,000  step") for line in shown)
    assert any("… 1,949 more" in line for line in shown)
    assert len(shown) < 70
    full = flowspan("run", "show", ids[0], "--full").lines
    assert sum("step s" in line for line in full) == 1_999
    assert any("… 1,999 └─ " in line for line in full), "deep levels are not indented"
    assert max(map(len, full)) < 200
    whole = flowspan("run", "show", ids[0], "--json").out
    assert whole.count('"children":[') == 2_000
    assert flowspan("run", "watch", ids[0]).lines[1] == "(2,000 runs so far)"

    rows = flowspan("run", "history", last).lines
    states = flowspan("run", "history", last, "--json").objects
    assert len(rows) == 1 + len(states) >= 12_003
    assert [each["ordinal"] for each in states] == list(range(1, len(states) + 1))
    assert rows[-1].split()[0] == f"{len(states):,}"
