"""Command rows, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import START_US, a_run, add_runs, delete_tree, do, new_id

from flowspan_service.domain.commands import Command, CommandKind

if TYPE_CHECKING:
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore


def a_command(run: Run | str, session_id: str, **values: Any) -> Command:
    defaults: dict[str, Any] = {
        "run_id": run if isinstance(run, str) else run.id,
        "number": 3,
        "session_id": session_id,
        "kind": CommandKind.CANCEL_RUN,
        "reason": "enough",
        "created_us": START_US,
    }
    return Command(**defaults | values)


def add(store: SqlStore, *commands: Command) -> None:
    def put(uow: UnitOfWork) -> None:
        for each in commands:
            uow.commands.add(each)

    do(store, put)


def opened(store: SqlStore, session_id: str) -> list[tuple[str, int]]:
    return [
        (each.run_id, each.number) for each in store.commands.list_open(session_id, limit=99).items
    ]


def test_commands_are_read_as_they_were_written(store: SqlStore) -> None:
    session_id, other = new_id(), new_id()
    first, second = a_command(new_id(), session_id, reason="zu spät"), a_command(new_id(), other)
    add(store, first, second)
    assert store.commands.list_open(session_id, limit=9).items == [first]
    assert store.commands.list_open(other, limit=9).items == [second]
    assert store.commands.list_open(new_id(), limit=9).items == []
    has_open = store.commands.has_open
    assert (has_open(session_id), has_open(other), has_open(new_id())) == (True, True, False)
    asked = [session_id, new_id(), other]
    assert sorted(store.commands.sessions_with_open(asked)) == sorted([session_id, other])


def test_last_reason_counts_commands_that_are_done(store: SqlStore) -> None:
    run_id, session_id = new_id(), new_id()

    def last(run_id: str) -> str | None:
        return do(store, lambda uow: uow.commands.last_reason(run_id))

    assert last(run_id) is None
    add(store, a_command(run_id, session_id, number=3, reason="first"))
    add(store, a_command(new_id(), session_id, number=9, reason="of another run"))
    do(store, lambda uow: uow.commands.finish(run_id))
    assert last(run_id) == "first"

    def add_and_look(uow: UnitOfWork) -> str | None:
        uow.commands.add(a_command(run_id, session_id, number=5, reason="second"))
        return uow.commands.last_reason(run_id)

    assert do(store, add_and_look) == "second"
    assert last(run_id) == "second"


def test_sessions_that_got_commands_after_a_commit(store: SqlStore) -> None:
    one, two, run_id = new_id(), new_id(), new_id()
    add(store, a_command(run_id, one))
    asked = [one, two]
    first = store.generation()
    assert store.commands.sessions_with_open(asked, since=first - 1) == [one]
    assert store.commands.sessions_with_open(asked, since=first) == []
    do(store, lambda uow: uow.commands.move(run_id, two))
    assert store.generation() == first + 1
    assert store.commands.sessions_with_open(asked, since=first) == [two]
    add(store, a_command(new_id(), one))
    assert store.commands.sessions_with_open(asked, since=first + 1) == [one]
    assert sorted(store.commands.sessions_with_open(asked)) == sorted(asked)


def test_commands_of_an_older_version_are_always_found(store: SqlStore) -> None:
    session_id = new_id()
    add(store, a_command(new_id(), session_id))
    with store._dialect.writing.connect() as connection:
        connection.exec_driver_sql("UPDATE command SET generation = 0")
    newest = store.generation()
    assert store.commands.sessions_with_open([session_id], since=newest) == [session_id]


def test_the_same_command_is_one(store: SqlStore) -> None:
    session_id = new_id()
    command = a_command(new_id(), session_id)
    add(store, command, command)
    add(store, a_command(command.run_id, session_id, reason="again"))
    assert store.commands.list_open(session_id, limit=9).items == [command]


def test_pages_go_on_where_they_ended(store: SqlStore) -> None:
    session_id = new_id()
    run_ids = sorted(new_id() for _ in range(3))
    commands = [a_command(each, session_id, number=n) for each in run_ids for n in (2, 9)]
    add(store, *reversed(commands))
    found: list[Command] = []
    while True:
        after = found[-1] if found else None
        page = store.commands.list_open(session_id, after=after, limit=1 + len(found) % 2)
        found += page.items
        if not page.has_more:
            break
    assert found == commands


def test_page_ends_by_its_size(store: SqlStore) -> None:
    session_id = new_id()
    commands = [a_command(new_id(), session_id, reason="x" * 1000) for _ in range(9)]
    add(store, *commands)
    page = store.commands.list_open(session_id, limit=9, limit_bytes=2500)
    assert (len(page.items), page.has_more) == (3, True)


@pytest.mark.parametrize("together", [True, False])
def test_finished_commands_are_not_open(store: SqlStore, together: bool) -> None:
    session_id, run_id, other = new_id(), new_id(), new_id()
    steps = [
        lambda uow: uow.commands.add(a_command(run_id, session_id, number=2)),
        lambda uow: uow.commands.add(a_command(other, session_id)),
        lambda uow: uow.commands.finish(run_id),
        lambda uow: uow.commands.add(a_command(run_id, session_id, number=4)),
    ]
    if together:
        do(store, lambda uow: [step(uow) for step in steps])
    else:
        for step in steps:
            do(store, step)
    assert opened(store, session_id) == sorted([(run_id, 4), (other, 3)])
    do(store, lambda uow: [uow.commands.finish(each) for each in (run_id, other)])
    assert opened(store, session_id) == []
    assert not store.commands.has_open(session_id)
    assert store.commands.sessions_with_open([session_id]) == []


@pytest.mark.parametrize("together", [True, False])
def test_moved_commands_are_another_sessions(store: SqlStore, together: bool) -> None:
    one, two, run_id = new_id(), new_id(), new_id()
    done = a_command(run_id, one, number=1, done_us=START_US)
    steps = [
        lambda uow: uow.commands.add(done),
        lambda uow: uow.commands.add(a_command(run_id, one)),
        lambda uow: uow.commands.move(run_id, two),
    ]
    if together:
        do(store, lambda uow: [step(uow) for step in steps])
    else:
        for step in steps:
            do(store, step)
    assert (opened(store, one), opened(store, two)) == ([], [(run_id, 3)])


def test_commands_go_with_their_runs(store: SqlStore) -> None:
    session_id = new_id()
    run, other = a_run(), a_run()
    add_runs(store, [run, other])
    add(store, a_command(run, session_id), a_command(other, session_id))
    do(store, lambda uow: delete_tree(uow, run.id))
    assert opened(store, session_id) == [(other.id, 3)]


def test_many_are_written_in_one_transaction(store: SqlStore) -> None:
    session_id = new_id()
    run_ids = sorted(new_id() for _ in range(1300))

    def fill(uow: UnitOfWork) -> None:
        for each in run_ids:
            uow.commands.add(a_command(each, session_id))

    do(store, fill)
    do(store, lambda uow: [uow.commands.finish(each) for each in run_ids[:1200]])
    assert opened(store, session_id) == [(each, 3) for each in run_ids[1200:1299]]
