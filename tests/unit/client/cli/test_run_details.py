"""Rendering of what a run says of itself: attempts, arguments, inputs, code, causes of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.api_records import NOW, make_run, run_id

from flowspan.api import CodeLocation, Failure, Payload, RunInput, StateType
from flowspan.cli import run_details, tree_view
from flowspan.cli.tree import build


def payload(**arguments: Any) -> Payload:
    return Payload(encoding="json", data=json.dumps(arguments).encode())


def fields(run: Any, *, full: bool = False, names: Any = None) -> dict[str, str]:
    return dict(run_details.fields(run, {"team": "data"}, names or {}, full=full))


def test_a_run_that_says_nothing_has_no_fields() -> None:
    assert dict(run_details.fields(make_run(1, "load"), {}, {}, full=False)) == {}


def test_the_fields_of_a_task_run() -> None:
    run = make_run(
        1,
        "load",
        attempt=2,
        max_attempts=4,
        description="Load a day.\n\nSlowly.",
        task_version="v3",
        parameters=payload(row=17, table="<pandas.DataFrame>"),
        inputs=(
            RunInput(run_id=run_id(2), parameter="table"),
            RunInput(run_id=run_id(3), parameter="wait_for"),
        ),
        code=CodeLocation(file_path="/app/etl.py", line=12, function="etl.load"),
    )
    assert fields(run, names={run_id(2): "fetch-0"}) == {
        "description": "Load a day.",
        "version": "v3",
        "attempt": "2 of 4",
        "labels": "team=data",
        "arguments": 'row=17, table="<pandas.DataFrame>"',
        "inputs": "table from fetch-0 (00000002), wait_for from 00000003",
        "code": "etl.load (/app/etl.py:12)",
    }
    assert fields(run, full=True)["description"] == "Load a day.\n\nSlowly."


def test_the_fields_of_a_flow_run() -> None:
    run = make_run(1, "etl", is_flow=True, flow_version="7", parameters=payload(day="monday"))
    found = fields(run)
    assert (found["version"], found["parameters"]) == ("7", 'day="monday"')


@pytest.mark.parametrize(
    ("attempt", "most", "text"),
    [(1, 0, "1"), (2, 0, "2"), (1, 4, "1 of 4"), (4, 4, "4 of 4"), (5, 4, "5")],
)
def test_attempts(attempt: int, most: int, text: str) -> None:
    assert run_details.attempts(make_run(1, "a", attempt=attempt, max_attempts=most)) == text


def test_long_fields_are_cut_unless_all_is_wanted() -> None:
    inputs = tuple(RunInput(run_id=run_id(n), parameter="rows") for n in range(1000))
    run = make_run(
        1, "a", inputs=inputs, parameters=payload(text="x" * 5000), description="d" * 999
    )
    short, full = fields(run), fields(run, full=True)
    assert max(map(len, short.values())) <= 310
    assert short["inputs"].endswith("… 990 more")
    assert full["inputs"].count("rows from") == 1000
    assert len(full["arguments"]) > 5000
    assert len(full["description"]) == 999


def test_arguments_that_are_not_json() -> None:
    run = make_run(1, "a", parameters=Payload(encoding="avro", data=b"x" * 12))
    assert run_details.arguments(run, width=None) == "12 bytes, encoded as 'avro'"
    listed = make_run(1, "a", parameters=Payload(encoding="json", data=b"[1, 2]"))
    assert run_details.arguments(listed, width=None) == "[1,2]"


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (CodeLocation(), ""),
        (CodeLocation(function="f"), "f"),
        (CodeLocation(file_path="a.py"), "a.py"),
        (CodeLocation(file_path="a.go", line=3), "a.go:3"),
        (CodeLocation(file_path="a.go", line=3, function="a.f"), "a.f (a.go:3)"),
    ],
)
def test_places_of_code(location: CodeLocation, text: str) -> None:
    assert str(location) == text


def test_inputs_by_parameter() -> None:
    one, two, three = (
        RunInput(run_id=run_id(n), parameter=name) for n, name in ((1, "a"), (2, "b"), (3, "a"))
    )
    run = make_run(1, "t", inputs=(one, two, three))
    assert run.task_inputs == {"a": (one, three), "b": (two,)}
    assert run.task_inputs["b"][0].id == run_id(2)


def test_the_tree_shows_the_arguments_of_failed_mapped_runs() -> None:
    runs = [make_run(0, "root", is_flow=True, kind=StateType.FAILED)]
    for number in range(1, 20):
        is_bad = number == 7
        runs.append(
            make_run(
                number,
                "parse",
                parent=0,
                kind=StateType.FAILED if is_bad else StateType.COMPLETED,
                failure=Failure(type="ValueError", message="bad") if is_bad else None,
                parameters=payload(row=number, text="x" * 100),
                attempt=2 if is_bad else 1,
                max_attempts=2,
            )
        )
    drawn = tree_view.lines(build(runs[0], runs), now=NOW, detail=tree_view.STANDARD)
    rows = [row.plain for row in tree_view.layout(drawn, width=None)]
    (row,) = [row for row in rows if "parse-7" in row]
    shown = 'row=7, text="' + "x" * 27 + "…"
    assert row.endswith(f"attempt 2 of 2 · {shown} · ValueError: bad")
    assert not any("row=8" in row for row in rows)


def lines(failure: Failure | None, *, full: bool = False) -> list[str]:
    return list(run_details.failure_lines(failure, full=full))


CAUSE = Failure(type="OSError", message="gone\nfor good", stack_trace="at disk\nOSError: gone\n")


def test_an_error_without_causes_is_its_stack_trace() -> None:
    assert lines(None) == []
    assert lines(Failure(type="E", message="m")) == []
    assert lines(Failure(type="E", stack_trace="one\ntwo\n")) == ["one", "two"]


def test_causes_that_the_stack_trace_leaves_out_follow_it() -> None:
    inner = Failure(type="KeyError", message="k", cause=CAUSE)
    failure = Failure(type="E", stack_trace="one\n", cause=CAUSE, other_causes=(inner, CAUSE))
    assert lines(failure) == [
        "one",
        "caused by OSError: gone",
        "together with KeyError: k",
        "caused by OSError: gone",
        "together with OSError: gone",
    ]
    assert lines(failure, full=True)[:4] == [
        "one",
        "caused by OSError: gone",
        "  at disk",
        "  OSError: gone",
    ]


def test_causes_in_the_stack_trace_are_not_repeated() -> None:
    failure = Failure(type="E", stack_trace="one\n  | OSError: gone\n", other_causes=(CAUSE,))
    assert lines(failure) == ["one", "  | OSError: gone"]


def test_many_causes_are_counted() -> None:
    others = tuple(Failure(type=f"E{n}", message="m") for n in range(20))
    failure = Failure(type="E", other_causes=others)
    assert lines(failure)[-1] == "… 15 more causes. Use --full to show all."
    assert len(lines(failure, full=True)) == 20
