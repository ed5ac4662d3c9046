"""Details of runs arrive: with a flow's program, the API client and the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import flowspan
from tests.support.flow_processes import run_code

from flowspan.api.client import SyncFlowspanClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess

    from flowspan.client import FlowRun, TaskRun

PROGRAM = '''
    from dataclasses import dataclass, field

    from flowspan import flow, task

    @dataclass(eq=False)
    class Table:
        rows: list = field(default_factory=list)

    @task(version="t1")
    def load() -> Table:
        """Load all rows.

        Slowly.
        """
        return Table([1, 2, 3])

    @task(retries=2)
    def parse(row, table):
        if row["number"] == 5:
            raise ExceptionGroup("two", [ValueError("left"), KeyError("right")])

    @flow(version="f1", description="Given to the flow.")
    def etl(day):
        table = load()
        later = load.submit()
        parse.map([{"number": n} for n in range(12)], table=table, wait_for=[later]).wait()

    etl("monday", return_state=True)
'''


@pytest.fixture(autouse=True)
def address(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    return service.address


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[SyncFlowspanClient]:
    with SyncFlowspanClient(service.address) as client:
        yield client


def etl(client: SyncFlowspanClient) -> tuple[FlowRun, dict[str, TaskRun]]:
    """Return the flow run, and its task runs by name, each read on its own."""
    (listed,) = client.read_flow_runs()
    tasks = {run.name: client.read_task_run(run.id) for run in client.read_task_runs()}
    return client.read_flow_run(listed.id), tasks


def test_the_api_client_reads_what_runs_say_of_themselves(
    service: ServiceProcess, flowspan_home: str, client: SyncFlowspanClient
) -> None:
    run_code(PROGRAM, home=flowspan_home, address=service.address)
    flow_run, tasks = etl(client)
    assert (flow_run.description, flow_run.flow_version) == ("Given to the flow.", "f1")
    assert flow_run.max_attempts == 1
    load, parse = tasks["load-0"], tasks["parse-5"]
    assert (load.description, load.task_version) == ("Load all rows.\n\nSlowly.", "t1")
    assert (parse.attempt, parse.max_attempts) == (3, 3)
    assert parse.parameters is not None
    shown = parse.parameters.json()
    assert shown["row"] == {"number": 5}
    assert shown["table"] == {"rows": [1, 2, 3]}
    inputs = {name: [each.id for each in found] for name, found in parse.task_inputs.items()}
    assert inputs == {"table": [load.id], "wait_for": [tasks["load-1"].id]}
    for run in (flow_run, load, parse):
        assert run.code is not None
        assert run.code.line > 0
        assert run.code.function.rpartition(".")[2] in {"etl", "load", "parse"}
    failure = parse.state.failure
    assert failure is not None
    assert [(other.type, other.message) for other in failure.other_causes] == [
        ("ValueError", "left"),
        ("KeyError", "'right'"),
    ]


def test_the_command_shows_it(service: ServiceProcess, flowspan_home: str) -> None:
    run_code(PROGRAM, home=flowspan_home, address=service.address)
    shown = flowspan("run", "show", "latest").out
    assert "  description Given to the flow.\n" in shown
    assert "  version     f1\n" in shown
    (row,) = [line for line in shown.splitlines() if "├─ parse-5" in line or "└─ parse-5" in line]
    assert 'attempt 3 of 3 · row={"number":5}' in row
    assert '    with row={"number":5}, table={"rows":[1,2,3]}\n' in shown
    assert shown.count("ValueError: left") == 1
    (found,) = flowspan("task", "ls", "--state", "failed", "--json").objects
    task = flowspan("task", "show", found["id"]).out
    assert "  attempt     3 of 3\n" in task
    assert '  arguments   row={"number":5}, table={"rows":[1,2,3]}\n' in task
    assert "  inputs      table from load-0 (" in task
    assert "wait_for from load-1 (" in task
    assert "  code        " in task
    (of_json,) = flowspan("task", "show", found["id"], "--json").objects
    assert of_json["parameters"]["row"] == {"number": 5}
    assert [each["parameter"] for each in of_json["inputs"]] == ["table", "wait_for"]
    assert [each["type"] for each in of_json["state"]["failure"]["other_causes"]] == [
        "ValueError",
        "KeyError",
    ]


def test_previews_can_be_turned_off(
    service: ServiceProcess, flowspan_home: str, client: SyncFlowspanClient
) -> None:
    off: Any = {"FLOWSPAN_TASK_PARAMETERS_PREVIEW": "false"}
    run_code(PROGRAM, home=flowspan_home, address=service.address, env=off)
    _, tasks = etl(client)
    assert {run.parameters for run in tasks.values()} == {None}
    assert "with row" not in flowspan("run", "show", "latest").out


def test_runs_in_worker_processes_say_it_as_well(
    service: ServiceProcess, flowspan_home: str, client: SyncFlowspanClient
) -> None:
    code = '''
        from flowspan import flow, task
        from flowspan.task_runners import ProcessPoolTaskRunner

        @task(retries=1)
        def inner(n):
            """Inside."""
            return n

        @task
        def outer(n):
            return inner(inner.submit(n))

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def etl():
            outer.submit(4).result()

        if __name__ == "__main__":
            etl()
    '''
    run_code(code, home=flowspan_home, address=service.address)
    runs = [client.read_task_run(run.id) for run in client.read_task_runs(oldest_first=True)]
    outer, first, second = runs
    assert outer.parameters is not None
    assert outer.parameters.json() == {"n": 4}
    assert (first.description, first.max_attempts) == ("Inside.", 2)
    assert [(each.run_id, each.parameter) for each in second.inputs] == [(first.id, "n")]
    assert second.parameters is not None
    assert second.parameters.json() == {"n": 4}
