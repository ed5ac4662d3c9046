"""Log records that wait for their export over OTLP, over both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.store.builders import a_log, a_run, add_runs, delete_tree, do, new_id

from flowspan_service.app import log_exports
from flowspan_service.app.log_exports import ForgetExported
from flowspan_service.app.ports.log_exports import WaitingLogs

if TYPE_CHECKING:
    import pytest

    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore


def log(store: SqlStore, run: Run, *messages: str, session_id: str | None = None) -> list[LogEntry]:
    """Store records; with a session, they wait."""
    entries = [a_log(run, message) for message in messages]

    def add(uow) -> None:
        uow.logs.add(entries)
        if session_id is not None:
            uow.log_exports.add(session_id, entries)

    do(store, add, run.id)
    return entries


def waiting(
    store: SqlStore, session_id: str, *, limit: int = 99, size: int = 1 << 20
) -> WaitingLogs:
    return store.log_exports.waiting(session_id, limit=limit, limit_bytes=size)


def texts(found: WaitingLogs) -> list[str]:
    return [entry.message for entry in found.items]


def test_records_wait_in_the_order_of_their_commits(store: SqlStore) -> None:
    one, other = sorted([new_id(), new_id()])
    run = a_run()
    add_runs(store, [run])
    log(store, run, "of nobody")
    log(store, run, "a", "b", session_id=one)
    log(store, run, "c", session_id=other)
    last = log(store, run, "d", session_id=one)[0]
    assert store.log_exports.sessions(limit=9) == [one, other]
    assert store.log_exports.sessions(limit=1) == [one]
    assert store.log_exports.sessions(after_id=one, limit=9) == [other]
    found = waiting(store, one)
    assert texts(found) == ["a", "b", "d"]
    assert found.upto == last.position
    assert found.items[0].run_id == run.id
    assert waiting(store, new_id()) == WaitingLogs([], 0)


def test_pages_end_by_number_and_by_size(store: SqlStore) -> None:
    session_id, run = new_id(), a_run()
    add_runs(store, [run])
    entries = log(store, run, "a", "b" * 1000, "c", session_id=session_id)
    page = waiting(store, session_id, limit=1)
    assert (texts(page), page.upto) == (["a"], entries[0].position)
    assert texts(waiting(store, session_id, size=500)) == ["a", "b" * 1000]


def test_what_was_exported_is_forgotten(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_exports, "FORGOTTEN_AT_ONCE", 2)
    session_id, run = new_id(), a_run()
    add_runs(store, [run])
    entries = log(store, run, *"abcdefg", session_id=session_id)
    store.submit(ForgetExported(session_id, upto=entries[4].position)).result(60)
    assert texts(waiting(store, session_id)) == ["f", "g"]
    store.submit(ForgetExported(session_id, upto=(1 << 63) - 1)).result(60)
    assert store.log_exports.sessions(limit=9) == []
    # The records themselves stay.
    assert len(log(store, run)) == 0


def test_the_records_of_deleted_runs_are_passed_over(store: SqlStore) -> None:
    session_id = new_id()
    gone, stays = a_run(), a_run()
    add_runs(store, [gone, stays])
    log(store, gone, "gone", session_id=session_id)
    last = log(store, stays, "stays", session_id=session_id)[0]
    do(store, lambda uow: delete_tree(uow, gone.id))
    found = waiting(store, session_id)
    assert (texts(found), found.upto) == (["stays"], last.position)
    do(store, lambda uow: delete_tree(uow, stays.id))
    found = waiting(store, session_id)
    assert (found.items, found.upto) == ([], last.position)
