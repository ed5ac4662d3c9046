"""The details of runs: limits, encoding, and what lists leave out."""

from __future__ import annotations

from typing import Any

import pytest

from flowspan.v1 import flow_run_pb2, report_pb2, task_run_pb2
from flowspan_service.api import limits, run_details
from flowspan_service.api.run_details import put_details, read_details, shorten
from flowspan_service.domain.errors import InvalidFieldError, TooLargeError
from flowspan_service.domain.runs import Run, RunDetails, RunKind
from flowspan_service.domain.states import State, StateType

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def read(**fields: Any) -> RunDetails | None:
    wire = report_pb2.RunCreated(**fields)
    return read_details(wire, wire.labels)


def a_run(details: RunDetails | None) -> Run:
    state = State(StateType.PENDING, "Pending", "", 1)
    return Run(ID, RunKind.TASK, "f", "f-1", None, ID, None, (), None, None, "", 1, state, details)


FULL: dict[str, Any] = {
    "description": "Loads it.\nTwice, größe.",
    "max_attempts": 4,
    "code": {"file_path": "/app/etl.py", "line": 7, "function": "app.etl.load"},
    "inputs": [{"run_id": ID, "parameter": "rows"}, {"run_id": ID, "parameter": "größe"}],
    "labels": {"team": "data", "empty": ""},
}


@pytest.mark.parametrize("name", FULL)
def test_each_detail_comes_back_alone(name: str) -> None:
    details = read(**{name: FULL[name]})
    assert details is not None
    if name == "labels":
        assert details == RunDetails(labels=FULL["labels"])
        return
    for made in (flow_run_pb2.FlowRun(), task_run_pb2.TaskRun()):
        put_details(made, a_run(details))
        assert made == type(made)(**{name: FULL[name]})


def test_no_details_are_none() -> None:
    assert read() is None
    assert read(code={}) is None
    message = flow_run_pb2.FlowRun(id=ID)
    put_details(message, a_run(None))
    assert message == flow_run_pb2.FlowRun(id=ID)


def test_runs_of_one_function_share_a_definition() -> None:
    first, second = read(**FULL), read(**{**FULL, "inputs": [], "labels": {}})
    assert first is not None
    assert second is not None
    assert first.definition is second.definition
    others = [
        read(**{**FULL, **change})
        for change in (
            {"description": "other"},
            {"max_attempts": 3},
            {"code": {}},
            {"code": {**FULL["code"], "line": 8}},
        )
    ]
    keys = {each.definition.key for each in [first, *others] if each and each.definition}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {16}


def test_the_memory_for_definitions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_details, "_KEPT_DEFINITIONS", 10)
    monkeypatch.setattr(run_details, "_definitions", {})
    made = [read(description=f"number {number}") for number in range(100)]
    assert len({each.definition.key for each in made if each and each.definition}) == 100
    assert len(run_details._definitions) <= 10


def test_fields_of_a_newer_client_are_not_kept() -> None:
    newer = report_pb2.RunCreated.FromString(
        # An unknown field 15 within the code location.
        report_pb2.RunCreated(description="d").SerializeToString() + b"\x82\x01\x04\x10\x07\x78\x05"
    )
    assert newer.code.line == 7
    details = read_details(newer, {})
    assert details is not None
    assert details == read(description="d", code={"line": 7})


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_attempts": -1}, "max_attempts"),
        ({"description": "a\0"}, "description"),
        ({"code": {"line": -1}}, "code.line"),
        ({"code": {"file_path": "\0"}}, "code.file_path"),
        ({"code": {"function": "\0"}}, "code.function"),
        ({"inputs": [{"run_id": "r", "parameter": "p"}]}, "inputs.run_id"),
        ({"inputs": [{"parameter": "p"}]}, "inputs.run_id"),
        ({"inputs": [{"run_id": ID}]}, "inputs.parameter"),
        ({"labels": {"Key": ""}}, "labels"),
        ({"labels": {"": ""}}, "labels"),
        ({"labels": {"k": "\0"}}, "labels[k]"),
    ],
    ids=str,
)
def test_bad_details_are_named(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        read(**fields)
    assert caught.value.metadata["field"] == name
    if "labels" in fields:
        return
    with pytest.raises(InvalidFieldError) as caught:
        read_details(flow_run_pb2.FlowRun(**fields), {}, "flow_run.")
    assert caught.value.metadata["field"] == f"flow_run.{name}"


AT_THE_LIMIT: dict[str, Any] = {
    "description": "ö" * (limits.RUN_DESCRIPTION // 2),
    "max_attempts": 2**31 - 1,
    "code": {"file_path": "f" * limits.CODE_FILE, "line": 2**31 - 1, "function": "x" * 256},
    "inputs": [{"run_id": ID, "parameter": "p" * limits.NAME}] * limits.RUN_INPUTS,
    "labels": {f"{number:064}": "v" * 256 for number in range(64)},
}
BEYOND: dict[str, dict[str, Any]] = {
    "description": {"description": AT_THE_LIMIT["description"] + "d"},
    "file": {"code": {"file_path": "f" * (limits.CODE_FILE + 1)}},
    "function": {"code": {"function": "x" * 257}},
    "parameter": {"inputs": [{"run_id": ID, "parameter": "p" * 257}]},
    "inputs": {"inputs": [{"run_id": ID, "parameter": "p"}] * 1001},
    "labels": {"labels": {f"k{number}": "" for number in range(65)}},
    "key": {"labels": {"k" * 65: ""}},
    "value": {"labels": {"k": "v" * 257}},
}


def test_details_at_the_limits_are_good() -> None:
    assert read(**AT_THE_LIMIT) is not None


@pytest.mark.parametrize("name", BEYOND)
def test_larger_details_are_refused(name: str) -> None:
    with pytest.raises(TooLargeError):
        read(**BEYOND[name])


def test_lists_leave_out_what_may_be_large() -> None:
    few = FULL["inputs"] * (limits.LISTED_INPUTS // 2)
    fields = {name: FULL[name] for name in ("description", "max_attempts", "code")}
    run = task_run_pb2.TaskRun(id=ID, inputs=few, **fields)
    shorten(run)
    assert not run.description
    assert (len(run.inputs), run.max_attempts) == (limits.LISTED_INPUTS, 4)
    assert run.code.line == 7
    run.inputs.add(run_id=ID, parameter="one more")
    shorten(run)
    assert not run.inputs
