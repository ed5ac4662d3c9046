from __future__ import annotations

import io
import json

from rich.console import Console
from tests.support.api_records import make_change, make_run, run_id

from flowspan.api import RunSnapshot, StateType
from flowspan.cli.live import LiveTree
from flowspan.cli.live_view import LiveView, _Above


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def printed(view):
    return [json.loads(line)["print"] for line in view.getvalue().splitlines()]


def test_whole_lines_go_to_the_view():
    view, terminal = io.StringIO(), io.StringIO()
    above = _Above(view, terminal)
    print("one", "two", file=above)
    above.write("half")
    above.write(" a line\nand\nmore")
    assert printed(view) == ["one two", "half a line", "and"]
    assert terminal.getvalue() == ""


def test_what_is_printed_after_the_view_has_gone_is_seen_all_the_same():
    terminal = io.StringIO()
    above = _Above(Gone(), terminal)
    print("one", file=above)
    above.send({"expect": {"parse": 3}})
    assert terminal.getvalue() == "one\n"


def test_the_rest_of_a_line_is_not_lost():
    view, terminal = io.StringIO(), io.StringIO()
    above = _Above(view, terminal)
    above.write("no end of line")
    above.finish()
    assert printed(view) == ["no end of line"]
    above.finish()
    assert printed(view) == ["no end of line"]


def test_without_a_terminal_there_is_no_view(capsys):
    with LiveView() as view:
        view.show(run_id(0))
        view.expect("parse", 3)
        print("as ever")  # noqa: T201 - any program may print
    assert capsys.readouterr().out == "as ever\n"


def drawn(tree):
    return tree.draw().plain.splitlines()


def test_a_tree_is_drawn_as_it_grows():
    console = Console(width=60, height=24, force_terminal=True, file=io.StringIO())
    tree = LiveTree(run_id(0), console, expected={"parse": 40})
    assert drawn(tree) == ["waiting for the run …"]
    assert tree.run is None
    tree.apply(RunSnapshot(make_run(0, "root", is_flow=True, kind=StateType.RUNNING)))
    for number in range(1, 21):
        tree.apply(RunSnapshot(make_run(number, "parse", parent=0, kind=StateType.PENDING)))
    assert drawn(tree)[1].startswith("└─ parse ×40  ○ Pending")
    assert drawn(tree)[1].endswith("0/40")
    tree.apply(make_change(3, StateType.RUNNING, ordinal=3))
    tree.apply(make_change(3, StateType.COMPLETED, ordinal=4))
    assert drawn(tree)[1].endswith("1/40")
    assert drawn(tree)[-1].endswith("20  parse  ○ 19 Pending  ✓ 1 Completed")
    assert tree.run is not None
    assert tree.run.function_name == "root"


def test_a_tree_never_grows_over_the_terminal():
    console = Console(width=50, height=12, force_terminal=True, file=io.StringIO())
    tree = LiveTree(run_id(0), console)
    tree.apply(RunSnapshot(make_run(0, "root", is_flow=True, kind=StateType.RUNNING)))
    for package in range(1, 30):
        number = package * 100
        tree.apply(
            RunSnapshot(make_run(number, "package", parent=0, is_flow=True, kind=StateType.RUNNING))
        )
        for task in range(1, 4):
            tree.apply(
                RunSnapshot(make_run(number + task, f"task-{task}-{package}", parent=number))
            )
        lines = drawn(tree)
        assert len(lines) < 12
        assert max(map(len, lines)) < 50
