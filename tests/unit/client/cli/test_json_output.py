from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone

import pytest
from tests.support.api_records import make_chain, make_change, make_run, run_id

from flowspan.api import (
    FlowRun,
    LogRecord,
    Payload,
    RunSnapshot,
    SnapshotEnd,
    StateType,
    TaskRun,
)
from flowspan.cli import json_output
from flowspan.cli.tree import build


def no_url(_run):
    return None


def through_json(value):
    return json.loads(json_output.line(value))


def test_a_run_has_all_its_fields_by_name():
    run = make_run(0, "etl", is_flow=True, parameters=Payload(encoding="json", data=b'{"n":[1]}'))
    shown = through_json(json_output.run(run, no_url))
    assert set(shown) == {"kind", "trace_url"} | {
        field.name for field in dataclasses.fields(FlowRun)
    }
    assert shown["kind"] == "flow_run"
    assert shown["id"] == str(run_id(0))
    assert shown["state"]["type"] == "COMPLETED"
    assert shown["parameters"] == {"n": [1]}
    assert shown["parent_run_id"] is None
    assert shown["created_at"] == "2026-03-01T11:59:00.000000Z"
    task = through_json(json_output.run(make_run(1, "load"), no_url))
    assert set(task) == {"kind", "trace_url"} | {
        field.name for field in dataclasses.fields(TaskRun)
    }


def test_a_run_has_the_address_of_its_trace():
    runs = [make_run(0, "root", is_flow=True), make_run(1, "a", parent=0)]
    pieces = json_output.tree(build(runs[0], runs).node(run_id(0)), lambda run: f"/{run.name}")
    shown = json.loads("".join(pieces))
    assert [shown["trace_url"], shown["children"][0]["trace_url"]] == ["/root-0", "/a-1"]


def test_parameters_that_are_not_json_are_described():
    run = make_run(0, "etl", is_flow=True, parameters=Payload(encoding="pickle", data=b"\x80abc"))
    assert json_output.run(run, no_url)["parameters"] == {"encoding": "pickle", "size_bytes": 4}


def test_a_tree_nests():
    runs = [make_run(0, "root", is_flow=True), make_run(1, "a", parent=0)]
    shown = json.loads("".join(json_output.tree(build(runs[0], runs).node(run_id(0)), no_url)))
    assert [child["name"] for child in shown["children"]] == ["a-1"]
    assert shown["children"][0]["children"] == []


def test_times_are_in_utc():
    moment = datetime(2026, 1, 1, 1, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert json_output.timestamp(moment) == "2025-12-31T23:00:00.000005Z"


def test_levels_by_name_or_number():
    assert json_output.level_name(30) == "WARNING"
    assert json_output.level_name(25) == "25"
    record = LogRecord(
        position=1, run_id=run_id(0), level=40, logged_at=None, logger="l", message="m"
    )
    assert through_json(json_output.log(record))["level"] == "ERROR"


def test_items_of_a_watch_say_what_they_are():
    run = make_run(0, "root", is_flow=True)
    assert through_json(json_output.watch_item(RunSnapshot(run), no_url))["event"] == "snapshot"
    end = through_json(json_output.watch_item(SnapshotEnd(3, "t"), no_url))
    assert end == {"event": "snapshot_end", "run_count": 3, "resume_token": "t"}
    item = make_change(0, StateType.RUNNING, ordinal=2)
    change = through_json(json_output.watch_item(item, no_url))
    assert change["event"] == "transition"
    assert change["transition"]["state"]["type"] == "RUNNING"
    assert change["transition"]["cause"] == "REPORTED"
    assert change["run"] is None


def test_one_object_is_one_line():
    assert "\n" not in json_output.line({"message": "a\nb\u2028"})


def test_a_tree_of_any_depth_is_one_object():
    runs = make_chain(10_000)
    text = "".join(json_output.tree(build(runs[0], runs).node(run_id(0)), no_url))
    assert text.count('"children":[') == 10_000
    assert text.endswith("]}" * 10_000)
    # Python's own parser is recursive, so parse only the innermost part.
    innermost = json.loads(text[text.rindex('{"kind"') :][: -2 * 9_999])
    assert innermost["name"] == "step-9999"
    assert innermost["children"] == []
    assert "\n" not in text


def test_siblings_are_apart():
    runs = [make_run(0, "root", is_flow=True)]
    runs += [make_run(n, "a", parent=0 if n < 4 else n - 3) for n in range(1, 10)]
    shown = json.loads("".join(json_output.tree(build(runs[0], runs).node(run_id(0)), no_url)))
    assert [child["name"] for child in shown["children"]] == ["a-1", "a-2", "a-3"]
    assert [[c["name"] for c in child["children"]] for child in shown["children"]] == [
        ["a-4"],
        ["a-5"],
        ["a-6"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), '"NaN"'),
        ({"x": [float("inf"), -float("inf"), 1.5]}, '{"x":["Infinity","-Infinity",1.5]}'),
        (2**70, str(2**70)),
        ("\x9b2J\x7f\u202e\udcff\ud800\u2028é", '"\\u009b2J\\u007f\\u202e\\udcff\ufffd\\u2028é"'),
    ],
)
def test_whatever_the_value_it_is_valid_json(value, text):
    assert json_output.line(value) == text
    json.loads(text)
    assert json.loads(json_output.pretty(value)) == json.loads(text)
