"""The terminal view of artifacts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.api_records import NOW, run_id

from flowspan.api import Artifact, Payload
from flowspan.cli import artifact_view


def make(kind: str, value: Any, **fields: Any) -> Artifact:
    values = {
        "id": run_id(1),
        "key": None,
        "description": "",
        "run_id": None,
        "flow_run_id": None,
        "created_at": NOW,
        "updated_at": NOW,
        "data": Payload(encoding="json", data=json.dumps(value).encode()),
    }
    return Artifact(type=kind, **(values | fields))


def shown(kind: str, value: Any, *, width: int | None = None, **fields: Any) -> list[str]:
    return [str(line) for line in artifact_view.body(make(kind, value, **fields), width=width)]


@pytest.mark.parametrize(
    "value",
    [
        [{"a": 1, "b": "x"}, {"a": None, "b": "y"}],
        {"a": [1, None], "b": ["x", "y"]},
    ],
)
def test_tables_of_rows_and_of_columns(value: Any) -> None:
    assert shown("table", value) == ["   a  b", "   1  x", "null  y"]


def test_figures_are_aligned_on_the_right() -> None:
    rows = [
        {"city": "Ulm", "share": "7.5 %", "people": 128_000, "zip": "D-89073"},
        {"city": 7, "share": "46.0 %", "people": None, "zip": "1"},
    ]
    assert shown("table", rows) == [
        "city   share  people  zip",
        "Ulm    7.5 %  128000  D-89073",
        "7     46.0 %    null  1",
    ]


def test_tables_of_lists_and_gaps() -> None:
    assert shown("table", [[1, 2], [3]]) == ["1  2", "1  2", "3"]
    assert shown("table", [{"a": 1}, {"b": 2}]) == ["a  b", "1", "   2"]
    assert shown("table", {"a": [1], "b": []}) == ["a  b", "1"]


@pytest.mark.parametrize("value", [[], {}, [1, {"a": 2}], "text", {"a": 1}])
def test_what_is_no_table_is_shown_as_it_is(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value, indent=2)
    assert shown("table", value) == text.splitlines()


def test_wide_and_long_tables_are_cut() -> None:
    rows = [{"name": "x" * 100, "other": "y" * 100}] * 500
    lines = shown("table", rows, width=40)
    assert max(map(len, lines[:-1])) == 40
    assert len(lines) == 202
    assert lines[-1] == "… 300 more rows: use --json to see them"


def test_a_progress_is_a_bar() -> None:
    assert shown("progress", 0) == ["─" * 30 + " 0 %"]
    assert shown("progress", 100.0) == ["━" * 30 + " 100 %"]
    assert shown("progress", 12.5)[0].endswith(" 12.5 %")
    assert shown("progress", True) == ["true"]


def test_what_a_terminal_would_obey_is_left_out() -> None:
    bad = "a\x1b[2Jb"
    for kind, value in [
        ("markdown", bad),
        ("own", {bad: bad}),
        ("table", [{bad: bad}]),
        ("table", {bad: [bad]}),
    ]:
        assert "\x1b" not in "".join(shown(kind, value))
    artifact = make("markdown", "x", description=bad)
    assert "\x1b" not in "".join(str(line) for line in artifact_view.head(artifact, now=NOW))


def test_what_is_no_json_and_what_is_not_there() -> None:
    other = Payload(encoding="pickle", data=bytes(1234))
    assert shown("own", None, data=other) == ["1.2 KiB, encoded as 'pickle'"]
    assert shown("own", None, data=None) == []
