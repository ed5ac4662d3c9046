from __future__ import annotations

import pytest
from tests.unit.client.test_cli.records import NOW, make_run

from flowspan.api import Failure, StateType
from flowspan.cli import tree_view
from flowspan.cli.tree import build

BAD = Failure(type="SyntaxError", message="invalid syntax (bad.py, line 3)")


def text(runs, *, detail=tree_view.STANDARD, width=None):
    drawn = tree_view.lines(build(runs[0], runs), now=NOW, detail=detail)
    return [row.plain for row in tree_view.layout(drawn, width=width)]


def fan_out(count=40):
    runs = [make_run(0, "root", is_flow=True, kind=StateType.RUNNING, run_name="brave-otter")]
    for number in range(1, count + 1):
        kind, attempt, failure = StateType.COMPLETED, 1, None
        if number == 5:
            kind, failure = StateType.FAILED, BAD
        if number == 7:
            attempt = 2
        if number > count - 3:
            kind = StateType.PENDING
        if number == count - 3:
            kind = StateType.RUNNING
        runs.append(
            make_run(number, "parse", parent=0, kind=kind, attempt=attempt, failure=failure)
        )
    return runs


def test_a_small_tree():
    runs = [
        make_run(0, "root", is_flow=True, run_name="brave-otter", took_s=3),
        make_run(1, "find", parent=0),
        make_run(
            2,
            "package",
            parent=0,
            is_flow=True,
            run_name="json",
            kind=StateType.FAILED,
            failure=BAD,
        ),
        make_run(3, "parse", parent=2, kind=StateType.PENDING),
    ]
    assert text(runs) == [
        "root brave-otter  ✓ Completed     3.0s",
        "├─ find-1         ✓ Completed     1.0s",
        "└─ package json   ✗ Failed        1.0s  SyntaxError: invalid syntax (bad.py, line 3)",
        "   └─ parse-3     ○ Pending             waited 1m 00s",
    ]


def test_a_large_fan_out_is_folded_but_not_what_needs_attention():
    assert text(fan_out()) == [
        "root brave-otter  ▸ Running     1m 00s",
        "└─ parse ×40      ✗ 1 Failed  ▸ 1 Running  ○ 3 Pending  ✓ 35 Completed   1m 00s  "
        "━━━━━━━━━━━━━━━━━━━━━─── 36/40",
        "   ├─ parse-5     ✗ Failed        1.0s  SyntaxError: invalid syntax (bad.py, line 3)",
        "   ├─ parse-7     ✓ Completed     1.0s  attempt 2",
        "   └─ parse-37    ▸ Running     1m 00s",
    ]


def test_full_shows_every_run():
    assert len(text(fan_out(), detail=tree_view.FULL)) == 41


def test_failures_of_a_folded_group_are_listed_up_to_a_bound():
    runs = [make_run(0, "root", is_flow=True)]
    runs += [
        make_run(n, "parse", parent=0, kind=StateType.FAILED, failure=BAD) for n in range(1, 60)
    ]
    rows = text(runs)
    assert rows[1].startswith("└─ parse ×59")
    assert len(rows) == 2 + tree_view.STANDARD.notable + 1
    assert rows[-1] == "   └─ … 49 more  ✗ Failed"


def test_trouble_deep_in_a_folded_group_comes_up():
    runs = [make_run(0, "root", is_flow=True)]
    for package in range(1, 21):
        number = package * 100
        runs.append(make_run(number, "package", parent=0, is_flow=True, run_name=f"p{package}"))
        kind = StateType.FAILED if package == 13 else StateType.COMPLETED
        runs.append(make_run(number + 1, "parse", parent=number, kind=kind))
    rows = text(runs)
    assert [row.strip().split("  ")[0] for row in rows] == [
        "root-0",
        "└─ package ×20",
        "└─ package p13",
        "└─ parse-1301",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_no_line_is_wider_than_the_terminal(width):
    for row in text(fan_out(), width=width):
        assert len(row) <= width


def test_a_narrow_terminal_has_the_figures_without_the_names():
    row = text(fan_out(), width=80)[1]
    assert "✗ 1  ▸ 1  ○ 3  ✓ 35" in row
    assert "36/40" in row


@pytest.mark.parametrize("max_lines", [3, 6, 12, 20])
def test_the_tree_fits_into_the_lines_there_are(max_lines):
    runs = [make_run(0, "root", is_flow=True, kind=StateType.RUNNING)]
    for package in range(1, 9):
        number = package * 100
        kind = StateType.RUNNING if package == 8 else StateType.COMPLETED
        runs.append(make_run(number, "package", parent=0, is_flow=True, kind=kind))
        runs += [
            make_run(
                number + n, "parse", parent=number, kind=kind if n > 15 else StateType.COMPLETED
            )
            for n in range(1, 20)
        ]
    drawn = tree_view.fitting(build(runs[0], runs), now=NOW, max_lines=max_lines)
    assert len(drawn) <= max_lines
    assert "root" in drawn[0].label.plain
    if max_lines >= 6:
        assert any("package-800" in line.label.plain for line in drawn)


def test_expected_runs_count_for_the_progress():
    runs = fan_out(10)
    drawn = list(
        tree_view.lines(
            build(runs[0], runs), now=NOW, detail=tree_view.STANDARD, expected={"parse": 50}
        )
    )
    assert drawn[1].label.plain == "└─ parse ×50"
    assert drawn[1].progress == (6, 50)


def test_totals_count_by_function():
    runs = fan_out()
    assert [row.plain for row in tree_view.totals(build(runs[0], runs))] == [
        "     40  parse  ✗ 1 Failed  ▸ 1 Running  ○ 3 Pending  ✓ 35 Completed  1 retried"
    ]


def test_names_cannot_move_the_cursor():
    runs = [make_run(0, "root", is_flow=True, run_name="a\x1b[2J\nb")]
    assert text(runs) == ["root a b  ✓ Completed     1.0s"]


def test_a_group_that_will_be_large_is_folded_from_the_first():
    runs = fan_out(5)
    drawn = list(
        tree_view.lines(
            build(runs[0], runs), now=NOW, detail=tree_view.STANDARD, expected={"parse": 50}
        )
    )
    assert drawn[1].label.plain == "└─ parse ×50"
