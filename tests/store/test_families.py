"""Runs that arrive before their parents, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from tests.store.builders import (
    START_US,
    a_log,
    a_session,
    a_state,
    an_artifact,
    do,
    new_id,
    put_artifacts,
)

from flowspan_service.app.cancellations import BeginCancel, CancelBelow
from flowspan_service.app.families import ForgetOrphans, MendFamilies
from flowspan_service.app.ports.artifacts import ArtifactQuery
from flowspan_service.app.ports.logs import LogQuery
from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.runs import CreateRun, DeleteRun
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.stores import families
from flowspan_service.stores.engine import writer
from flowspan_service.stores.families import family_move, orphan

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.builders import FakeClock

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

FLOW, TASK = RunKind.FLOW, RunKind.TASK


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "MOVED_AT_ONCE", 2)


RUNNING = ProposedTransition(a_state(StateType.RUNNING), 1, Cause.REPORTED)


def do_open_session(store: SqlStore) -> str:
    opened = a_session()
    do(store, lambda uow: uow.sessions.save(opened))
    return opened.id


@pytest.fixture
def session(store: SqlStore) -> str:
    return do_open_session(store)


def a_new(parent_id: str | None = None, kind: int = FLOW, **values: Any) -> NewRun:
    run_id = values.pop("id", None) or new_id()
    state = a_state(StateType.PENDING)
    given = values.pop("root", None) or run_id
    return NewRun(
        run_id, kind, "f", "r", parent_id, given, None, (), None, None, "", START_US, state
    )


class Reporting:
    """A session that reports batches."""

    def __init__(self, store: SqlStore, session_id: str) -> None:
        self.store, self.session_id, self.sequence = store, session_id, 1

    def __call__(self, *new: NewRun, then: tuple[tuple[str, Any], ...] = ()) -> Any:
        events = [*((each.id, each) for each in new), *then]
        run_ids = {each.id: None for each in new} | {
            each.parent_run_id: None for each in new if each.parent_run_id
        }
        report = ApplyReport(
            self.session_id,
            first_sequence=self.sequence,
            events=events,
            run_ids=[*run_ids, *(run_id for run_id, _ in then)],
        )
        self.sequence += len(events)
        return self.store.submit(report).result(60)


@pytest.fixture
def report(store: SqlStore, session: str) -> Reporting:
    return Reporting(store, session)


def run_of(store: SqlStore, run_id: str) -> Run:
    found = store.runs.get(FLOW, run_id) or store.runs.get(TASK, run_id)
    assert found is not None
    return found


def families_of(store: SqlStore, *runs: NewRun) -> list[tuple[str, str | None]]:
    found = [run_of(store, each.id) for each in runs]
    return [(each.root_run_id, each.flow_run_id) for each in found]


def rows(store: SqlStore, table: Any) -> int:
    with store._reading.connection() as connection:
        return len(connection.execute(select(table)).all())


def test_the_place_follows_from_a_known_parent_whatever_the_client_says(
    store: SqlStore, report: Reporting
) -> None:
    top = a_new()
    task = a_new(top.id, TASK, root=new_id())
    inner = a_new(task.id, TASK)
    flow = a_new(inner.id, FLOW)
    last = a_new(flow.id, TASK)
    report(top, task, inner, flow)
    report(last)
    assert families_of(store, top, task, inner, flow, last) == [
        (top.id, None),
        (top.id, top.id),
        (top.id, top.id),
        (top.id, None),
        (top.id, flow.id),
    ]
    assert rows(store, orphan) == 0


@pytest.mark.parametrize("is_reported", [True, False])
@pytest.mark.parametrize("is_late", [True, False])
def test_a_parent_that_arrives_mends_all_below(
    store: SqlStore,
    report: Reporting,
    monkeypatch: pytest.MonkeyPatch,
    is_reported: bool,
    is_late: bool,
) -> None:
    if is_late:
        monkeypatch.setattr(writer, "TARGET_S", 0)
    top, parent_id = a_new(), new_id()
    parent = a_new(top.id, FLOW, id=parent_id)
    child = a_new(parent.id, TASK)
    tasks = [a_new(child.id, TASK) for _ in range(5)]
    flow = a_new(child.id, FLOW)
    deep = a_new(flow.id, TASK)
    report(top)
    report(child, *tasks, flow, deep)
    record = run_of(store, tasks[0].id)
    logs = [a_log(record, f"line {number}") for number in range(5)]
    do(store, lambda uow: uow.logs.add(logs), record.id)
    put_artifacts(store, an_artifact(run_of(store, deep.id)), an_artifact(record, key="kept"))
    assert families_of(store, child, deep) == [(child.id, None), (child.id, flow.id)]
    assert rows(store, orphan) == 1

    if is_reported:
        report(parent)
    else:
        store.submit(CreateRun(parent)).result(60)
    assert families_of(store, parent, child, *tasks, flow, deep) == [
        (top.id, None),
        (top.id, parent.id),
        *[(top.id, parent.id)] * 5,
        (top.id, None),
        (top.id, flow.id),
    ]
    in_tree = RunQuery(kind=TASK, filter=RunFilter(root_run_id=top.id))
    assert len(store.runs.list(in_tree).items) == 7
    of_flow = RunQuery(kind=TASK, filter=RunFilter(flow_run_id=parent.id))
    assert len(store.runs.list(of_flow).items) == 6
    query = LogQuery(run_id=top.id, include_descendants=True)
    assert [each.message for each in store.logs.list(query).items] == [
        f"line {number}" for number in range(5)
    ]
    found = {each.run_id: each for each in store.artifacts.list(ArtifactQuery()).items}
    assert {each.root_run_id for each in found.values()} == {top.id}
    assert found[record.id].flow_run_id == parent.id
    assert rows(store, orphan) == rows(store, family_move) == 0

    report(then=((deep.id, _running()),))
    assert run_of(store, deep.id).root_run_id == top.id


def _running() -> ProposedTransition:
    return ProposedTransition(a_state(StateType.RUNNING), 1, Cause.REPORTED)


def test_a_run_created_below_after_the_mend_has_the_new_root(
    store: SqlStore, report: Reporting
) -> None:
    parent = a_new()
    child = a_new(parent.id)
    report(child)
    report(parent)
    later = a_new(child.id, TASK)
    report(later)
    assert families_of(store, later) == [(parent.id, child.id)]


def test_a_chain_that_arrives_from_below(store: SqlStore, report: Reporting) -> None:
    runs = [a_new()]
    for _ in range(5):
        runs.append(a_new(runs[-1].id, TASK))
    for each in reversed(runs):
        report(each)
    assert families_of(store, *runs[1:]) == [(runs[0].id, runs[0].id)] * 5
    assert rows(store, orphan) == 0


def test_another_process_mends_what_a_dead_one_began(store: SqlStore, report: Reporting) -> None:
    parent = a_new()
    child = a_new(parent.id)
    below = [a_new(child.id, TASK) for _ in range(5)]
    report(child, *below)

    def begin(uow: UnitOfWork) -> None:
        uow.runs.add(parent.make(cause=Cause.REPORTED, session_id=None))
        uow.families.adopt([parent.id], limit=9)

    do(store, begin)
    assert families_of(store, *below) == [(child.id, child.id)] * 5
    assert store.families.due(limit=9) == ([], True)
    store.submit(MendFamilies([], None)).result(60)
    assert families_of(store, *below) == [(parent.id, child.id)] * 5
    assert store.families.due(limit=9) == ([], False)


def test_an_arrived_parent_is_due_until_it_adopts(store: SqlStore, report: Reporting) -> None:
    parent = a_new()
    child = a_new(parent.id)
    report(child)
    do(store, lambda uow: uow.runs.add(parent.make(cause=Cause.REPORTED, session_id=None)))
    assert store.families.due(limit=9) == ([parent.id], False)
    store.submit(MendFamilies([parent.id], None)).result(60)
    assert store.families.due(limit=9) == ([], False)


def test_parents_that_never_arrive_are_forgotten(
    store: SqlStore, report: Reporting, clock: FakeClock
) -> None:
    old, young = a_new(new_id()), a_new(new_id())
    report(old)
    clock.time_us += 1_000_000
    report(young)
    assert store.submit(ForgetOrphans(kept_us=500_000)).result(60) == 1
    assert rows(store, orphan) == 1
    assert store.submit(ForgetOrphans(kept_us=-1)).result(60) == 1
    assert not do(store, lambda uow: uow.families.has_orphans)


def test_another_process_does_not_use_its_memory_of_a_mended_run(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    if not store_url.startswith("postgresql"):
        pytest.skip("SQLite has one service process")
    one, two = open_url(store_url), open_url(store_url)
    sessions = [a_session(), a_session()]
    do(one, lambda uow: [uow.sessions.save(each) for each in sessions])
    report, elsewhere = Reporting(one, sessions[0].id), Reporting(two, sessions[1].id)
    parent = a_new()
    child = a_new(parent.id)
    report(child)
    elsewhere(parent)
    later = a_new(child.id, TASK)
    report(later)
    assert families_of(one, child, later) == [(parent.id, None), (parent.id, child.id)]


def test_a_mended_tree_is_deleted_whole(store: SqlStore, report: Reporting) -> None:
    parent = a_new()
    child = a_new(parent.id)
    below = a_new(child.id, TASK)
    report(child, below)
    report(parent)
    assert store.submit(DeleteRun(parent.id, force=True)).result(60) == 3


def test_a_mend_moves_a_deletion_that_has_begun(store: SqlStore, report: Reporting) -> None:
    parent = a_new()
    child = a_new(parent.id)
    report(child)
    do(store, lambda uow: uow.deletions.begin(uow.runs.get(child.id)), child.id)
    report(parent)
    assert do(store, lambda uow: uow.deletions.covers(uow.runs.get(child.id)), child.id)
    assert not do(store, lambda uow: uow.deletions.covers(uow.runs.get(parent.id)), parent.id)


def test_runs_that_call_each_other_end_all_searches(store: SqlStore, report: Reporting) -> None:
    """No program does it, but a client may say so."""
    ids = sorted(new_id() for _ in range(4))
    first, second = a_new(ids[1], id=ids[0]), a_new(ids[0], TASK, id=ids[1])
    third, itself = a_new(ids[1], id=ids[2]), a_new(ids[3], id=ids[3])
    runs = [first, second, third, itself]
    report(*runs, then=tuple((each.id, RUNNING) for each in runs))
    assert rows(store, orphan) == rows(store, family_move) == 0
    others = Reporting(store, do_open_session(store))
    for run in (first, itself):
        assert store.submit(BeginCancel(run.kind, run.id, "enough")).result(60).goes_on
        store.submit(CancelBelow(run.id)).result(60)
        (verdict,) = others(a_new(run.id)).verdicts
        assert verdict.rule == "parent_is_cancelled"
        store.submit(DeleteRun(run.id, force=True)).result(60)
    assert store.runs.load(ids) == []
