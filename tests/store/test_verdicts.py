"""Verdicts of sessions, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import START_US, do, new_id

from flowspan_service.domain.sessions import Session, SessionStatus
from flowspan_service.domain.states import State, StateType
from flowspan_service.domain.verdicts import KEPT_EVENTS, KEPT_VERDICTS, Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.stores.store import SqlStore


def a_verdict(sequence: int, **values: Any) -> Verdict:
    defaults: dict[str, Any] = {
        "kind": VerdictKind.REJECTED,
        "run_id": new_id(),
        "rule": "run_is_known",
        "reason": "There is no such run.",
        "sequence": sequence,
    }
    return Verdict(**defaults | values)


def add(store: SqlStore, session_id: str, *verdicts: Verdict) -> None:
    do(store, lambda uow: uow.verdicts.add(session_id, verdicts))


def after(store: SqlStore, session_id: str, sequence: int = 0) -> list[Verdict]:
    found: list[Verdict] = do(store, lambda uow: uow.verdicts.after(session_id, sequence))
    return found


def sequences(verdicts: Sequence[Verdict]) -> list[int]:
    return [verdict.sequence for verdict in verdicts]


def test_verdicts_are_read_as_they_were_written(store: SqlStore) -> None:
    session_id = new_id()
    state = State(StateType.SCHEDULED, "zu spät", "ein \u2400", START_US, START_US + 5)
    given = [
        a_verdict(1),
        a_verdict(2, run_id="", kind=VerdictKind.ABORT, rule="", reason=""),
        a_verdict(3, state=state, attempt=7),
        a_verdict(9, state=State(StateType.COMPLETED, "Completed", "", 1)),
    ]
    add(store, session_id, *given)
    assert after(store, session_id) == given
    assert after(store, session_id, 2) == given[2:]
    assert after(store, session_id, 9) == []
    assert after(store, new_id()) == []


def test_verdicts_are_read_in_the_transaction_that_wrote_them(store: SqlStore) -> None:
    session_id = new_id()

    def both(uow: Any) -> list[Verdict]:
        uow.verdicts.add(session_id, [a_verdict(1)])
        uow.verdicts.add(session_id, [a_verdict(2)])
        found = uow.verdicts.after(session_id, 0)
        uow.verdicts.delete_of([session_id])
        uow.verdicts.add(session_id, [a_verdict(3)])
        return sequences(found)

    assert do(store, both) == [1, 2]
    assert sequences(after(store, session_id)) == [3]


@pytest.mark.parametrize("size", [1, 300, KEPT_VERDICTS + 500])
def test_last_verdicts_are_kept(store: SqlStore, size: int) -> None:
    session_id, other = new_id(), new_id()
    add(store, other, a_verdict(1))
    add(store, session_id, *map(a_verdict, range(1, KEPT_VERDICTS + 1)))
    last = KEPT_VERDICTS + size
    add(store, session_id, *map(a_verdict, range(KEPT_VERDICTS + 1, last + 1)))
    assert sequences(after(store, session_id)) == list(range(last - KEPT_VERDICTS + 1, last + 1))
    assert sequences(after(store, other)) == [1]


def test_verdicts_on_old_events_are_removed(store: SqlStore) -> None:
    session_id = new_id()
    add(store, session_id, a_verdict(1), a_verdict(2))
    add(store, session_id, a_verdict(KEPT_EVENTS + 1))
    assert sequences(after(store, session_id)) == [2, KEPT_EVENTS + 1]


def test_verdicts_go_with_their_session(store: SqlStore) -> None:
    old, other = new_id(), new_id()
    session = Session(old, SessionStatus.LOST, 1, 1, START_US, START_US)
    do(store, lambda uow: uow.sessions.save(session))
    for session_id in (old, other):
        add(store, session_id, a_verdict(1))
    count = do(store, lambda uow: uow.sessions.delete([old], ended_before_us=START_US + 1))
    assert count == 1
    assert after(store, old) == []
    assert sequences(after(store, other)) == [1]


def test_ended_sessions(store: SqlStore) -> None:
    ids = {}
    for status in SessionStatus:
        ids[status] = new_id()
        session = Session(ids[status], status, 0, 1, 1, 1, {"name": "x"}, secret_hash=b"h")
        do(store, lambda uow, session=session: uow.sessions.save(session))
        assert store.sessions.get(ids[status]) == session
    unknown = new_id()
    assert store.sessions.get(unknown) is None
    asked = [*ids.values(), unknown]
    assert store.sessions.ended(asked) == asked[1:]
    assert store.sessions.ended([]) == []


def test_session_news(store: SqlStore) -> None:
    heard: list[set[str]] = []
    store.on_session_news(lambda session_ids: heard.append(set(session_ids)))
    session = Session(new_id(), SessionStatus.OPEN, 0, 1, 1, 1)
    do(store, lambda uow: uow.sessions.save(session))
    do(store, lambda uow: None)
    assert heard == []
    session.status = SessionStatus.CLOSED
    do(store, lambda uow: uow.sessions.save(session))
    do(store, lambda uow: None)  # listeners are called before the next transaction
    assert heard == [{session.id}]
