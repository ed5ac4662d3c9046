"""SingleRunService: invalid requests, and the limits of valid ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import refused

from flowspan.v1 import (
    failure_pb2,
    flow_run_service_pb2,
    payload_pb2,
)
from flowspan.v1 import single_run_service_pb2 as pb
from flowspan_service.api import limits

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

from tests.support.single_runs import as_json, finish, get, history, lines_of, start, touch

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DENIED = grpc.StatusCode.PERMISSION_DENIED
LEASE_S = 900
HOUR_S = 3600
SPAN = f"00-{'a' * 32}-{'b' * 16}-01"


# Limits.


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"flow_name": ""}, "flow_name"),
        ({"flow_name": "a\0"}, "flow_name"),
        ({"id": "7"}, "id"),
        ({"id": "0f8fad5b-d9cb-469f-a165-70867728950e"}, "id"),
        ({"run_name": "a\0"}, "run_name"),
        ({"parameters": as_json("[1]")}, "parameters"),
        ({"parameters": as_json("{")}, "parameters.text"),
        ({"parameters": payload_pb2.Payload(encoding="json")}, "parameters.data"),
        ({"parameters": payload_pb2.Payload(encoding="pickle", data=b"{}")}, "parameters.encoding"),
        ({"tags": [""]}, "tags"),
        ({"lease": Duration(seconds=-1)}, "lease"),
        ({"version": "\0"}, "version"),
        ({"description": "\0"}, "description"),
        ({"labels": {"NOT A KEY": "x"}}, "labels"),
        ({"code": {"line": -1}}, "code.line"),
        ({"resource": {"": "x"}}, "resource (a key)"),
    ],
)
def test_invalid_start(stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    told = refused(lambda: start(stubs, **fields), INVALID, "INVALID_FIELD")
    assert told["field"] == field
    assert stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest()).flow_runs == []


@pytest.mark.parametrize(
    "fields",
    [
        {"flow_name": "ü" * 129},
        {"run_name": "x" * 257},
        {"parameters": as_json('{"x": "' + "y" * limits.PARAMETERS + '"}')},
        {"tags": ["t"] * 65},
        {"version": "x" * 257},
        {"description": "x" * 4097},
        {"labels": {f"key{number}": "x" for number in range(65)}},
        {"resource": {f"key{number}": "x" for number in range(65)}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_start_that_is_too_large(stubs: Stubs, fields: dict[str, Any]) -> None:
    told = refused(lambda: start(stubs, **fields), INVALID, "TOO_LARGE")
    assert told["field"].startswith(next(iter(fields)))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"number": -1}, "number"),
        ({"logs": [pb.RunLog()]}, "logs[0].message"),
        ({"logs": [pb.RunLog(message="x"), pb.RunLog(message="x", logger="\0")]}, "logs[1].logger"),
        ({"logs": [pb.RunLog(message="x", level=-1)]}, "logs[0].level"),  # type: ignore[arg-type] # any number
        ({"logs": [pb.RunLog(message="x", time=Timestamp(seconds=-1))]}, "logs[0].time"),
    ],
)
def test_invalid_touch(harness: Harness, stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    started = start(stubs)
    for request, call in (
        (pb.TouchRunRequest, stubs.single_runs.TouchRun),
        (pb.FinishRunRequest, stubs.single_runs.FinishRun),
    ):
        made = request(token=started.token, **fields)
        told = refused(lambda call=call, made=made: call(made), INVALID, "INVALID_FIELD")
        assert told["field"] == field
    assert refused(lambda: touch(stubs, ""), INVALID, "INVALID_FIELD")["field"] == "token"
    assert history(harness, started.flow_run.id) == ["Pending", "Running"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"message": "a\0"}, "message"),
        ({"result": as_json("NaN")}, "result.text"),
        ({"failure": failure_pb2.Failure(type="E", message="\0")}, "failure.message"),
    ],
)
def test_invalid_finish(stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    started = start(stubs)
    told = refused(lambda: finish(stubs, started.token, **fields), INVALID, "INVALID_FIELD")
    assert told["field"] == field
    assert get(stubs, started.flow_run.id).state.name == "Running"


@pytest.mark.parametrize(
    "lines",
    [
        ["x" * 1_000_000],  # one line: its caller divides it
        ["x" * (limits.LOG_MESSAGE + 1)],
        ["ü" * limits.LOG_MESSAGE],
        ["x"] * (limits.RUN_LOGS + 1),
        ["x" * limits.LOG_MESSAGE] * 4 + ["x"],
    ],
    ids=["a line of 1 MB", "a byte too much", "bytes and not characters", "lines", "all together"],
)
def test_logs_that_are_too_large(harness: Harness, stubs: Stubs, lines: list[str]) -> None:
    started = start(stubs)
    for call in (touch, finish):
        told = refused(lambda call=call: call(stubs, started.token, *lines), INVALID, "TOO_LARGE")
        assert told["field"].startswith("logs")
        assert "several" in told["advice"]
    assert lines_of(harness, started.flow_run.id) == []


def test_largest_calls_are_accepted(harness: Harness, stubs: Stubs) -> None:
    started = start(
        stubs,
        parameters=as_json('{"x":"' + "y" * (limits.PARAMETERS - 8) + '"}'),
        description="d" * limits.RUN_DESCRIPTION,
        tags=[f"{number:0256}" for number in range(limits.TAG_COUNT)],
        labels={f"{number:064}": "x" * 256 for number in range(limits.LABEL_COUNT)},
        resource={f"{number:0256}": "x" * 1024 for number in range(limits.RESOURCE_COUNT)},
    )
    line = "x" * (limits.RUN_LOGS_BYTES // limits.RUN_LOGS)
    records = [pb.RunLog(message=line, logger="l" * 256)] * limits.RUN_LOGS
    stubs.single_runs.TouchRun(pb.TouchRunRequest(token=started.token, logs=records))
    result = as_json('"' + "y" * (limits.PAYLOAD - 2) + '"')
    request = pb.FinishRunRequest(token=started.token, logs=records, result=result)
    assert stubs.single_runs.FinishRun(request).flow_run.state.name == "Completed"
    assert lines_of(harness, started.flow_run.id) == [line] * 2 * limits.RUN_LOGS
