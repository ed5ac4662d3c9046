"""Every operation uses a method of the protos, and both clients have every operation."""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

import flowspan.v1 as stubs
from flowspan.api import StateType
from flowspan.api.client import FlowspanClient, SyncFlowspanClient
from flowspan.api.operations import Operations
from flowspan.api.requests import Call, GetOptions, Open, Options
from flowspan.states import Cancelling
from flowspan.v1 import (
    flow_run_pb2,
    flow_run_service_pb2,
    state_pb2,
    system_service_pb2,
    task_run_pb2,
    task_run_service_pb2,
    verdict_pb2,
)

ARGUMENTS = {
    "artifact_id": "a",
    "key": "k",
    "name": "n",
    "type": "table",
    "value": 1,
    "flow": "etl",
    "flow_id": "f",
    "flow_name": "etl",
    "flow_run_id": "r",
    "labels": {"a": "b"},
    "scopes": ["read"],
    "token": "t",
    "run_id": "r",
    "session_id": "s",
    "state": StateType.CANCELLING,
    "task_run_id": "r",
}
OPERATIONS = {
    name: getattr(Operations, name) for name in vars(Operations) if not name.startswith("_")
}
REPORTING = {
    "/flowspan.v1.ReportService/Report",
    "/flowspan.v1.ReportService/WatchCommands",
    "/flowspan.v1.SingleRunService/FinishRun",
    "/flowspan.v1.SingleRunService/StartRun",
    "/flowspan.v1.SingleRunService/TouchRun",
}
"""Other ways to report runs and to receive their commands. In Python, the reporter does that for
flows and tasks; for other runs, the client uses ReportBatch, whose answers have the commands."""


def first_call(function) -> Call | Open:
    wanted = inspect.signature(function).parameters.values()
    steps = function(
        **{
            parameter.name: ARGUMENTS[parameter.name]
            for parameter in wanted
            if parameter.default is inspect.Parameter.empty
        }
    )
    step = next(steps)
    while isinstance(step, GetOptions):
        step = steps.send(Options())
    return step


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_the_method_is_that_of_the_protos(name):
    step = first_call(OPERATIONS[name])
    service, _, method = step.path.removeprefix("/").partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    assert step.request.DESCRIPTOR.full_name == found.input_type.full_name
    assert step.response.DESCRIPTOR.full_name == found.output_type.full_name
    assert isinstance(step, Open) == found.server_streaming


AFTER_GET_INFO = {
    "/flowspan.v1.FlowRunService/CancelFlowRun",
    "/flowspan.v1.TaskRunService/CancelTaskRun",
}
"""Methods of operations that first ask for the capabilities of the service."""


def test_every_method_of_the_protos_has_an_operation():
    called = {first_call(function).path for function in OPERATIONS.values()}
    (folder,) = stubs.__path__
    services = [
        service
        for path in sorted(Path(folder).glob("*_service_pb2.py"))
        for service in import_module(
            f"{stubs.__name__}.{path.stem}"
        ).DESCRIPTOR.services_by_name.values()
    ]
    offered = {
        f"/{service.full_name}/{method.name}" for service in services for method in service.methods
    }
    assert offered >= REPORTING
    assert offered - REPORTING - AFTER_GET_INFO <= called


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_both_clients_have_every_operation(name):
    for client in (FlowspanClient("127.0.0.1:1"), SyncFlowspanClient("127.0.0.1:1")):
        method = getattr(client, name)
        assert method.__doc__ == OPERATIONS[name].__doc__
        assert method.__name__ == name


def test_a_state_may_be_one_of_flowspan_states():
    by_state = first_call(
        lambda: Operations.set_flow_run_state("r", Cancelling(message="enough"))
    ).request.state
    by_type = first_call(
        lambda: Operations.set_flow_run_state("r", StateType.CANCELLING, message="enough")
    ).request.state
    assert by_state.type == by_type.type == state_pb2.STATE_TYPE_CANCELLING
    assert by_state.message == by_type.message == "enough"
    assert by_state.name == "Cancelling"


def test_the_async_client_gives_coroutines():
    client = FlowspanClient("127.0.0.1:1")
    waiting = client.read_flow_run("r")
    assert asyncio.iscoroutine(waiting)
    waiting.close()


def answered(steps, *answers):
    """Answer the calls of an operation; return its last call, or its result."""
    step = next(steps)
    for answer in answers:
        while isinstance(step, GetOptions):
            step = steps.send(Options())
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value
    return step


CANCELS = {
    "flow": (
        Operations.cancel_flow_run,
        "/flowspan.v1.FlowRunService/{}FlowRun{}",
        lambda state: flow_run_service_pb2.SetFlowRunStateResponse(
            verdict=ACCEPTED,
            flow_run=flow_run_pb2.FlowRun(id=ID, root_run_id=ID, flow_id=ID, state=state),
        ),
    ),
    "task": (
        Operations.cancel_task_run,
        "/flowspan.v1.TaskRunService/{}TaskRun{}",
        lambda state: task_run_service_pb2.SetTaskRunStateResponse(
            verdict=ACCEPTED, task_run=task_run_pb2.TaskRun(id=ID, root_run_id=ID, state=state)
        ),
    ),
}
ID = "018f4b1e-7c1a-7000-8000-000000000001"
ACCEPTED = verdict_pb2.Verdict(run_id=ID, kind=verdict_pb2.VERDICT_KIND_ACCEPTED)


@pytest.mark.parametrize("kind", sorted(CANCELS))
@pytest.mark.parametrize(
    ("state", "asked"), [(StateType.CANCELLING, 1), (StateType.CANCELLED, 0)], ids=["alive", "dead"]
)
def test_cancel_uses_the_state_of_a_service_that_cannot_cancel_trees(kind, state, asked):
    operation, path, response = CANCELS[kind]
    old = system_service_pb2.GetInfoResponse(capabilities=["labels.v1"])
    step = answered(operation(ID, reason="enough"), old)
    assert step.path == path.format("Set", "State")
    assert step.request.state.type == state_pb2.STATE_TYPE_CANCELLING
    assert step.request.state.message == "enough"
    answer = answered(
        operation(ID, reason="enough"), old, response({"type": f"STATE_TYPE_{state.name}"})
    )
    assert answer.verdict.is_accepted
    assert (answer.run.state.type, answer.asked_run_count) == (state, asked)


@pytest.mark.parametrize("kind", sorted(CANCELS))
def test_cancel_of_a_tree_is_left_to_a_service_that_can(kind):
    operation, path, _ = CANCELS[kind]
    new = system_service_pb2.GetInfoResponse(capabilities=["cancel.v1"])
    step = answered(operation(ID, reason="enough"), new)
    assert step.path == path.format("Cancel", "")
    assert (step.request.id, step.request.reason) == (ID, "enough")
