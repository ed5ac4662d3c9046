"""Records are read back as written, in every field."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from tests.store.builders import (
    START_US,
    Op,
    a_log,
    a_run,
    a_session,
    a_state,
    add_runs,
    do,
    enter,
    move,
    new_id,
)

from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.domain.flows import flow_id
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import RunKind, TraceContext
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.stores import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.builders import FakeClock

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.stores.store import SqlStore

FULL = {
    "function_name": "größe",
    "run_name": "näme 🦦",
    "tags": ("b", "a", "b", 'q"uote'),
    "parameters": Payload("json", b'{"x": "\\u0000"}\x00\xff'),
    "trace": TraceContext(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b", "c1", True
    ),
    "version": "1.2",
    "session_id": new_id(),
    "state": a_state(
        StateType.SCHEDULED,
        name="Späte Stunde",
        message="tab\tline\nback\\slash",
        scheduled_us=START_US + 5,
        failure=b"\x00f",
        result=b"",
    ),
    "started_us": START_US + 1,
    "ended_us": START_US + 2,
    "run_duration_us": 3,
    "attempt": 2,
    "cause": Cause.REQUESTED,
    "clock_shift_us": -3_600_000_000,
}


@pytest.mark.parametrize("values", [{}, FULL], ids=["plain", "full"])
def test_a_run_comes_back_as_it_was(store: SqlStore, values: dict[str, object]) -> None:
    run = a_run(**deepcopy(values))
    expected = deepcopy(run)
    add_runs(store, [run])
    expected.position = 1
    assert store.runs.get(RunKind.FLOW, run.id) == expected
    assert store.runs.get(RunKind.TASK, run.id) is None
    assert do(store, lambda uow: uow.runs.get(run.id)) == expected


def test_a_run_that_changes_later_comes_back_changed(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    run = a_run()
    add_runs(open_url(store_url), [run])

    def change(uow: UnitOfWork) -> None:
        found = uow.runs.get(run.id)
        assert found is not None
        state = FULL["state"]
        found.state = state  # type: ignore[assignment] # the right type
        found.session_id = FULL["session_id"]  # type: ignore[assignment] # the right type
        found.attempt, found.transition_count, found.cause = 2, 2, Cause.SESSION_LOST
        found.started_us, found.ended_us, found.run_duration_us = 4, 5, 6
        uow.runs.add_transition(found)

    store = open_url(store_url)
    do(store, change, run.id)
    found = store.runs.get(RunKind.FLOW, run.id)
    assert found is not None
    assert found.state == FULL["state"]
    assert (found.attempt, found.transition_count, found.cause) == (2, 2, Cause.SESSION_LOST)
    assert (found.started_us, found.ended_us, found.run_duration_us) == (4, 5, 6)
    assert found.session_id == FULL["session_id"]
    assert found.position == 2


def test_a_session_can_be_given_to_a_run_without_a_transition(store: SqlStore) -> None:
    run, session_id = a_run(), new_id()
    add_runs(store, [run])

    def adopt(uow: UnitOfWork) -> None:
        found = uow.runs.get(run.id)
        assert found is not None
        found.session_id = session_id
        uow.runs.update(found)

    do(store, adopt, run.id)
    found = store.runs.get(RunKind.FLOW, run.id)
    assert found is not None
    assert (found.session_id, found.transition_count) == (session_id, 1)
    assert store.position() == 1


def test_a_history_is_kept_in_full(store: SqlStore, clock: FakeClock) -> None:
    run = a_run(state=a_state(StateType.PENDING, message="first"))
    other = a_run()
    add_runs(store, [run, other])
    move(store, run.id, StateType.RUNNING, StateType.PAUSED)
    clock.time_us += 7
    move(store, other.id, StateType.RUNNING)
    move(store, run.id, StateType.RUNNING, StateType.COMPLETED)
    history = store.transitions.of_run(run.id)
    assert [one.state.type for one in history] == [2, 3, 4, 3, 6]
    assert [one.ordinal for one in history] == [1, 2, 3, 4, 5]
    assert [one.position for one in history] == [1, 3, 4, 6, 7]
    assert [one.commit_us for one in history] == [START_US] * 3 + [START_US + 7] * 2
    assert history[0].state.message == "first"
    assert {one.run_id for one in history} == {run.id}
    assert store.transitions.of_run(new_id()) == []


def test_a_session_comes_back_as_it_was(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    store, session = open_url(store_url), a_session()
    assert do(store, lambda uow: uow.sessions.get(session.id)) is None
    do(store, lambda uow: uow.sessions.save(session))
    session.last_sequence, session.status = 1 << 40, SessionStatus.CLOSED
    do(store, lambda uow: uow.sessions.save(session))
    assert do(store, lambda uow: uow.sessions.get(session.id)) == session
    assert do(open_url(store_url), lambda uow: uow.sessions.get(session.id)) == session


def test_logs_come_back_as_they_were(store: SqlStore) -> None:
    run = a_run()
    entries = [
        a_log(run, "ünïcode 🦦\n\t\\", trace_id="ab" * 16, span_id="cd" * 8, logger="x.y"),
        a_log(run, "", level=40, attempt=3, chunk_index=1, chunk_count=2),
        a_log(run, "x" * 300_000),
    ]
    add_runs(store, [run])
    do(store, lambda uow: uow.logs.add(entries))
    found = store.logs.list(LogQuery(run_id=run.id)).items
    assert found == entries
    assert [entry.position for entry in found] == [1, 2, 3]


def test_a_nul_in_a_log_record_loses_nothing_else(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    do(store, lambda uow: uow.logs.add([a_log(run, "a\0b"), a_log(run, "c")]))
    messages = [entry.message for entry in store.logs.list(LogQuery(run_id=run.id)).items]
    assert messages[0].replace("\N{SYMBOL FOR NULL}", "\0") == "a\0b"
    assert messages[1] == "c"


def test_flows_are_learned_from_their_runs(store: SqlStore, clock: FakeClock) -> None:
    parent = a_run(function_name="etl", created_us=START_US - 9)
    add_runs(store, [parent, a_run(parent=parent, function_name="task")])
    clock.time_us += 100
    add_runs(
        store,
        [
            a_run(function_name="etl", created_us=START_US + 50),
            a_run(function_name="etl", created_us=START_US + 40),
            a_run(function_name="Zeta"),
            a_run(function_name="änder"),
        ],
    )
    etl = store.flows.get(name="etl")
    assert etl is not None
    assert (etl.id, etl.created_us, etl.last_run_us) == (flow_id("etl"), START_US, START_US + 50)
    assert store.flows.get(flow_id=etl.id) == etl
    assert store.flows.get(name="task") is None
    names = [flow.name for flow in store.flows.list(after_name=None, limit=10)]
    assert names == ["Zeta", "etl", "änder"]
    assert [flow.name for flow in store.flows.list(after_name="Zeta", limit=1)] == ["etl"]


def test_numbers_may_be_enums(store: SqlStore) -> None:
    run = a_run(state=a_state(StateType.PENDING))
    run.state.type = StateType.PENDING
    add_runs(store, [run])

    def transit(uow: UnitOfWork) -> None:
        found = uow.runs.get(run.id)
        assert found is not None
        found.state = a_state(StateType.CRASHED)
        found.state.type = StateType.CRASHED
        found.cause = Cause.SESSION_LOST
        found.transition_count += 1
        uow.runs.add_transition(found)

    store.submit(Op(transit, [run.id])).result(timeout=60)
    assert [one.state.type for one in store.transitions.of_run(run.id)] == [2, 9]


def test_only_open_runs_of_a_session_are_found_the_deepest_first(store: SqlStore) -> None:
    session_id = new_id()
    root = a_run(session_id=session_id)
    child = a_run(parent=root, session_id=session_id)
    done = a_run(parent=root, session_id=session_id, state=a_state(StateType.COMPLETED))
    stranger = a_run(session_id=new_id())
    add_runs(store, [root, child, done, stranger])

    def look(uow: UnitOfWork) -> list[str]:
        late = a_run(parent=child, session_id=session_id)
        uow.runs.add(late)
        found = uow.runs.open_of(session_id, limit=9, limit_bytes=10**6).items
        assert found[0].id == late.id
        for run in found[:1]:
            uow.runs.add_transition(enter(run, StateType.CRASHED))
        page = uow.runs.open_of(session_id, limit=1, limit_bytes=10**6)
        assert page.has_more
        return [run.id for run in uow.runs.open_of(session_id, limit=2, limit_bytes=10**6).items]

    assert do(store, look) == [child.id, root.id]


def test_signs_of_life_of_open_sessions_are_as_stored(store: SqlStore) -> None:
    session, other = a_session(), a_session(renewals=1 << 40, lease_us=5, silence_us=3)
    ended = [a_session(status=status) for status in (SessionStatus.CLOSED, SessionStatus.LOST)]

    def look(uow: UnitOfWork) -> list[tuple[object, ...]]:
        for each in [session, other, *ended]:
            uow.sessions.save(each)
        session.renew(START_US)
        uow.sessions.save(session)
        return sorted(map(tuple, uow.sessions.stored_signs()))

    signs = do(store, look)
    assert signs == sorted(
        [
            (session.id, 1, 30_000_000, 30_000_000, START_US + 30_000_000),
            (other.id, 1 << 40, 5, 3, START_US + 30_000_000),
        ]
    )
    assert do(store, lambda uow: sorted(map(tuple, uow.sessions.stored_signs()))) == signs


def test_old_sessions_are_deleted_unless_they_own_what_has_not_ended(store: SqlStore) -> None:
    old = [
        a_session(status=status, lease_expires_us=START_US - 1)
        for status in (SessionStatus.CLOSED, SessionStatus.LOST, SessionStatus.CLOSED)
    ]
    owner = a_session(status=SessionStatus.LOST, lease_expires_us=START_US - 1)
    fresh = a_session(status=SessionStatus.CLOSED, lease_expires_us=START_US)
    silent = a_session(status=SessionStatus.OPEN, lease_expires_us=START_US - 1)
    ended = a_run(session_id=old[0].id, state=a_state(StateType.COMPLETED))
    add_runs(store, [a_run(session_id=owner.id), ended])

    def save(uow: UnitOfWork) -> None:
        for session in [*old, owner, fresh, silent]:
            uow.sessions.save(session)

    do(store, save)

    found: list[str] = []
    while page := store.sessions.ended_before(
        START_US, after_id=found[-1] if found else None, limit=2
    ):
        found += page
    assert found == sorted(each.id for each in [*old, owner])

    def delete(uow: UnitOfWork) -> list[int]:
        ids = [each.id for each in [*old, owner, fresh, silent]]
        return [uow.sessions.delete(ids, ended_before_us=START_US) for _ in range(2)]

    assert do(store, delete) == [3, 0]

    def left(uow: UnitOfWork) -> list[bool]:
        return [uow.sessions.get(each.id) is not None for each in [*old, owner, fresh, silent]]

    assert do(store, left) == [False] * 3 + [True] * 3
    run = store.runs.get(RunKind.FLOW, ended.id)
    assert run is not None
    assert run.session_id == old[0].id


def test_many_large_logs_are_written_in_several_statements(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_STATEMENT_CHARACTERS", 100)
    run = a_run()
    entries = [a_log(run, str(number) * 40) for number in range(10)]
    add_runs(store, [run])
    do(store, lambda uow: uow.logs.add(entries))
    assert store.logs.list(LogQuery(run_id=run.id)).items == entries
