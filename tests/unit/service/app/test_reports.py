"""Reports of a session, over a store in memory."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from tests.support.memory_store import ManualClock, MemoryStore

from flowspan_service.app import reports
from flowspan_service.app.event_records import NotUnderstood, ReportedEvent
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.reports import ApplyReport, report_pieces
from flowspan_service.app.sessions import EndSession, OpenSession, Reap
from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.errors import (
    BadSequenceError,
    NotFoundError,
    SessionTakenOverError,
)
from flowspan_service.domain.leases import LeaseWatch
from flowspan_service.domain.logs import LogEntry
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, Run, RunKind
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from flowspan_service.app.report_outcomes import Applied

LEASE_US = 30_000_000
S = StateType


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


def opened(store: MemoryStore, session_id: str = "s", connection_id: str = "c") -> None:
    store.do(OpenSession(session_id, client={}, lease_us=LEASE_US, connection_id=connection_id))


def state(kind: StateType, at: int = 1) -> State:
    return State(kind, kind.name.capitalize(), "", at)


def new(run_id: str, *, parent: str | None = None, kind: StateType = S.PENDING) -> ReportedEvent:
    return run_id, NewRun(
        run_id, RunKind.FLOW, "f", "", parent, parent or run_id, None, (), None, None, "", 1,
        state(kind),
    )  # fmt: skip


def enters(run_id: str, kind: StateType, *, attempt: int = 1, at: int = 2) -> ReportedEvent:
    return run_id, ProposedTransition(state(kind, at), attempt, Cause.REPORTED)


def logs(run_id: str) -> ReportedEvent:
    return run_id, LogEntry(run_id, 1, 20, 5, "l", "m")


def made(artifact_id: str) -> ReportedEvent:
    return "", NewArtifact(artifact_id, None, "markdown", "", None, None, 1)


def changed(artifact_id: str) -> ReportedEvent:
    return "", ArtifactChange(artifact_id, "changed", None, 2)


def report(store: MemoryStore, first: int, *events: ReportedEvent, session_id: str = "s"):
    return store.do(
        ApplyReport(
            session_id,
            first_sequence=first,
            events=events,
            run_ids=[run_id for run_id, _ in events],
            connection_id="c",
        )
    )


def test_events_are_applied_and_counted(store: MemoryStore) -> None:
    opened(store)
    applied = report(
        store, 1, new("r"), enters("r", S.RUNNING), logs("r"), enters("r", S.COMPLETED)
    )
    assert applied.up_to_sequence == 4
    assert applied.verdicts == []
    assert applied.transition_count == 3
    run = store.runs.get(RunKind.FLOW, "r")
    assert run is not None
    assert (run.state.type, run.transition_count, run.session_id) == (S.COMPLETED, 3, "s")
    assert [each.ordinal for each in store.transitions.of_run("r")] == [1, 2, 3]
    assert len(store.data.logs) == 1


def test_what_the_watermark_covers_is_skipped(store: MemoryStore) -> None:
    opened(store)
    events = [new("r"), enters("r", S.RUNNING), enters("r", S.COMPLETED)]
    report(store, 1, *events[:2])
    assert report(store, 1, *events).transition_count == 1
    again = report(store, 2, *events[1:])
    assert (again.up_to_sequence, again.transition_count, again.verdicts) == (3, 0, [])
    assert len(store.transitions.of_run("r")) == 3


def test_batch_wholly_behind_the_watermark_does_not_move_it(store: MemoryStore) -> None:
    opened(store)
    events = [new("r"), enters("r", S.RUNNING), enters("r", S.COMPLETED)]
    report(store, 1, *events)
    assert report(store, 1, events[0]).up_to_sequence == 3
    assert store.data.sessions["s"].last_sequence == 3


def test_gap_changes_nothing(store: MemoryStore) -> None:
    opened(store)
    with pytest.raises(BadSequenceError) as caught:
        report(store, 2, new("r"))
    assert caught.value.metadata == {"expected": "1"}
    assert store.data.runs == {}
    assert store.data.sessions["s"].last_sequence == 0


def test_running_it_twice_does_the_same(store: MemoryStore) -> None:
    """A failed group is rerun, so the operation must not have changed its own events."""
    opened(store)
    events = (new("r"), enters("r", S.RUNNING), enters("r", S.COMPLETED))
    operation = ApplyReport("s", first_sequence=1, events=events, run_ids=["r"])
    before = store.data
    first = store.do(operation)
    store.data = before
    second = store.do(operation)
    assert first == second
    assert [each.state.type for each in store.transitions.of_run("r")] == [2, 3, 6]


def test_session_is_required(store: MemoryStore) -> None:
    with pytest.raises(NotFoundError):
        report(store, 1, new("r"))


def test_connection_that_lost_the_session_is_refused(store: MemoryStore) -> None:
    opened(store)
    opened(store, connection_id="d")
    with pytest.raises(SessionTakenOverError):
        report(store, 1, new("r"))


def test_verdicts_do_not_stop_the_others(store: MemoryStore) -> None:
    opened(store)
    applied = report(
        store,
        1,
        enters("nobody", S.RUNNING),
        new("r"),
        ("", NotUnderstood("event_is_known", "no idea")),
        new("early", kind=S.RUNNING),
        enters("r", S.RUNNING),
    )
    assert [(v.sequence, v.kind, v.rule) for v in applied.verdicts] == [
        (1, VerdictKind.REJECTED, "run_is_known"),
        (3, VerdictKind.REJECTED, "event_is_known"),
        (4, VerdictKind.REJECTED, "starts_scheduled_or_pending"),
    ]
    assert applied.transition_count == 2


def rules(applied: Applied) -> list[tuple[int, str]]:
    return [(each.kind, each.rule) for each in applied.verdicts]


REJECTED, ABORT = VerdictKind.REJECTED, VerdictKind.ABORT


def test_run_of_a_live_session_is_not_reported_by_another(store: MemoryStore) -> None:
    opened(store)
    report(store, 1, new("r"))
    opened(store, "t")
    told = report(store, 1, enters("r", S.RUNNING), new("r"), logs("r"), session_id="t")
    assert rules(told) == [
        (REJECTED, "another_session_has_it"),
        (VerdictKind.DUPLICATE, "creation_agrees"),
    ]
    assert [each.run_id for each in store.data.logs] == ["r"]
    assert rules(report(store, 2, enters("r", S.RUNNING))) == []


@pytest.mark.parametrize("repeats", [True, False])
def test_run_of_an_ended_session_is_claimed(store: MemoryStore, repeats: bool) -> None:
    opened(store)
    report(store, 1, new("r"), enters("r", S.RUNNING))
    opened(store, "t")
    store.do(EndSession("s"))
    told = report(store, 1, *([new("r")] if repeats else []), enters("r", S.RUNNING, at=9),
                  session_id="t")  # fmt: skip
    assert rules(told) == [(VerdictKind.DUPLICATE, "creation_agrees")] * repeats
    assert store.data.runs["r"].state.type == S.RUNNING
    opened(store)
    assert rules(report(store, 3, enters("r", S.COMPLETED))) == [
        (REJECTED, "another_session_has_it")
    ]
    store.do(EndSession("t"))
    assert store.data.runs["r"].state.type == S.CRASHED


@pytest.mark.parametrize("is_own", [True, False])
def test_another_creation_of_an_id_fences_its_session(store: MemoryStore, is_own: bool) -> None:
    opened(store)
    report(store, 1, new("r"))
    session_id, first = ("s", 2) if is_own else ("t", 1)
    opened(store, session_id)
    other = ("r", new("r")[1]._replace(run_name="another"))  # type: ignore[union-attr]
    told = report(store, first, other, enters("r", S.RUNNING), session_id=session_id)
    assert rules(told) == [(ABORT, "creation_agrees")] * 2
    artifact = ("r", made("a")[1])
    told = report(store, first + 2, logs("r"), artifact, new("r"), session_id=session_id)
    assert rules(told) == [(ABORT, "creation_agrees")] * 3
    assert store.data.runs["r"].state.type == S.PENDING
    assert not store.data.logs
    assert rules(report(store, first + 5, new("r2"), session_id=session_id)) == []


def test_report_brings_a_lost_session_back(store: MemoryStore) -> None:
    opened(store)
    report(store, 1, new("r"), enters("r", S.RUNNING))
    watch = LeaseWatch(lease_us=LEASE_US)
    for _ in range(32):
        reaped = store.do(
            Reap(watch, limit=10, frames=lambda _: 0, monotonic_us=store.clock.monotonic_us)
        )
        watch.remember(reaped.look)
        store.clock.advance(1)
    assert store.data.sessions["s"].status == SessionStatus.LOST
    assert store.data.runs["r"].cause == Cause.SESSION_LOST
    report(store, 3, enters("r", S.COMPLETED))
    session = store.data.sessions["s"]
    assert session.status == SessionStatus.OPEN
    assert session.silence_us == LEASE_US
    assert store.data.runs["r"].state.type == S.COMPLETED


def test_second_attempt_fences_the_first(store: MemoryStore) -> None:
    opened(store)
    applied = report(
        store,
        1,
        new("r"),
        enters("r", S.RUNNING),
        enters("r", S.RUNNING, attempt=2),
        enters("r", S.COMPLETED, attempt=1),
    )
    (verdict,) = applied.verdicts
    assert (verdict.kind, verdict.rule) == (VerdictKind.ABORT, "older_attempt_is_fenced")
    assert verdict.attempt == 2


def test_a_creation_has_the_first_fields_of_a_run_in_their_order():
    """`NewRun.make` relies on it."""
    names = [field.name for field in fields(Run)]
    assert names[: len(NewRun._fields)] == list(NewRun._fields)


def test_a_large_batch_is_stored_in_pieces(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PIECE_EVENTS", 3)
    opened(store)
    events = [new("a"), new("b", parent="a"), enters("a", S.RUNNING), enters("a", S.COMPLETED)]
    events += [("", NotUnderstood("event_is_known", "?")), new("c", parent="b"), new("a")]
    pieces = report_pieces(
        "s", first_sequence=1, events=events, run_ids=[], connection_id="c", size_bytes=70_000
    )
    assert [(each.first_sequence, len(each.events)) for each in pieces] == [(1, 3), (4, 3), (7, 1)]
    assert [sorted(each.run_ids) for each in pieces] == [["a", "b"], ["a", "b", "c"], ["a"]]
    assert [each.weight for each in pieces] == [4 + 7, 4 + 7, 2 + 2], "bytes count as well"
    applied = [store.do(each) for each in pieces]
    assert [each.up_to_sequence for each in applied] == [3, 6, 7]
    found = [(v.sequence, v.kind) for each in applied for v in each.verdicts]
    assert found == [(5, VerdictKind.REJECTED), (7, VerdictKind.DUPLICATE)]
    assert store.data.runs["a"].state.type == S.COMPLETED


@pytest.mark.parametrize("at_once", range(1, 12))
def test_wherever_a_full_transaction_ends_the_outcome_is_the_same(at_once: int) -> None:
    """Small events about large runs can fill a transaction; the rest goes into another one."""
    events = [new("a"), new("b", parent="a"), enters("a", S.RUNNING), logs("a")]
    events += [("", NotUnderstood("event_is_known", "?")), enters("nobody", S.RUNNING), new("a")]
    events += [made("x"), changed("x"), changed("y"), enters("b", S.RUNNING, attempt=3)]
    events += [enters("a", S.COMPLETED), made("x"), enters("a", S.RUNNING, at=3), logs("b")]
    stores = MemoryStore(ManualClock()), MemoryStore(ManualClock())
    stores[1].events_at_once = at_once
    outcomes = []
    for store in stores:
        opened(store)
        outcomes.append(report(store, 1, *events))
    assert outcomes[1] == outcomes[0]
    assert outcomes[0].up_to_sequence == len(events)
    assert [verdict.sequence for verdict in outcomes[0].verdicts] == [5, 6, 7, 10, 11, 13, 14]
    for name in ("runs", "history", "logs", "artifacts"):
        assert getattr(stores[1].data, name) == getattr(stores[0].data, name)


def test_a_report_that_is_cut_says_how_far_it_came_and_may_come_again(store: MemoryStore) -> None:
    opened(store)
    store.events_at_once = 2
    events = [new("a"), enters("a", S.RUNNING), new("b"), enters("b", S.RUNNING), new("c")]
    operation = ApplyReport("s", first_sequence=1, events=events, run_ids=[], connection_id="c")
    first = store.do_once(operation)
    assert isinstance(first, Unfinished)
    assert first.session_id == "s"
    assert store.data.sessions["s"].last_sequence == 2
    assert first.rest.run_ids == ["b", "c"]
    # The connection broke, and the client resends the unacknowledged events.
    store.events_at_once = 100
    assert report(store, 1, *events).transition_count == 3
    late = store.do(first.rest)
    assert (late.up_to_sequence, late.transition_count) == (5, 2)
    assert len(store.data.history) == 5


def test_a_verdict_tells_a_state_without_its_payloads(store: MemoryStore) -> None:
    opened(store)
    end = State(S.FAILED, "Failed", "m" * 70_000, 2, None, b"failure", b"result")
    applied = report(
        store,
        1,
        new("r"),
        ("r", ProposedTransition(end, 1, Cause.REPORTED)),
        enters("r", S.RUNNING, at=3),
    )
    (verdict,) = applied.verdicts
    assert verdict.state is not None
    assert (verdict.state.name, verdict.state.failure, verdict.state.result) == (
        "Failed",
        None,
        None,
    )
    assert verdict.state.message == "m" * reports.TOLD_CHARACTERS
    assert store.data.runs["r"].state == end


def test_a_small_batch_is_one_piece() -> None:
    (piece,) = report_pieces("s", first_sequence=1, events=[new("a")], run_ids=["a"])
    assert piece.run_ids == ["a"]
    (empty,) = report_pieces("s", first_sequence=1, events=[], run_ids=[])
    assert empty.events == []
