from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import timedelta

import pytest
from tests.support.api_records import NOW, make_chain, make_run

from flowspan.api import Failure, StateType
from flowspan.cli import state_view, tree_view
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


NAMED = [
    ((StateType.COMPLETED, "Completed"), 7),
    ((StateType.COMPLETED, "Cached"), 5),
    ((StateType.FAILED, "TimedOut"), 2),
    ((StateType.PENDING, "NotReady"), 1),
    ((StateType.COMPLETED, "RolledBack"), 1_234),
]


@pytest.mark.parametrize(
    ("counts", "texts"),
    [
        (NAMED[:1], ["✓ Completed", "✓"]),
        (NAMED[1:2], ["✓ Cached", "✓"]),
        (NAMED[:2], ["✓ 7 Completed, 5 Cached", "✓ 7, 5 Cached", "✓ 12"]),
        (
            NAMED,
            [
                "✗ 2 TimedOut  ○ 1 NotReady  ✓ 1,234 RolledBack, 7 Completed, 5 Cached",
                "✗ 2 TimedOut  ○ 1 NotReady  ✓ 1,234 RolledBack, 7, 5 Cached",
                "✗ 2  ○ 1  ✓ 1,246",
            ],
        ),
        ([], []),
        ([((StateType.FAILED, "Failed"), 0)], []),
        (
            [((StateType.FAILED, "Failed hard"), 2), ((StateType.FAILED, "Failed"), 1)],
            ["✗ 2 Failed hard, 1 Failed", "✗ 2 Failed hard, 1", "✗ 3"],
        ),
        (
            [((StateType.COMPLETED, f"N{n}\x1b[31m"), 10 - n) for n in range(8)],
            ["✓ 10 N0, 9 N1, 8 N2, 7 N3, 6 N4, 12 others"] * 2 + ["✓ 52"],
        ),
        (
            [((StateType.COMPLETED, "x" * 99), 1), ((StateType.COMPLETED, "y"), 1)],
            [f"✓ 1 {'x' * 23}…, 1 y"] * 2 + ["✓ 2"],
        ),
    ],
)
def test_states_are_counted_by_name(counts, texts):
    assert [text.plain for text in state_view.counts_texts(Counter(dict(counts)))] == texts


def test_a_folded_row_has_the_names_of_the_states():
    runs = [make_run(0, "root", is_flow=True)]
    runs += [
        make_run(n, "train", parent=0, state_name="Cached" if n > 7 else "") for n in range(1, 13)
    ]
    assert text(runs)[1].startswith("└─ train ×12  ✓ 7 Completed, 5 Cached")
    assert "✓ 7 Completed, 5 Cached" in text(runs, width=80)[1]
    assert "5 Cached" in text(runs, width=50)[1]


def test_a_folded_row_says_how_many_more_there_are():
    runs = [make_run(0, "root", is_flow=True)]
    runs += [
        make_run(n, "load", parent=0, kind=StateType.FAILED, state_name="TimedOut" if n > 9 else "")
        for n in range(1, 13)
    ]
    assert text(runs)[-1] == "   └─ … 2 more  ✗ TimedOut"


def test_a_parent_of_many_functions_says_how_many_more_it_called():
    runs = [make_run(0, "root", is_flow=True)]
    runs += [make_run(n, f"task{n}", parent=0) for n in range(1, 2_001)]
    runs[2_000] = make_run(2_000, "late", parent=0, kind=StateType.FAILED)
    rows = text(runs)
    assert len(rows) == 1 + 100 + 1
    assert rows[-2].startswith("├─ late-2000")
    assert rows[-1].startswith("└─ … 1,900 more  ✓ Completed")
    counted = [row.plain for row in tree_view.totals(build(runs[0], runs))]
    assert len(counted) == 21
    assert counted[-1].strip() == "… 1,980 more functions"
    assert len(text(runs, detail=tree_view.FULL)) == 2_001


@pytest.mark.parametrize("width", [None, 40, 80])
def test_a_deep_tree_keeps_its_names_in_sight(width):
    runs = make_chain(10_000)
    tree = build(runs[0], runs)
    levels = tree_view.indented_levels(width)
    drawn = list(tree_view.lines(tree, now=NOW, detail=tree_view.STANDARD, indented_levels=levels))
    rows = [row.plain for row in tree_view.layout(drawn, width=width)]
    assert len(rows) == 1 + 50 + 1
    for number, row in enumerate(rows[:-1]):
        assert f"step-{number} " in row
    assert "… 51 └─ … 9,949 m" in rows[-1]


def test_full_draws_every_level():
    runs = make_chain(10_000)
    every = tree_view.lines(build(runs[0], runs), now=NOW, detail=tree_view.FULL)
    assert sum(1 for _ in every) == 10_000


def test_a_large_tree_that_does_not_fit_is_not_drawn_to_its_end():
    runs = make_chain(10_000)
    drawn = tree_view.fitting(build(runs[0], runs), now=NOW, max_lines=8)
    assert len(drawn) == 1 or drawn[-1].label.plain == "… and more"
    runs = [make_run(0, "root", is_flow=True, kind=StateType.FAILED)]
    runs += [make_run(n, f"t{n}", parent=0, kind=StateType.FAILED) for n in range(1, 50)]
    drawn = tree_view.fitting(build(runs[0], runs), now=NOW, max_lines=8)
    assert len(drawn) == 8
    assert drawn[-1].label.plain == "… and more"


@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80, 120])
@pytest.mark.parametrize("name", ["x" * 300, "日本語" * 50, "👩‍🚀" * 50, "e\u0301" * 90])
def test_long_and_wide_names_fit(name, width):
    runs = [make_run(0, name, is_flow=True, run_name=name)]
    runs += [make_run(n, name, parent=0, state_name=name[:80]) for n in range(1, 12)]
    runs += [make_run(20, "short", parent=0, kind=StateType.FAILED, failure=BAD)]
    tree = build(runs[0], runs)
    drawn = tree_view.lines(tree, now=NOW, detail=tree_view.STANDARD)
    rows = [*tree_view.layout(drawn, width=width), *tree_view.totals(tree, width=width)]
    assert max(row.cell_len for row in rows) <= width


def test_a_wait_stands_beside_the_time_where_it_matters():
    retried = make_run(1, "load", parent=0, attempt=2, took_s=1.0)
    retried = dataclasses.replace(retried, created_at=retried.created_at - timedelta(seconds=90))
    runs = [make_run(0, "root", is_flow=True), retried]
    assert text(runs)[1] == "└─ load-1  ✓ Completed     1.0s  attempt 2 · waited 1m 30s"
