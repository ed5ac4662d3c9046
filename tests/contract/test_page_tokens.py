"""Forged tokens and tokens of another call or database are rejected by every method."""

from __future__ import annotations

import base64
import random
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, new_id, now, whole_run

from flowspan.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    label_service_pb2,
    log_pb2,
    log_service_pb2,
    payload_pb2,
    report_pb2,
    task_run_service_pb2,
    variable_pb2,
    variable_service_pb2,
    watch_service_pb2,
)
from flowspan_service.api.fields.page_tokens import PageTokens, WatchPlace
from flowspan_service.app.ports import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
PLACES = ["", "0", "-1", "x", "9" * 30, "1:0", "é\0", "0f8fad5b-d9cb-469f-a165-70867728950e"]


def methods(stubs: Stubs, flow_run: str, task_run: str) -> dict[str, Callable[..., Any]]:
    """Return all methods that take a page token, called with a page size of one."""
    flow_runs, task_runs = flow_run_service_pb2, task_run_service_pb2
    return {
        "flow runs": lambda **f: stubs.flow_runs.ListFlowRuns(
            flow_runs.ListFlowRunsRequest(page_size=1, **f)
        ),
        "task runs": lambda **f: stubs.task_runs.ListTaskRuns(
            task_runs.ListTaskRunsRequest(page_size=1, **f)
        ),
        "history of a flow run": lambda **f: stubs.flow_runs.ListFlowRunTransitions(
            flow_runs.ListFlowRunTransitionsRequest(id=flow_run, page_size=1, **f)
        ),
        "history of a task run": lambda **f: stubs.task_runs.ListTaskRunTransitions(
            task_runs.ListTaskRunTransitionsRequest(id=task_run, page_size=1, **f)
        ),
        "flows": lambda **f: stubs.flows.ListFlows(
            flow_service_pb2.ListFlowsRequest(page_size=1, **f)
        ),
        "logs": lambda **f: stubs.logs.ListLogs(
            log_service_pb2.ListLogsRequest(run_id=flow_run, page_size=1, **f)
        ),
        "artifacts": lambda **f: stubs.artifacts.ListArtifacts(
            artifact_service_pb2.ListArtifactsRequest(page_size=1, **f)
        ),
        "latest artifacts": lambda **f: stubs.artifacts.ListLatestArtifacts(
            artifact_service_pb2.ListLatestArtifactsRequest(page_size=1, **f)
        ),
        "variables": lambda **f: stubs.variables.ListVariables(
            variable_service_pb2.ListVariablesRequest(page_size=1, **f)
        ),
        "labels": lambda **f: stubs.labels.ListLabels(
            label_service_pb2.ListLabelsRequest(key="a", page_size=1, **f)
        ),
    }


NAMES = list(methods(None, "", ""))  # type: ignore[arg-type] # only the names


@pytest.fixture
def filled(harness: Harness, stubs: Stubs) -> tuple[str, str]:
    """Store two objects of every kind, so that each list has a second page."""
    flow_run, task_run = new_id(), new_id()
    stream = ReportStream(harness.channel)
    for run_id, kind in ((flow_run, "FLOW"), (task_run, "TASK")):
        stream.report(*whole_run(run_id, kind=kind))
        stream.report(created(new_id(), kind=kind, function_name="g"))
    log = {"run_id": flow_run, "message": "m", "level": 20, "attempt": 1, "time": now()}
    stream.report(*(_log(log) for _ in range(2)))
    stream.goodbye()
    for name in ("a", "b"):
        stubs.artifacts.CreateArtifact(
            artifact_service_pb2.CreateArtifactRequest(
                artifact=_artifact(id=new_id(), key=name, type="markdown")
            )
        )
        stubs.variables.SetVariable(
            variable_service_pb2.SetVariableRequest(
                variable=variable_pb2.Variable(
                    name=name, value=payload_pb2.Payload(encoding="json", data=b"1")
                )
            )
        )
    for run_id in (flow_run, task_run):
        stubs.labels.SetLabels(label_service_pb2.SetLabelsRequest(run_id=run_id, labels={"a": "b"}))
    return flow_run, task_run


def _log(fields: dict[str, Any]) -> Any:
    return report_pb2.Event(log=log_pb2.LogRecord(**fields))


def _artifact(**fields: Any) -> Any:
    return artifact_pb2.Artifact(**fields)


def forged(place: str, query: bytes) -> list[str]:
    """Return tokens as a stranger would forge them."""
    data = place.encode()
    digest = blake2b(data, digest_size=8, person=b"flowspan token")
    digest.update(b"\0" + query)
    raw = [digest.digest() + data, b"\1" + bytes(16) + data, data]
    strangers = PageTokens(Identity("0f8fad5b-d9cb-469f-a165-70867728950e", b"guessed"))
    return [
        *(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in raw if each),
        strangers.seal(place, query=query),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_token_is_of_its_method_alone(
    stubs: Stubs, filled: tuple[str, str], name: str
) -> None:
    lists = methods(stubs, *filled)
    token = lists[name]().next_page_token
    assert token
    lists[name](page_token=token)
    for other, call in lists.items():
        if other != name:
            refused(lambda call=call: call(page_token=token), INVALID, "BAD_TOKEN")


@pytest.mark.parametrize("name", NAMES)
def test_a_forged_page_token_is_refused(
    harness: Harness, stubs: Stubs, filled: tuple[str, str], name: str
) -> None:
    call = methods(stubs, *filled)[name]
    queries = [b"", name.encode(), b"flows", b"history\0" + filled[0].encode()]
    for token in [token for place in PLACES for query in queries for token in forged(place, query)]:
        refused(lambda token=token: call(page_token=token), INVALID, "BAD_TOKEN")
    token = call().next_page_token
    chance = random.Random(name)
    for _ in range(20):
        at = chance.randrange(len(token) - 2)  # Bits of the last character may be unused.
        other = chance.choice("".join(set("abcXYZ019-_") - {token[at]}))
        changed = token[:at] + other + token[at + 1 :]
        refused(lambda changed=changed: call(page_token=changed), INVALID, "BAD_TOKEN")


def test_page_tokens_of_a_later_state_are_refused(
    harness: Harness, stubs: Stubs, filled: tuple[str, str]
) -> None:
    lists = methods(stubs, *filled)
    flow_run, _ = filled
    query = f"history\0ListFlowRunTransitionsRequest\0{flow_run}".encode()
    token = harness.backend.page_tokens.seal(4, query=query)
    metadata = refused(
        lambda: lists["history of a flow run"](page_token=token), INVALID, "BAD_TOKEN"
    )
    assert metadata["field"] == "page_token"
    tail = log_service_pb2.TailLogsRequest(run_id=flow_run, after_position=3)
    refused(lambda: list(stubs.logs.TailLogs(tail)), OUT_OF_RANGE, "TOKEN_OUT_OF_RANGE")
    tail.after_position = 2
    assert list(stubs.logs.TailLogs(tail)) == []


def test_a_watch_goes_on_only_where_its_database_was(
    harness: Harness, stubs: Stubs, filled: tuple[str, str]
) -> None:
    flow_run, _ = filled
    query = b"watch\0" + flow_run.encode()
    own = harness.backend.page_tokens

    def watch(token: str) -> list[Any]:
        request = watch_service_pb2.WatchRequest(run_id=flow_run, resume_token=token)
        return list(stubs.watch.Watch(request))

    (snapshot, end) = watch("")
    assert watch(end.resume_token) == []
    head = harness.store.position()
    commit_us = harness.store.transitions.commit_time(2)
    assert len(watch(own.seal_watch(WatchPlace(2, commit_us), query=query))) == 1
    assert snapshot.flow_run.transition_count == 3
    for place in (WatchPlace(head + 1, commit_us), WatchPlace(2, commit_us - 1)):
        token = own.seal_watch(place, query=query)
        metadata = refused(lambda token=token: watch(token), OUT_OF_RANGE, "TOKEN_OUT_OF_RANGE")
        assert metadata["field"] == "resume_token"
        assert metadata["advice"]
    other = PageTokens(Identity("0f8fad5b-d9cb-469f-a165-70867728950e", harness.store.identity[1]))
    token = other.seal_watch(WatchPlace(2, commit_us), query=query)
    refused(lambda: watch(token), OUT_OF_RANGE, "TOKEN_OUT_OF_RANGE")
    strange = [
        own.seal("2", query=query + b"x"),
        own.seal_watch(WatchPlace(2, 0), query=b"watch\0"),
    ]
    for token in [*strange, "x", "\N{SNOWMAN}", "AQ"]:
        refused(lambda token=token: watch(token), INVALID, "BAD_TOKEN")
