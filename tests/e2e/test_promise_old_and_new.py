"""Promise 11: clients one minor version older or newer than the service work with it.

Older peers are recordings: tests/data/protocol has the calls between client and service of each
release. Newer peers are simulated by a proxy that adds things unknown to this version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.command_process import run_cli
from tests.support.flow_processes import FlowProcess
from tests.support.report_client import ReportStream, created, entered, new_id
from tests.support.run_queries import flow_history, flow_runs, logs, task_history, task_runs
from tests.support.version_skew import (
    UNKNOWN_BYTES,
    UNKNOWN_VALUE,
    Recorded,
    SkewProxy,
    newer_requests,
    newer_responses,
    replaying,
)

from flowspan.v1 import report_pb2, state_pb2

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

DATA = Path(__file__).resolve().parents[1] / "data" / "protocol"
RELEASES = sorted(DATA.glob("v*.json"))
REPORT = "/flowspan.v1.ReportService/Report"

FLOW = """
    from flowspan import flow, get_run_logger, task

    @task(retries=1)
    def unsteady(number, seen=[]):
        get_run_logger().info("number %s", number)
        if not seen:
            seen.append(number)
            raise ValueError("not yet")
        return number

    @flow
    def numbers(count: int):
        return [unsteady(number) for number in range(count)]

    print("result", numbers(3))
"""


def load(path: Path) -> list[Recorded]:
    return [Recorded.from_json(each) for each in json.loads(path.read_text())]


def check_flow(service: ServiceProcess) -> str:
    """Check the runs of the flow above in the service; return the id of the flow run."""
    (flow_run,) = flow_runs(service.channel)
    assert flow_run.flow_name == "numbers"
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]
    histories = [task_history(service.channel, run.id) for run in task_runs(service.channel)]
    assert histories == [
        ["Pending", "Running", "Retrying", "Completed"],
        *[["Pending", "Running", "Completed"]] * 2,
    ]
    lines = [record.message for record in logs(service.channel, flow_run.id, descendants=True)]
    assert {"number 0", "number 1", "number 2"} <= set(lines)
    return str(flow_run.id)


def test_promise_old_and_new_recordings_exist() -> None:
    assert RELEASES


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_promise_old_and_new_service_takes_an_older_client(
    path: Path, service: ServiceProcess
) -> None:
    streams = [call for call in load(path) if call.method == REPORT]
    assert streams
    for stream in streams:
        call = service.channel.stream_stream(REPORT)(iter(stream.requests))
        answers = list(call)
        assert call.code() == grpc.StatusCode.OK
        assert answers
    histories = {
        run.flow_name: flow_history(service.channel, run.id) for run in flow_runs(service.channel)
    }
    assert histories == {
        "recorded": ["Pending", "Running", "Completed"],
        "inner": ["Pending", "Running", "Completed"],
    }
    by_name: dict[str, list[list[str]]] = {}
    for run in task_runs(service.channel):
        by_name.setdefault(run.task_name, []).append(task_history(service.channel, run.id))
    assert by_name["broken"] == [["Pending", "Running", "Failed"]]
    assert sorted(len(history) for history in by_name["unsteady"]) == [3, 3, 5]
    (recorded,) = [run for run in flow_runs(service.channel) if run.flow_name == "recorded"]
    assert json.loads(recorded.parameters.data) == {"numbers": [1, 2, 3]}
    assert "hello" in [record.message for record in logs(service.channel, recorded.id)]


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_promise_old_and_new_client_takes_an_older_service(path: Path) -> None:
    with replaying(load(path)) as address:
        lines = run_cli("run", "ls", "--json", address=address).splitlines()
        assert {json.loads(line)["flow_name"] for line in lines} == {"recorded"}
        assert "recorded" in run_cli("run", "show", "latest", "--json", address=address)
        assert "hello" in run_cli("run", "logs", "latest", "--json", address=address)
        status = json.loads(run_cli("server", "status", "--json", address=address))
        assert path.stem == f"v{status['version']}"


def test_promise_old_and_new_service_takes_a_newer_client(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with SkewProxy(service.address, requests=newer_requests) as proxy:
        with FlowProcess(FLOW, home=flowspan_home, address=proxy.address) as process:
            assert "result [0, 1, 2]" in process.finish()
        run_id = check_flow(service)
        assert run_id in run_cli("run", "ls", "--json", address=proxy.address)


def test_promise_old_and_new_client_takes_a_newer_service(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with SkewProxy(service.address, responses=newer_responses) as proxy:
        with FlowProcess(FLOW, home=flowspan_home, address=proxy.address) as process:
            assert "result [0, 1, 2]" in process.finish()
        run_id = check_flow(service)
        assert run_id in run_cli("run", "ls", "--json", address=proxy.address)
        assert "numbers" in run_cli("run", "show", run_id, address=proxy.address)
        assert "number 2" in run_cli("run", "logs", run_id, address=proxy.address)
        assert "Completed" in run_cli("run", "watch", run_id, address=proxy.address)


def test_promise_old_and_new_values_that_the_service_does_not_know(service: ServiceProcess) -> None:
    """Each unknown value is answered separately; the rest of the batch is accepted."""
    flow_run, other_kind, other_state = new_id(), new_id(), new_id()
    odd_state = state_pb2.State(type=UNKNOWN_VALUE, name="Dreaming")  # type: ignore[arg-type] # unknown
    odd_state.time.GetCurrentTime()
    odd_kind = created(other_kind)
    odd_kind.run_created.kind = UNKNOWN_VALUE
    odd_beginning = created(other_state)
    odd_beginning.run_created.state.CopyFrom(odd_state)
    stream = ReportStream(service.channel, capabilities=["dreams.v7"])
    events = [
        created(flow_run),
        entered(flow_run, "RUNNING"),
        report_pb2.Event.FromString(UNKNOWN_BYTES),
        odd_kind,
        odd_beginning,
        report_pb2.Event(state_entered=report_pb2.StateEntered(run_id=flow_run, state=odd_state)),
        entered(flow_run, "COMPLETED"),
    ]
    stream.wait_for_ack(stream.report(*events))
    stream.goodbye()
    rules = {verdict.sequence: verdict.rule for verdict in stream.verdicts}
    assert rules == {
        3: "event_is_known",
        4: "kind_is_known",
        5: "type_is_known",
        6: "type_is_known",
    }
    assert flow_history(service.channel, flow_run) == ["Pending", "Running", "Completed"]
    assert len(flow_runs(service.channel)) == 1
