"""Conditions after a soak: the clients' journals against the service."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.run_queries import logs

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    state_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import grpc
    from tests.soak.world import Client

PAGE = 1000
CRASHED = "CRASHED"
ENDS = frozenset({"COMPLETED", "FAILED", "CANCELLED", CRASHED})


@dataclass
class Known:
    """A client's knowledge of a run.

    Attributes:
        kind: "flow" or "task".
        log_counts: The number of log records of each attempt.
        end: The terminal state type; empty if the client did not see the end.
        is_acked: True if the service acknowledged all of its events.
    """

    kind: str = ""
    log_counts: list[int] = field(default_factory=list)
    end: str = ""
    is_acked: bool = False


def read_journal(path: Path) -> dict[str, Known]:
    """Return a client's knowledge of its runs, by run id."""
    runs: dict[str, Known] = {}
    not_acked: list[Known] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        if entry["what"] == "acked":
            for run in not_acked:
                run.is_acked = bool(run.end)
            not_acked = [run for run in not_acked if not run.end]
            continue
        run = runs.setdefault(entry["id"], Known())
        not_acked.append(run)
        if entry["what"] == "begin":
            run.kind = entry["kind"]
            run.log_counts.append(entry["logs"])
        else:
            run.end = entry["type"]
    return runs


def stored_states(channel: grpc.Channel) -> dict[str, str]:
    """Return the state type of each run, by run id."""
    flow_stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    task_stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    lists = (
        (flow_stub.ListFlowRuns, flow_run_service_pb2.ListFlowRunsRequest, "flow_runs"),
        (task_stub.ListTaskRuns, task_run_service_pb2.ListTaskRunsRequest, "task_runs"),
    )
    return {
        run.id: state_pb2.StateType.Name(run.state.type).removeprefix("STATE_TYPE_")
        for call, request, field_name in lists
        for run in _pages(call, request, field_name)
    }


def _pages(call: Any, request: Any, field_name: str) -> Iterator[Any]:
    token = ""
    while True:
        page = call(request(page_size=PAGE, page_token=token), wait_for_ready=True)
        yield from getattr(page, field_name)
        token = page.next_page_token
        if not token:
            return


def violations(channel: grpc.Channel, clients: Iterable[Client]) -> Iterator[str]:
    """Yield one line per violation."""
    stored = stored_states(channel)
    for client in clients:
        known = read_journal(client.journal)
        for run_id, run in known.items():
            yield from _of_run(channel, client, run_id, run, stored.get(run_id))
    for run_id, state in stored.items():
        if state not in ENDS:
            yield f"run {run_id} was left {state}"


def _of_run(
    channel: grpc.Channel, client: Client, run_id: str, run: Known, state: str | None
) -> Iterator[str]:
    name = f"{run.kind or 'run'} {run_id} of {client.journal.name}"
    is_sure = run.is_acked or (run.end and not client.was_hurt)
    if state is None:
        if is_sure:
            yield f"{name}: lost, although it ended {run.end}"
        return
    if run.end and state != run.end and (is_sure or state != CRASHED):
        yield f"{name}: stored as {state}, but it ended {run.end}"
    if not run.end and client.was_hurt and state in {"CANCELLED"}:
        yield f"{name}: stored as {state}, but its process was killed"
    if run.log_counts:
        yield from _of_logs(channel, name, run_id, run, must_be_whole=bool(is_sure))


def _of_logs(
    channel: grpc.Channel, name: str, run_id: str, run: Known, *, must_be_whole: bool
) -> Iterator[str]:
    expected = [f"line {number}" for count in run.log_counts for number in range(count)]
    if not expected:
        return
    found = [each.message for each in logs(channel, run_id) if each.message.startswith("line ")]
    if found != expected[: len(found)] or (must_be_whole and len(found) != len(expected)):
        yield f"{name}: its log has {len(found)} of {len(expected)} lines, or they are out of order"


def false_alarms(channel: grpc.Channel, clients: Iterable[Client]) -> Iterator[str]:
    """Yield the runs that were declared dead although their processes were alive all the time."""
    flow_stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    task_stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    stored = stored_states(channel)
    for client in clients:
        if client.was_hurt or client.may_look_dead:
            continue
        for run_id, run in read_journal(client.journal).items():
            if run_id not in stored:
                continue
            if run.kind == "flow":
                answer = flow_stub.ListFlowRunTransitions(
                    flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run_id),
                    wait_for_ready=True,
                )
            elif run.kind == "task":
                answer = task_stub.ListTaskRunTransitions(
                    task_run_service_pb2.ListTaskRunTransitionsRequest(id=run_id),
                    wait_for_ready=True,
                )
            else:
                continue
            if any(each.state.type == state_pb2.STATE_TYPE_CRASHED for each in answer.transitions):
                yield f"{run.kind} {run_id} of {client.journal.name}: Crashed while alive"
