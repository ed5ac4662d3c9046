"""Deletion of trees in pieces: interleaved with other operations, and consistent at any time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select
from tests.store.builders import (
    START_US,
    Gate,
    Op,
    a_log,
    a_run,
    a_session,
    a_state,
    add_runs,
    an_artifact,
    do,
    enter,
    move,
    put_artifacts,
)

from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.runs import CreateRun, DeleteRun, SetState
from flowspan_service.app.sessions import CrashOpenRuns, EndSession, Reap
from flowspan_service.domain.commands import Command, CommandKind
from flowspan_service.domain.errors import (
    NotFoundError,
    StateConflictError,
    StoppingError,
    StoreUnavailableError,
)
from flowspan_service.domain.leases import LeaseWatch
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.domain.verdicts import VerdictKind
from flowspan_service.stores import artifacts, deletions, labels
from flowspan_service.stores.artifacts import artifact_table
from flowspan_service.stores.commands import command
from flowspan_service.stores.deletions import deletion
from flowspan_service.stores.engine import writer
from flowspan_service.stores.labels import label
from flowspan_service.stores.logs import log
from flowspan_service.stores.runs import run as run_table
from flowspan_service.stores.runs import run_tag
from flowspan_service.stores.transitions import transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

LATER_US = START_US + 10**9


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each piece small, with its own transaction."""
    monkeypatch.setattr(writer, "TARGET_S", 0)
    monkeypatch.setattr(deletions, "CHILDREN", 4)
    monkeypatch.setattr(deletions, "OPEN_RUNS", 2)
    monkeypatch.setattr(deletions, "PIECE_TRANSITIONS", 5)
    monkeypatch.setattr(deletions, "PIECE_LOGS", 2)
    monkeypatch.setattr(artifacts, "DELETED_AT_ONCE", 1)
    monkeypatch.setattr(labels, "DELETED_AT_ONCE", 2)


def a_command(run: Run, session_id: str | None = None) -> Command:
    return Command(run.id, 1, session_id or run.id, CommandKind.CANCEL_RUN, "enough", START_US)


class Forest:
    """A wide and deep tree that has ended, and an unrelated run."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.root = a_run()
        self.wide = [a_run(parent=self.root, tags=("red", "blue")) for _ in range(9)]
        self.subflow = a_run(parent=self.root, kind=RunKind.FLOW)
        self.chain = [a_run(parent=self.subflow)]
        for _ in range(6):
            self.chain.append(a_run(parent=self.chain[-1]))
        self.stray = a_run(parent=self.chain[-1], parent_run_id=a_run().id)
        self.other = a_run()
        self.tree = [self.root, *self.wide, self.subflow, *self.chain, self.stray]
        add_runs(store, [*self.tree, self.other])
        for run in self.tree:
            move(store, run.id, StateType.RUNNING, StateType.COMPLETED)
        retried = [StateType.SCHEDULED, StateType.RUNNING] * 8
        move(store, self.wide[3].id, *retried, StateType.FAILED)
        do(store, lambda uow: uow.logs.add([a_log(self.wide[5])] * 7 + [a_log(self.other)]))
        put_artifacts(
            store,
            *(an_artifact(self.wide[6]) for _ in range(3)),
            an_artifact(self.other),
            an_artifact(self.chain[0], key="report"),
        )
        for run in (self.wide[8], self.chain[2], self.other):
            values = dict.fromkeys(("a", "b", "c"), "v")
            do(store, lambda uow, run=run, values=values: uow.labels.put(run.id, values))
        for run in (self.wide[7], self.other):
            do(store, lambda uow, run=run: uow.commands.add(a_command(run)))

    def left(self) -> list[str]:
        page = self.store.runs.tree(self.root.id, after_id=None, limit=1000)
        return [run.id for run in page.items]

    def check(self) -> None:
        """Check that each remaining run has its whole history and its parents."""
        for run in self.tree:
            found = self.store.runs.get(run.kind, run.id)
            history = self.store.transitions.of_run(run.id)
            assert (found is None) == (history == []), "a part of a run is left"
            if found is None:
                continue
            assert [each.ordinal for each in history] == [*range(1, found.transition_count + 1)]
            assert history[-1].state.type == found.state.type
            if found.parent_run_id and run is not self.stray:
                assert found.parent_run_id in self.left()


@pytest.fixture
def forest(store: SqlStore) -> Forest:
    return Forest(store)


def rows(store: SqlStore) -> dict[str, int]:
    with store._dialect.reading.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (
                *(run_table, transition, log, run_tag),
                *(artifact_table, command, deletion, label),
            )
        }


ONLY_THE_OTHER = {
    "run": 1,
    "transition": 1,
    "log": 1,
    "run_tag": 0,
    "artifact": 2,
    "command": 1,
    "deletion": 0,
    "label": 3,
}


@pytest.mark.slow
def test_a_tree_goes_in_pieces_and_what_is_left_makes_sense(forest: Forest) -> None:
    store, commits = forest.store, []
    failures: list[BaseException] = []

    def look(**_: object) -> None:
        commits.append(len(forest.left()))
        try:
            forest.check()
        except BaseException as error:  # noqa: BLE001 - reraised below
            failures.append(error)

    store.on_commit(look)
    deleted = store.submit(DeleteRun(forest.root.id, force=False)).result(60)
    assert deleted == len(forest.tree)
    store.close()
    assert not failures, failures[0]
    assert len(commits) > len(forest.tree) / 3
    assert commits == sorted(commits, reverse=True)


def test_nothing_of_a_tree_is_left(forest: Forest) -> None:
    assert forest.store.submit(DeleteRun(forest.root.id, force=False)).result(60)
    assert rows(forest.store) == ONLY_THE_OTHER
    assert forest.store.submit(DeleteRun(forest.root.id, force=False)).result(60) == 0


def test_others_are_served_between_the_pieces(forest: Forest) -> None:
    store = forest.store
    order: list[str] = []
    deletion = store.submit(DeleteRun(forest.root.id, force=False))
    deletion.add_done_callback(lambda _: order.append("deleted"))
    for number in range(5):
        store.submit(Op(lambda _: None)).result(60)
        order.append(f"served {number}")
    deletion.result(60)
    assert order.index("served 0") < order.index("deleted")
    assert store.write_times().longest_s > 0


def test_a_part_of_a_tree_goes_and_the_rest_stays(forest: Forest) -> None:
    store = forest.store
    assert store.submit(DeleteRun(forest.subflow.id, force=False)).result(60) == 8
    gone = {forest.subflow.id, *(run.id for run in forest.chain)}
    for run in [*forest.tree, forest.other]:
        assert (store.runs.get(run.kind, run.id) is None) == (run.id in gone)


@pytest.mark.parametrize("force", [False, True])
def test_an_open_run_anywhere_in_the_tree_forbids_it_unless_forced(
    forest: Forest, force: bool
) -> None:
    store = forest.store
    many = [a_run(parent=forest.root) for _ in range(7)]
    deep = a_run(parent=forest.chain[-1])
    add_runs(store, [*many, deep])
    if force:
        assert store.submit(DeleteRun(forest.subflow.id, force=True)).result(60) == 9
        assert do(store, lambda uow: uow.deletions.was_deleted(deep.id))
        return
    for run in (forest.root, forest.subflow):
        with pytest.raises(StateConflictError, match="has not ended"):
            store.submit(DeleteRun(run.id, force=False)).result(60)
    move(store, deep.id, StateType.CANCELLED)
    with pytest.raises(StateConflictError):
        store.submit(DeleteRun(forest.root.id, force=False)).result(60)
    assert store.submit(DeleteRun(forest.subflow.id, force=False)).result(60) == 9
    assert rows(store)["deletion"] == 0


def test_a_circle_of_parents_goes_too(store: SqlStore) -> None:
    root, one, two = a_run(), a_run(), a_run()
    for run, parent in ((one, two), (two, one)):
        run.parent_run_id, run.root_run_id = parent.id, root.id
    add_runs(store, [root, one, two])
    assert store.submit(DeleteRun(one.id, force=True)).result(60) == 2
    assert store.submit(DeleteRun(root.id, force=True)).result(60) == 1


def half_deleted(open_url: Callable[..., SqlStore], url: str) -> tuple[Forest, SqlStore]:
    """Return a forest whose deletion was interrupted as its store closed, and a new store."""
    first = open_url(url)
    forest = Forest(first)
    deletion = first.submit(DeleteRun(forest.root.id, force=False))
    gate = Gate(first)  # It opens after the first piece.
    closing = threading.Thread(target=first.close)
    closing.start()
    while not first.submit(Op(lambda _: None)).done():
        """Until no more is taken."""
    gate.open()
    closing.join()
    with pytest.raises(StoppingError, match=r"\d+ runs were deleted; the others will be"):
        deletion.result(60)
    forest.store = open_url(url)
    return forest, forest.store


def test_a_deletion_that_was_begun_is_remembered_and_finished(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    forest, store = half_deleted(open_url, store_url)
    forest.check()
    ((run_id, pieces),) = store.deletions.begun().items()
    assert run_id == forest.root.id
    assert pieces >= 1
    left = len(forest.left())
    assert 0 < left < len(forest.tree)
    assert store.submit(DeleteRun(forest.root.id, force=False)).result(60) == left
    assert rows(store) == ONLY_THE_OTHER


def test_nothing_that_is_reported_of_a_half_deleted_tree_is_accepted(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    forest, store = half_deleted(open_url, store_url)
    left = forest.root
    session = a_session()
    do(store, lambda uow: uow.sessions.save(session))
    new, free = a_run(parent=left), a_run(parent=forest.other)
    retried = ProposedTransition(a_state(StateType.RUNNING, LATER_US), 2, Cause.REPORTED)
    events = [
        (new.id, new_run(new)),
        (left.id, retried),
        (left.id, a_log(left)),
        (left.id, new_run(left)),
        (free.id, new_run(free)),
    ]
    report = ApplyReport(session.id, first_sequence=1, events=events, run_ids=[left.id])
    verdicts = store.submit(report).result(60).verdicts
    assert [(each.sequence, each.kind, each.rule) for each in verdicts] == [
        (number, VerdictKind.ABORT, "run_was_deleted") for number in (1, 2, 3, 4)
    ]
    with pytest.raises(NotFoundError):
        store.submit(SetState(RunKind.FLOW, left.id, a_state(StateType.CANCELLING))).result(60)
    for run in (left, new):
        with pytest.raises(StateConflictError, match="is being deleted"):
            store.submit(CreateRun(new_run(run))).result(60)


def new_run(run: Run) -> NewRun:
    return NewRun(*(getattr(run, name) for name in NewRun._fields))


def test_a_deletion_that_fails_in_the_middle_can_be_called_again(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    left = 9

    def fail(point: str) -> None:
        nonlocal left
        left -= point == writer.BEFORE_COMMIT
        if left == 0:
            raise OSError("injected")

    calm = open_url(store_url)
    forest = Forest(calm)
    store = open_url(store_url, on_point=fail)
    with pytest.raises(StoreUnavailableError):
        store.submit(DeleteRun(forest.root.id, force=False)).result(60)
    forest.check()
    assert store.submit(DeleteRun(forest.root.id, force=False)).result(60) > 0
    assert rows(store) == ONLY_THE_OTHER


# These sessions end with many open runs.


def with_open_runs(store: SqlStore, **values: Any) -> tuple[str, list[Run]]:
    session = a_session(**values)
    runs = [a_run(session_id=session.id) for _ in range(450)]
    do(store, lambda uow: uow.sessions.save(session))
    add_runs(store, runs)
    return session.id, runs


def crashed(store: SqlStore, runs: list[Run]) -> int:
    found = [store.runs.get(run.kind, run.id) for run in runs]
    return sum(run is not None and run.state.type == StateType.CRASHED for run in found)


def test_the_end_of_a_session_comes_in_pieces(store: SqlStore) -> None:
    session_id, runs = with_open_runs(store)
    sizes: list[int] = []
    store.on_commit(lambda ended, **_: sizes.append(len(ended)))
    assert store.submit(EndSession(session_id)).result(60) == 450
    assert crashed(store, runs) == 450
    store.close()
    assert sizes == [200, 200, 50]


def test_what_crashes_in_any_piece_is_not_to_be_cancelled_any_more(store: SqlStore) -> None:
    session_id, runs = with_open_runs(store)
    for run in runs[::100]:
        move(store, run.id, StateType.CANCELLING)
        do(store, lambda uow, run=run: uow.commands.add(a_command(run, session_id)))
    assert len(store.commands.list_open(session_id, limit=99).items) == 5
    assert store.submit(EndSession(session_id)).result(60) == 450
    assert store.commands.list_open(session_id, limit=99).items == []


def test_the_end_of_a_session_that_was_begun_is_finished(store: SqlStore) -> None:
    session_id, runs = with_open_runs(store, status=SessionStatus.CLOSED)
    assert store.sessions.ended_with_open_runs() == [session_id]
    assert store.submit(CrashOpenRuns(session_id)).result(60) == 450
    assert crashed(store, runs) == 450
    assert store.sessions.ended_with_open_runs() == []
    last = store.runs.get(RunKind.FLOW, runs[0].id)
    assert last is not None
    assert last.state.message.endswith("ended without finishing it.")


def test_a_session_that_comes_back_keeps_what_is_left(store: SqlStore) -> None:
    session_id, runs = with_open_runs(store)
    assert store.submit(CrashOpenRuns(session_id)).result(60) == 0
    assert crashed(store, runs) == 0
    assert store.sessions.ended_with_open_runs() == []


def test_a_reaping_leaves_what_takes_too_long_to_others(store: SqlStore) -> None:
    first, second = with_open_runs(store, lease_us=1), with_open_runs(store, lease_us=1)
    watch, looks_us = LeaseWatch(lease_us=1), iter((0, 1))
    for _ in range(2):
        look = Reap(watch, limit=10, frames=lambda _: 0, monotonic_us=lambda: next(looks_us))
        reaped = store.submit(look).result(60)
        watch.remember(reaped.look)
    assert sorted(reaped.sessions) == sorted([first[0], second[0]])
    assert reaped.crashed_run_count < 450
    assert set(reaped.unfinished) <= {first[0], second[0]}
    assert reaped.unfinished
    for session_id in store.sessions.ended_with_open_runs():
        store.submit(CrashOpenRuns(session_id)).result(60)
    assert crashed(store, [*first[1], *second[1]]) == 900


def test_operations_for_which_there_is_no_time_keep_their_order(store: SqlStore) -> None:
    run = a_run()
    entered, opened = threading.Event(), threading.Event()

    def wait(_: UnitOfWork) -> None:
        entered.set()
        assert opened.wait(60)

    store.submit(Op(wait))
    assert entered.wait(60)
    order: list[int] = []
    futures = [
        store.submit(Op(lambda _, number=number: order.append(number))) for number in range(9)
    ]
    futures.append(store.submit(Op(lambda uow: uow.runs.add(run))))
    futures.append(
        store.submit(Op(lambda uow: uow.runs.add_transition(enter(run, StateType.RUNNING))))
    )
    opened.set()
    for future in futures:
        future.result(60)
    assert order == list(range(9))
    assert store.queued_weight == 0
    assert [each.ordinal for each in store.transitions.of_run(run.id)] == [1, 2]
