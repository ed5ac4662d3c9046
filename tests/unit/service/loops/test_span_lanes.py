"""The lane of a receiver: one page at a time, pauses, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.service.loops.test_span_records import make_run

from flowspan_service.domain.otlp_receivers import Receiver
from flowspan_service.loops import span_lanes
from flowspan_service.loops.span_lanes import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowspan_service.domain.runs import Run

NAMED = Receiver("grpc", "http://c:4317")
OWN = Receiver("grpc", "http://own:4317", is_own=True)
S = 1_000_000


class Rig:
    """A lane whose pages are sent when told."""

    def __init__(self, receiver: Receiver = NAMED) -> None:
        self.sent: list[list[int]] = []
        self.answer: bool | Exception = True
        self.work: list[Callable[[], None]] = []
        self.ends = 0
        self.closed = False
        self.lane = Lane(receiver, self, self._on_end, self.work.append)

    def send(self, runs: Sequence[Run]) -> bool:
        self.sent.append([run.position for run in runs])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.closed = True

    def _on_end(self) -> None:
        self.ends += 1

    def go(self, now_us: int = 0) -> None:
        """Send the page under way, and read its outcome."""
        self.work.pop()()
        assert self.lane.settle(now_us)

    def fail(self, now_us: int = 0) -> None:
        self.answer = False
        self.go(now_us)
        self.answer = True


def runs(*positions: int) -> list[Run]:
    return [make_run(id=f"r{position}", position=position) for position in positions]


def test_a_page_at_a_time() -> None:
    rig = Rig()
    lane = rig.lane
    assert lane.low_position() is None
    lane.offer(runs(3, 5), 0)
    assert lane.is_busy
    assert lane.low_position() == 3
    assert not lane.settle(0), "it is under way"
    lane.offer(runs(7), 0)
    lane.offer(runs(9), 0)
    assert lane.missed_from == 7
    rig.go()
    assert rig.sent == [[3, 5]]
    assert rig.ends == 1
    assert not lane.is_busy
    assert lane.low_position() == 7
    lane.offer(runs(11), 0)
    assert not lane.is_busy, "those before come first"


@pytest.mark.parametrize("answer", [False, OSError("the store")])
def test_a_failed_page_is_read_again_after_a_pause(answer: bool | Exception) -> None:
    rig = Rig()
    lane = rig.lane
    lane.offer(runs(3, 5), 0)
    rig.answer = answer
    rig.go(10 * S)
    assert lane.is_failing
    assert lane.missed_from == 3
    assert lane.pause_us(10 * S) == S
    assert lane.pause_us(11 * S) == 0
    pauses = []
    for _ in range(6):
        lane.missed_from = None
        lane.start(runs(3))
        rig.answer = False
        rig.go(0)
        pauses.append(lane.pause_us(0) // S)
    assert pauses == [2, 4, 8, 16, 30, 30]
    lane.missed_from = None
    lane.start(runs(3))
    rig.answer = True
    rig.go(0)
    assert not lane.is_failing
    assert lane.pause_us(0) == 0


def test_late_runs_are_kept_below_those_that_are_read_again() -> None:
    rig = Rig()
    lane = rig.lane
    lane.add_late(2, "r2")
    lane.add_late(8, "r8")
    assert lane.low_position() == 2
    lane.miss(5)
    assert lane.late == {2: "r2"}, "the other one is read again"
    lane.add_late(6, "r6")
    assert lane.late == {2: "r2"}
    del lane.late[2]
    lane.start(runs(2), are_late=True)
    assert lane.low_position() == 2
    rig.fail()
    assert lane.late == {2: "r2"}
    assert lane.missed_from == 5


def test_too_many_late_runs_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_lanes, "MAX_LATE", 2)
    lane = Rig().lane
    for position in (4, 2, 9):
        lane.add_late(position, f"r{position}")
    assert (lane.late, lane.missed_from) == ({}, 2)


def test_what_another_process_has_done() -> None:
    lane = Rig().lane
    lane.add_late(2, "r2")
    lane.add_late(4, "r4")
    lane.miss(6)
    lane.pass_to(3)
    assert (lane.late, lane.missed_from) == ({4: "r4"}, 6)
    lane.pass_to(9)
    assert (lane.late, lane.missed_from) == ({}, 10)
    lane.forget()
    assert not lane.has_backlog


def test_who_is_given_up() -> None:
    for receiver in (NAMED, OWN):
        rig = Rig(receiver)
        lane = rig.lane
        lane.offer(runs(1), 0)
        rig.fail(5 * S)
        assert not lane.is_hopeless(604 * S)
        lane.start(runs(1))
        assert not lane.is_hopeless(605 * S), "a page is under way"
        rig.fail(605 * S)
        assert lane.is_hopeless(605 * S) is (receiver is NAMED)
        lane.close()
        assert rig.closed
