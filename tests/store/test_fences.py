"""Sessions that created other runs under existing ids are fenced off, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from tests.store.builders import a_session, a_state, do, new_id
from tests.support.short_run_stories import a_short_run

from flowspan_service.app import reports
from flowspan_service.app.event_records import run_ids_of
from flowspan_service.app.reports import ApplyReport, report_pieces
from flowspan_service.app.sessions import DeleteSessions, EndSession
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.domain.verdicts import VerdictKind
from flowspan_service.stores.fences import fence

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.builders import FakeClock

    from flowspan_service.app.event_records import ReportedEvent
    from flowspan_service.domain.runs import NewRun
    from flowspan_service.stores.store import SqlStore

ABORT = VerdictKind.ABORT, "creation_agrees"


class Session:
    """A session that reports batches."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.sequence = 1
        opened = a_session()
        self.id = opened.id
        do(store, lambda uow: uow.sessions.save(opened))

    def report(self, *events: ReportedEvent) -> list[tuple[int, str]]:
        """Report events; return the kinds and rules of the verdicts."""
        operation = ApplyReport(
            self.id, first_sequence=self.sequence, events=events, run_ids=run_ids_of(events)
        )
        applied = self.store.submit(operation).result(60)
        self.sequence = applied.up_to_sequence + 1
        return [(each.kind, each.rule) for each in applied.verdicts]


def a_creation(run_id: str, function_name: str = "f") -> ReportedEvent:
    new: NewRun = a_short_run(run_id, function_name=function_name)[1].new  # type: ignore[union-attr, assignment] # a short run
    return run_id, new


def a_transition(run_id: str, kind: StateType = StateType.RUNNING) -> ReportedEvent:
    return run_id, ProposedTransition(a_state(kind), 1, Cause.REPORTED)


def fences_in(store: SqlStore) -> set[tuple[str, str]]:
    with store._reading.connection() as connection:
        return {tuple(row) for row in connection.execute(select(fence))}


@pytest.fixture
def owner(store: SqlStore) -> Session:
    return Session(store)


@pytest.fixture
def other(store: SqlStore) -> Session:
    return Session(store)


@pytest.fixture
def run_id(owner: Session) -> str:
    run_id = new_id()
    assert owner.report(a_creation(run_id)) == []
    return run_id


def test_a_fence_holds_in_the_same_batch_and_later(
    store: SqlStore, owner: Session, other: Session, run_id: str
) -> None:
    free = new_id()
    assert other.report(
        a_creation(run_id, "g"), a_transition(run_id), a_creation(free), a_transition(free)
    ) == [ABORT, ABORT]
    assert other.report(a_creation(run_id), a_short_run(run_id), a_transition(run_id)) == [
        ABORT,
        ABORT,
        ABORT,
    ]
    assert fences_in(store) == {(other.id, run_id)}
    assert owner.report(a_transition(run_id), a_transition(run_id, StateType.COMPLETED)) == []


def test_a_fence_outlives_the_process_of_the_service(
    store: SqlStore,
    store_url: str,
    open_url: Callable[..., SqlStore],
    other: Session,
    run_id: str,
) -> None:
    assert other.report(a_creation(run_id, "g")) == [ABORT]
    store.close()
    other.store = open_url(store_url)
    assert other.report(a_transition(run_id)) == [ABORT]


def test_a_second_service_process_knows_a_fence(
    store: SqlStore,
    store_url: str,
    open_url: Callable[..., SqlStore],
    other: Session,
    run_id: str,
) -> None:
    if store.is_local:
        pytest.skip("one process at a time has a SQLite database")
    second = open_url(store_url)
    other.store = second
    assert other.report(a_creation(new_id())) == []  # the second process has cached the session
    other.store = store
    assert other.report(a_creation(run_id, "g")) == [ABORT]
    other.store = second
    assert other.report(a_transition(run_id)) == [ABORT]


def test_a_fence_holds_after_the_owner_has_ended(
    owner: Session, other: Session, run_id: str
) -> None:
    """Otherwise the session would claim a run that it never meant."""
    assert other.report(a_creation(run_id, "g")) == [ABORT]
    owner.store.submit(EndSession(owner.id)).result(60)
    assert other.report(a_creation(run_id), a_transition(run_id)) == [ABORT, ABORT]


def test_a_session_that_fences_itself_off_its_own_run(owner: Session, run_id: str) -> None:
    assert owner.report(a_creation(run_id, "g"), a_transition(run_id)) == [ABORT, ABORT]


def test_fences_hold_in_each_piece_of_a_large_batch(
    monkeypatch: pytest.MonkeyPatch, store: SqlStore, other: Session, run_id: str
) -> None:
    monkeypatch.setattr(reports, "PIECE_EVENTS", 2)
    events: list[Any] = [a_creation(run_id, "g"), *[a_transition(run_id)] * 5]
    pieces = report_pieces(
        other.id, first_sequence=1, events=events, run_ids=run_ids_of(events), size_bytes=0
    )
    outcomes = [future.result(60) for future in [store.submit(piece) for piece in pieces]]
    assert [(each.kind, each.rule) for outcome in outcomes for each in outcome.verdicts] == (
        [ABORT] * 6
    )


def test_fences_are_deleted_with_their_session(
    store: SqlStore, clock: FakeClock, owner: Session, other: Session, run_id: str
) -> None:
    own_id = new_id()
    assert other.report(a_creation(run_id, "g"), a_creation(own_id)) == [ABORT]
    assert owner.report(a_creation(own_id, "g")) == [ABORT]
    store.submit(EndSession(other.id)).result(60)
    kept_us = 30 * 86_400_000_000
    ids = [owner.id, other.id]
    assert store.submit(DeleteSessions(ids, kept_us=kept_us)).result(60) == 0
    assert fences_in(store) == {(other.id, run_id), (owner.id, own_id)}
    clock.time_us += kept_us + 1
    assert store.submit(DeleteSessions(ids, kept_us=kept_us)).result(60) == 1
    assert fences_in(store) == {(owner.id, own_id)}
