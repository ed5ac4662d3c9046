"""Folding: many similar lines become few."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from flowspan.logging.repeated_lines import CANCELLED, SHOWN_FIRST, Folding, Line, cancelled_words

if TYPE_CHECKING:
    from collections.abc import Callable

WARNING = 30


class Shown:
    """A Folding with its output and its clock."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.ticks: list[Callable[[], bool]] = []
        self.folding = Folding(self._show, self.ticks.append)

    def _show(self, run: Any, _level: int, message: str) -> None:
        self.lines.append((run.record.run_name, message))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            assert len(self.ticks) == 1
            if not self.ticks[0]():
                self.ticks.clear()
                return


@pytest.fixture
def shown() -> Shown:
    return Shown()


def run(name: str, parent: Any = None, *, task: str = "load", is_flow: bool = False) -> Any:
    made = SimpleNamespace(
        record=SimpleNamespace(id=name, run_name=name),
        parent=parent,
        definition=SimpleNamespace(name=task, kind="Flow" if is_flow else "Task"),
        scope=SimpleNamespace(cancelled=False),
    )
    made.flow_run = made if is_flow else getattr(parent, "flow_run", None)
    return made


def line(number: int, parent: Any, kind: str = "Failed", reason: str = "ValueError") -> Line:
    return Line(run(f"load-{number}", parent), WARNING, f"{kind} after 1 s.", kind, reason, kind)


def held(shown: Shown, count: int, parent: Any, kind: str = "Failed") -> int:
    return sum(shown.folding.hold(line(number, parent, kind)) for number in range(count))


def test_the_first_are_shown_and_the_others_counted(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    assert held(shown, 2000, flow_run) == 2000 - SHOWN_FIRST
    assert shown.folding.close(flow_run) == 0
    assert shown.lines == [("flow", "1,997 more task runs of 'load': Failed. ValueError")]
    assert shown.folding.close(flow_run) == 0
    assert len(shown.lines) == 1


def test_what_is_no_state_is_told_by_its_reason_alone(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    for number in range(SHOWN_FIRST + 17):
        of = run(f"load-{number}", flow_run)
        shown.folding.hold(Line(of, WARNING, "no | Retry 1/1.", "Retry", "no | Retry 1/1."))
    shown.folding.close(flow_run)
    assert shown.lines == [("flow", "17 more task runs of 'load': no | Retry 1/1.")]


def test_reasons_are_counted_and_bounded(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    held(shown, SHOWN_FIRST, flow_run)
    for number in range(10):
        shown.folding.hold(line(number, flow_run, reason=f"reason {number % 5}"))
    shown.folding.close(flow_run)
    ((_, text),) = shown.lines
    assert text.endswith("reason 0 (×2); reason 1 (×2); reason 2 (×2); other reasons (×4)")


def test_kinds_and_tasks_and_flow_runs_are_apart(shown: Shown) -> None:
    flows = [run(name, task="outer", is_flow=True) for name in ("a", "b")]
    for flow_run in flows:
        for kind in ("Failed", "TimedOut"):
            assert held(shown, SHOWN_FIRST, flow_run, kind) == 0
        of_another = run("store-0", flow_run, task="store")
        assert not shown.folding.hold(Line(of_another, WARNING, "Failed.", "Failed", ""))


def test_a_single_line_that_was_held_is_shown_as_it_is(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    assert held(shown, 1, flow_run, CANCELLED) == 1
    shown.tick(3)
    assert shown.lines == [("load-0", "Cancelled after 1 s.")]


def test_cancelled_runs_are_one_line_when_no_more_come(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    for _ in range(4):
        assert held(shown, 500, flow_run, CANCELLED) == 500
        shown.tick()
        assert shown.lines == []
    shown.tick()
    assert shown.lines == [("flow", "2,000 task runs of 'load': Cancelled. ValueError")]


def test_what_is_cancelled_with_the_flow_run_is_said_at_its_end(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    flow_run.scope.cancelled = True
    held(shown, 1900, flow_run, CANCELLED)
    shown.tick(20)
    assert shown.lines == []
    assert shown.folding.close(flow_run) == 1900
    assert shown.lines == []
    # A run that ends only afterwards is shown separately.
    held(shown, 2, flow_run, CANCELLED)
    shown.tick(3)
    assert len(shown.lines) == 1


def test_the_outermost_run_is_never_held(shown: Shown) -> None:
    assert not shown.folding.hold(line(1, None, CANCELLED))


def test_summaries_come_now_and_then_and_later_and_later(shown: Shown) -> None:
    flow_run = run("flow", task="outer", is_flow=True)
    for _ in range(600):
        held(shown, 10, flow_run)
        shown.tick()
    assert 3 <= len(shown.lines) <= 6
    shown.folding.flush()
    counted = sum(int(text.split(" ")[0].replace(",", "")) for _, text in shown.lines)
    assert counted == 6000 - SHOWN_FIRST


def test_after_a_quiet_while_lines_are_shown_again(shown: Shown) -> None:
    assert held(shown, SHOWN_FIRST + 1, None) == 1
    shown.tick(200)
    assert shown.ticks == []  # It sleeps.
    assert held(shown, SHOWN_FIRST, None) == 0


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, ""), (1, " 1 run in it was cancelled."), (1900, " 1,900 runs in it were cancelled.")],
)
def test_the_words_for_what_was_cancelled(count: int, words: str) -> None:
    assert cancelled_words(count) == words
