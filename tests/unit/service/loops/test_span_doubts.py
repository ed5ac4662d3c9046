"""Crashed runs whose process may come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.memory_store import ManualClock
from tests.unit.service.loops.test_span_records import make_run

from flowspan_service.domain.session_ends import ALIVE_US, SILENT_US
from flowspan_service.domain.sessions import SessionEnd, SessionStatus, SpanSource
from flowspan_service.loops import span_doubts
from flowspan_service.loops.span_doubts import READ_US, Doubts

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run

LOST = SessionStatus.LOST


class World:
    """Doubts, their clock, and the processes that exist."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.alive: set[int] = set()
        self.looks = 0
        self.doubts = Doubts(self.clock, self._exists)

    def _exists(self, process_id: int, _: str, mark: str) -> bool | None:
        self.looks += 1
        return process_id in self.alive if mark else None

    def end(self, status: int = LOST, **facts: Any) -> SpanSource:
        return SpanSource("", {}, None, SessionEnd(status, self.clock.now_us(), **facts))


def run_of(session_id: str, position: int) -> Run:
    return make_run(id=f"r{position}", session_id=session_id, position=position)


def test_a_process_that_is_over_is_not_in_doubt() -> None:
    world = World()
    over = [
        None,
        SpanSource("", {}),
        world.end(SessionStatus.CLOSED),
        world.end(is_broken_off=True),
        world.end(process_id=7, process_mark="m"),
    ]
    assert not any(world.doubts.note(run_of("s", 1), source) for source in over)
    assert not world.doubts
    assert world.doubts.pause_us() is None
    assert world.doubts.low_position() is None


def test_an_unknown_process_is_over_after_five_minutes() -> None:
    world = World()
    source = world.end()
    assert world.doubts.note(run_of("s", 5), source)
    assert world.doubts.note(run_of("s", 4), source)
    assert world.doubts.note(run_of("s", 4), source), "it is read again"
    assert world.doubts.low_position() == 4
    waited_us = 0
    while waited_us < SILENT_US:
        assert world.doubts.settle("s", source) == {}
        pause_us = world.doubts.pause_us()
        assert pause_us is not None
        assert 0 < pause_us <= READ_US
        assert world.doubts.due() == []
        world.clock.advance(pause_us / 1e6)
        waited_us += pause_us
        assert world.doubts.due() == ["s"]
    assert world.doubts.settle("s", source) == {5: "r5", 4: "r4"}
    assert not world.doubts


def test_a_process_of_this_machine_is_examined_each_second() -> None:
    world = World()
    world.alive.add(7)
    source = world.end(process_id=7, process_mark="m")
    assert world.doubts.note(run_of("s", 1), source)
    for _ in range(5):
        world.clock.advance(1)
        assert world.doubts.due() == []
    world.alive.clear()
    world.clock.advance(1)
    assert world.doubts.due() == ["s"]
    assert world.doubts.settle("s", source) == {1: "r1"}


def test_a_process_that_exists_is_waited_for_at_most_an_hour() -> None:
    world = World()
    world.alive.add(7)
    source = world.end(process_id=7, process_mark="m")
    assert world.doubts.note(run_of("s", 1), source)
    world.clock.advance(ALIVE_US / 1e6 - 1)
    assert world.doubts.due() == ["s"], "what is stored may have changed"
    assert world.doubts.settle("s", source) == {}
    world.clock.advance(1)
    assert world.doubts.settle("s", source) == {1: "r1"}


def test_a_session_that_came_back_is_waited_for() -> None:
    world = World()
    assert world.doubts.note(run_of("s", 1), world.end())
    world.clock.advance(10)
    back = world.end(SessionStatus.OPEN, process_id=7, process_mark="m")
    assert world.doubts.settle("s", back) == {}
    world.clock.advance(SILENT_US / 1e6)
    assert world.doubts.due() == ["s"]
    assert world.doubts.settle("s", back) == {}
    closed = world.end(SessionStatus.CLOSED)
    assert world.doubts.settle("s", closed) == {1: "r1"}


def test_runs_that_are_dropped(monkeypatch: Any) -> None:
    monkeypatch.setattr(span_doubts, "MAX_RUNS", 3)
    world = World()
    for session_id, position in (("a", 1), ("a", 3), ("b", 2)):
        assert world.doubts.note(run_of(session_id, position), world.end())
    assert world.doubts.is_full
    world.doubts.pass_to(2)
    assert not world.doubts.is_full
    assert ("a" in world.doubts, "b" in world.doubts) == (True, False)
    assert world.doubts.runs_of("a") == {3: "r3"}
    world.doubts.drop("a", [3])
    assert not world.doubts
    assert world.doubts.note(run_of("a", 4), world.end())
    world.doubts.forget()
    assert not world.doubts
