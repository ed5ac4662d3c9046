"""Paged reads of trees, changes and logs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from tests.store.builders import (
    START_US,
    a_log,
    a_run,
    add_runs,
    delete_tree,
    do,
    enter,
    move,
    new_id,
)

from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.app.ports.runs import RunQuery
from flowspan_service.domain.payloads import Payload
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import OPEN_TYPES, StateType
from flowspan_service.stores import run_reads, transitions
from flowspan_service.stores.logs import log
from flowspan_service.stores.runs import run as run_table
from flowspan_service.stores.runs import run_tag

if TYPE_CHECKING:
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.logs import LogEntry
    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.stores.store import SqlStore


class Family:
    """A tree with a subflow, and an unrelated run."""

    def __init__(self, store: SqlStore) -> None:
        self.root = a_run()
        self.task = a_run(parent=self.root)
        self.subflow = a_run(parent=self.task, kind=RunKind.FLOW)
        self.deep = a_run(parent=self.subflow)
        self.deepest = a_run(parent=self.deep)
        self.stranger = a_run()
        self.all = [self.root, self.task, self.subflow, self.deep, self.deepest, self.stranger]
        add_runs(store, self.all)

    def under(self, run: Run) -> list[str]:
        tree = [self.root, self.task, self.subflow, self.deep, self.deepest]
        return [one.id for one in tree[tree.index(run) :]] if run in tree else [run.id]


@pytest.fixture
def family(store: SqlStore) -> Family:
    return Family(store)


def test_a_tree_comes_parents_first_page_by_page(store: SqlStore, family: Family) -> None:
    for run in family.all:
        whole = [one.id for one in store.runs.tree(run.id, after_id=None, limit=100).items]
        assert whole == family.under(run)
        paged: list[str] = []
        has_more = True
        while has_more:
            page = store.runs.tree(run.id, after_id=paged[-1] if paged else None, limit=2)
            paged += [one.id for one in page.items]
            has_more = page.has_more
        assert paged == whole
    assert store.runs.tree(new_id(), after_id=None, limit=10).items == []


def test_a_tree_without_the_runs_that_have_ended(store: SqlStore, family: Family) -> None:
    def end(uow: UnitOfWork) -> None:
        for run in (family.task, family.deep):
            uow.runs.add_transition(enter(run, StateType.COMPLETED))

    do(store, end)
    ended = {family.task.id, family.deep.id}
    for run in family.all:
        wanted = [run_id for run_id in family.under(run) if run_id not in ended]
        page = store.runs.tree(run.id, after_id=None, limit=100, state_types=OPEN_TYPES)
        assert [one.id for one in page.items] == wanted
        assert list(store.runs.tree_ids(run.id, state_types=OPEN_TYPES)) == wanted
        assert list(store.runs.tree_ids(run.id)) == family.under(run)
        first = store.runs.tree(run.id, after_id=None, limit=1, state_types=OPEN_TYPES)
        assert [one.id for one in first.items] == wanted[:1]
        assert first.has_more == (len(wanted) > 1)


def test_a_circle_of_parents_harms_nobody(store: SqlStore) -> None:
    root, one, two = a_run(), a_run(), a_run()
    for run, parent in ((one, two), (two, one)):
        run.parent_run_id, run.root_run_id = parent.id, root.id
    add_runs(store, [root, one, two])
    assert len(store.runs.tree(one.id, after_id=None, limit=10).items) == 2
    assert len(store.runs.tree(root.id, after_id=None, limit=10).items) == 3
    changes = store.transitions.changes(after=0, run_id=one.id, limit=10)
    assert [change.run_id for change, _ in changes.pairs] == [one.id, two.id]


def changed(store: SqlStore, run_id: str | None, limit: int) -> list[Transition]:
    """Return all changes, call by call."""
    found: list[Transition] = []
    after = 0
    while after < store.position():
        pairs, upto, has_more = store.transitions.changes(after=after, run_id=run_id, limit=limit)
        assert has_more == (upto < store.position())
        assert upto > after
        assert all(after < change.position <= upto for change, _ in pairs)
        assert all(change.run_id == run.id for change, run in pairs)
        found += [change for change, _ in pairs]
        after = upto
    assert store.transitions.changes(after=after, run_id=run_id, limit=limit) == ([], after, False)
    return found


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("scan_limit", [2, 20_000])
def test_promise_a_watch_is_gapless_and_ordered_in_the_store(
    store: SqlStore,
    family: Family,
    limit: int,
    scan_limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transitions, "SCAN_LIMIT", scan_limit)
    for run in family.all:
        move(store, run.id, StateType.RUNNING)
    for run in reversed(family.all):
        move(store, run.id, StateType.COMPLETED)
    everything = changed(store, None, limit)
    assert [change.position for change in everything] == list(range(1, 19))
    for run in family.all:
        inside = set(family.under(run))
        expected = [change for change in everything if change.run_id in inside]
        assert changed(store, run.id, limit) == expected


class Large:
    """A tree of runs with large parameters and large terminal states."""

    COUNT, SIZE = 12, 100_000

    def __init__(self, store: SqlStore) -> None:
        payload = Payload("json", b"x" * self.SIZE)
        self.root = a_run(parameters=payload)
        self.all = [self.root] + [
            a_run(parent=self.root, kind=RunKind.FLOW, parameters=payload)
            for _ in range(1, self.COUNT)
        ]
        add_runs(store, self.all)
        self.ids = [run.id for run in self.all]


@pytest.fixture
def large(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Large:
    monkeypatch.setattr(run_reads, "ROWS_BUFFERED", 2)
    monkeypatch.setattr(transitions, "ROWS_BUFFERED", 2)
    return Large(store)


@pytest.mark.parametrize("limit", [100, 1000], ids=["loaded", "streamed"])
def test_pages_of_runs_end_by_their_size(store: SqlStore, large: Large, limit: int) -> None:
    limit_bytes = 3 * large.SIZE - 1
    seen: list[str] = []
    while True:
        query = RunQuery(
            RunKind.FLOW,
            oldest_first=True,
            after_id=seen[-1] if seen else None,
            limit=limit,
            limit_bytes=limit_bytes,
        )
        page = store.runs.list(query)
        assert len(page.items) == 3
        seen += [run.id for run in page.items]
        if not page.has_more:
            break
    assert seen == large.ids


def test_pages_of_a_tree_end_by_their_size(store: SqlStore, large: Large) -> None:
    first = store.runs.tree(large.root.id, after_id=None, limit=200, limit_bytes=1)
    assert ([run.id for run in first.items], first.has_more) == (large.ids[:1], True)
    rest = store.runs.tree(large.root.id, after_id=large.ids[0], limit=100, limit_bytes=10**9)
    assert ([run.id for run in rest.items], rest.has_more) == (large.ids[1:], False)


@pytest.mark.parametrize("of_tree", [True, False])
def test_changes_end_by_the_size_of_their_runs(
    store: SqlStore, large: Large, *, of_tree: bool
) -> None:
    seen: list[str] = []
    after, has_more = 0, True
    while has_more:
        pairs, after, has_more = store.transitions.changes(
            after=after,
            run_id=large.root.id if of_tree else None,
            limit=100,
            limit_bytes=large.SIZE + 1,
        )
        assert len(pairs) <= 2
        seen += [change.run_id for change, _ in pairs]
    assert seen == large.ids


def test_changes_end_by_their_own_size(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])

    def fail(uow: UnitOfWork) -> None:
        for attempt in range(1, 7):
            found = uow.runs.get(run.id)
            assert found is not None
            found.attempt = attempt
            uow.runs.add_transition(enter(found, StateType.FAILED, failure=b"f" * 100_000))

    do(store, fail, run.id)
    first = store.transitions.changes(after=0, run_id=None, limit=100, limit_bytes=150_000)
    assert (len(first.pairs), first.looked_at, first.has_more) == (3, 3, True)


def test_changes_of_deleted_runs_are_gone_and_nothing_else(store: SqlStore, family: Family) -> None:
    for run in (family.deepest, family.stranger):
        do(store, lambda uow, run=run: delete_tree(uow, run.id))
    left = [change.run_id for change in changed(store, None, 2)]
    gone = {family.deepest.id, family.stranger.id}
    assert left == [run.id for run in family.all if run.id not in gone]
    assert store.transitions.changes(after=0, run_id=family.stranger.id, limit=5) == ([], 6, False)


def test_deleting_a_tree_leaves_nothing_of_it(store: SqlStore, family: Family) -> None:
    add_runs(store, [a_run(parent=family.root, tags=("red", "red", "blue"))])
    for run in family.all:
        move(store, run.id, StateType.RUNNING, StateType.FAILED)
        do(store, lambda uow, run=run: uow.logs.add([a_log(run)]))

    assert do(store, lambda uow: delete_tree(uow, family.root.id)) == 6
    assert do(store, lambda uow: delete_tree(uow, family.root.id)) == 0
    with store._dialect.reading.connect() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar()
            for table in (run_table, transitions.transition, log, run_tag)
        }
    assert counts == {"run": 1, "transition": 3, "log": 1, "run_tag": 0}


def logged(store: SqlStore, query: LogQuery) -> list[str]:
    """Return the messages of all pages."""
    messages: list[str] = []
    while True:
        page = store.logs.list(query)
        assert len(page.items) <= query.limit
        messages += [entry.message for entry in page.items]
        if not page.has_more:
            return messages
        assert page.looked_at != query.after_position
        query = replace(query, after_position=page.looked_at)


@pytest.mark.parametrize("limit", [1, 4, 1000])
@pytest.mark.parametrize("limit_bytes", [1, 20, 2_000_000])
def test_logs_of_a_tree_come_by_position(
    store: SqlStore, family: Family, limit: int, limit_bytes: int
) -> None:
    lines: list[tuple[str, int, str]] = []
    for number in range(24):
        run = family.all[number * 5 % 6]
        level = (10, 20, 40)[number % 3]
        lines.append((run.id, level, f"line {number}"))
        entry = a_log(run, f"line {number}", level=level)
        do(store, lambda uow, entry=entry: uow.logs.add([entry]))
    for run in family.all:
        for include in (False, True):
            for min_level in (0, 20):
                inside = set(family.under(run)) if include else {run.id}
                expected = [
                    text for key, level, text in lines if key in inside and level >= min_level
                ]
                query = LogQuery(
                    run.id,
                    include_descendants=include,
                    min_level=min_level,
                    limit=limit,
                    limit_bytes=limit_bytes,
                )
                assert logged(store, query) == expected


def test_a_page_of_logs_ends_with_the_record_that_exceeds_its_bytes(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])
    do(store, lambda uow: uow.logs.add([a_log(run, "ä" * 50) for _ in range(5)]))
    page = store.logs.list(LogQuery(run.id, limit_bytes=300))
    assert (len(page.items), page.has_more) == (2, True)
    page = store.logs.list(LogQuery(run.id, limit_bytes=1200))
    assert (len(page.items), page.has_more) == (5, False)


def test_logs_of_a_run_that_is_not_there_are_kept_under_its_id(store: SqlStore) -> None:
    ghost = a_run()
    do(store, lambda uow: uow.logs.add([a_log(ghost)]))
    assert len(store.logs.list(LogQuery(ghost.id)).items) == 1
    assert store.logs.list(LogQuery(new_id(), include_descendants=True)).items == []


FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "level": {"min_level": 20},
    "logger": {"loggers": ("app",)},
    "two loggers": {"loggers": ("app.db", "Application")},
    "time": {"logged_after_us": START_US + 10},
    "text": {"message_contains": "5%_'ä"},
    "all": {
        "min_level": 20,
        "loggers": ("app",),
        "logged_after_us": START_US + 3,
        "message_contains": "5%_'ä",
    },
}


def fits(entry: LogEntry, query: dict[str, Any]) -> bool:
    """Evaluate the filters as the protocol defines them."""
    loggers = query.get("loggers", ())
    return (
        entry.level >= query.get("min_level", 0)
        and (not loggers or any(f"{entry.logger}.".startswith(f"{name}.") for name in loggers))
        and entry.time_us >= query.get("logged_after_us", 0)
        and (entry.chunk_count > 1 or query.get("message_contains", "") in entry.message)
    )


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_logs_are_filtered_and_ordered(
    store: SqlStore,
    family: Family,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    newest_first: bool,
) -> None:
    loggers = ("app", "app.db", "apple", "App", "Application.x", "flow", "")
    entries = [
        a_log(
            family.all[number * 5 % 6],
            (f"took {number}5%_'Ä", "took 5%_'ä", "took 5xx'ä")[number % 3],
            level=(10, 20, 40)[number * 7 % 3],
            logger=loggers[number % len(loggers)],
            time_us=START_US + number * 11 % 42,
            chunk_count=3 * (number % 8 == 0),
        )
        for number in range(42)
    ]
    do(store, lambda uow: uow.logs.add(entries))
    for scan_limit in (1, 5, 50_000):  # a call may look through fewer records than there are
        monkeypatch.setattr("flowspan_service.stores.logs.SCAN_LIMIT", scan_limit)
        for run, include in ((family.all[0], True), (family.all[1], True), (family.all[0], False)):
            inside = set(family.under(run)) if include else {run.id}
            expected = [e.message for e in entries if e.run_id in inside and fits(e, FILTERS[name])]
            query = LogQuery(
                run.id,
                include_descendants=include,
                newest_first=newest_first,
                limit=4,
                **FILTERS[name],
            )
            assert logged(store, query) == (expected[::-1] if newest_first else expected)


def test_a_page_of_logs_says_how_far_it_looked(store: SqlStore) -> None:
    run, other = a_run(), a_run()
    add_runs(store, [run, other])
    lines = [a_log(run, "a"), a_log(run, "b"), *(a_log(other) for _ in range(5))]
    do(store, lambda uow: uow.logs.add(lines))
    newest = store.logs.list(LogQuery(other.id)).items[-1].position
    for text in ("", "b", "nothing"):
        page = store.logs.list(LogQuery(run.id, message_contains=text))
        assert (page.looked_at, page.has_more) == (newest, False)
    page = store.logs.list(LogQuery(run.id, after_position=newest))
    assert page == ([], newest, False)
