"""The writer: what is promised of a commit, whatever goes wrong around it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import (
    Gate,
    Op,
    a_log,
    a_run,
    a_session,
    add_runs,
    delete_tree,
    do,
    enter,
    move,
    new_id,
)

from flowspan_service.app.ports import Unfinished
from flowspan_service.domain.errors import (
    AlreadyExistsError,
    StateConflictError,
    StoppingError,
    StoreUnavailableError,
)
from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import StateType
from flowspan_service.stores.engine.writer import AFTER_COMMIT, BEFORE_COMMIT, BEFORE_RESOLVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan_service.app.ports import UnitOfWork, Written
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore


class Fault:
    """Raises at a point of the commit, once."""

    def __init__(self) -> None:
        self.point = ""
        self.seen: list[str] = []

    def __call__(self, name: str) -> None:
        self.seen.append(name)
        if name == self.point:
            self.point = ""
            raise OSError("injected")


def adding(run: Run) -> Op:
    """Adds the run if it is not there; says whether it was new."""

    def add(uow: UnitOfWork) -> bool:
        if uow.runs.get(run.id) is not None:
            return False
        uow.runs.add(run)
        return True

    return Op(add, [run.id])


def raising(error: Exception, *, after_changing: bool) -> Op:
    run = a_run()

    def fail(uow: UnitOfWork) -> None:
        if after_changing:
            uow.runs.add(run)
        raise error

    return Op(fail, [run.id])


def is_there(store: SqlStore, run: Run) -> bool:
    return store.runs.get(RunKind.FLOW, run.id) is not None


def test_promise_acked_is_durable_once_the_future_is_done(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    committed: list[str] = []
    store = open_url(store_url, on_point=committed.append)
    run = a_run()
    future = store.submit(adding(run))
    assert future.result(60) is True
    assert committed[:2] == [BEFORE_COMMIT, AFTER_COMMIT]
    # Seen by a connection that shares nothing with the writer's.
    assert is_there(open_url(store_url), run)


@pytest.mark.parametrize("point", [BEFORE_COMMIT, AFTER_COMMIT])
def test_promise_exactly_once_when_a_commit_fails_to_the_caller(
    store_url: str, open_url: Callable[..., SqlStore], point: str
) -> None:
    fault = Fault()
    store = open_url(store_url, on_point=fault)
    parent = a_run()
    add_runs(store, [parent])
    fault.point = point
    run = a_run(parent=parent, kind=RunKind.FLOW)
    operation = adding(run)
    with pytest.raises(StoreUnavailableError, match="injected"):
        store.submit(operation).result(60)
    assert is_there(store, run) is (point == AFTER_COMMIT)
    # The caller cannot know, and does it again.
    again = adding(a_run(id=run.id, parent=parent, kind=RunKind.FLOW))
    assert store.submit(again).result(60) is (point == BEFORE_COMMIT)
    assert [one.ordinal for one in store.transitions.of_run(run.id)] == [1]
    assert store.position() == 2
    move(store, run.id, StateType.RUNNING)
    assert [one.position for one in store.transitions.of_run(run.id)] == [2, 3]


@pytest.mark.parametrize("after_changing", [True, False])
@pytest.mark.parametrize(
    "error", [StateConflictError("no"), ZeroDivisionError("bug")], ids=["refusal", "bug"]
)
def test_a_poison_operation_fails_alone(
    store: SqlStore, error: Exception, after_changing: bool
) -> None:
    gate = Gate(store)
    runs = [a_run() for _ in range(4)]
    good = [store.submit(adding(run)) for run in runs[:2]]
    bad = store.submit(raising(error, after_changing=after_changing))
    good += [store.submit(adding(run)) for run in runs[2:]]
    gate.open()
    with pytest.raises(type(error)):
        bad.result(60)
    assert [future.result(60) for future in good] == [True] * 4
    assert all(is_there(store, run) for run in runs)
    assert store.position() == 4
    assert [one.position for run in runs for one in store.transitions.of_run(run.id)] == [
        1,
        2,
        3,
        4,
    ]


def test_an_operation_that_the_database_refuses_fails_alone(store: SqlStore) -> None:
    gate = Gate(store)
    run = a_run()
    good = store.submit(adding(run))
    # Does not look whether the run is there: the database must object.
    bad = store.submit(Op(lambda uow: uow.runs.add(a_run(run_name=None))))
    other = store.submit(adding(a_run()))
    gate.open()
    with pytest.raises(Exception, match=r"(?i)null|encode"):
        bad.result(60)
    assert good.result(60) is True
    assert other.result(60) is True


def test_a_changed_record_of_a_failed_operation_is_forgotten(store: SqlStore) -> None:
    run = a_run()
    add_runs(store, [run])

    def spoil(uow: UnitOfWork) -> None:
        found = uow.runs.get(run.id)
        assert found is not None
        uow.runs.add_transition(enter(found, StateType.FAILED))
        raise AlreadyExistsError("after all not")

    with pytest.raises(AlreadyExistsError):
        store.submit(Op(spoil, [run.id])).result(60)
    assert do(store, lambda uow: uow.runs.get(run.id).state.type, run.id) == StateType.PENDING
    assert len(store.transitions.of_run(run.id)) == 1


def test_promise_creating_is_idempotent_for_64_creators_at_once(store: SqlStore) -> None:
    run_id = new_id()
    with ThreadPoolExecutor(64) as pool:
        start = threading.Barrier(64)

        def create(_: int) -> bool:
            start.wait(60)
            return bool(store.submit(adding(a_run(id=run_id))).result(60))

        created = list(pool.map(create, range(64)))
    assert created.count(True) == 1
    assert len(store.transitions.of_run(run_id)) == 1


def test_64_threads_lose_and_double_nothing(store: SqlStore) -> None:
    """Each thread counts a session up; positions have no gap and every run is there once."""
    sessions = [a_session() for _ in range(64)]

    def work(number: int) -> list[str]:
        session, ids = sessions[number], []
        for step in range(1, 9):
            run = a_run()

            def report(uow: UnitOfWork, run: Run = run, step: int = step) -> None:
                known = uow.sessions.get(session.id)
                assert (known.last_sequence if known else 0) == step - 1
                session.last_sequence = step
                uow.sessions.save(session)
                uow.runs.add(run)
                uow.logs.add([a_log(run)])

            store.submit(Op(report, [run.id])).result(60)
            ids.append(run.id)
        return ids

    with ThreadPoolExecutor(64) as pool:
        ids = [run_id for found in pool.map(work, range(64)) for run_id in found]
    changes, upto, _ = store.transitions.changes(after=0, run_id=None, limit=10_000)
    assert [change.position for change, _ in changes] == list(range(1, 513))
    assert sorted(change.run_id for change, _ in changes) == sorted(ids)
    assert upto == store.position() == 512
    for session in sessions:
        assert do(store, lambda uow, key=session.id: uow.sessions.get(key).last_sequence) == 8


def test_operations_see_what_those_before_them_did(store: SqlStore) -> None:
    gate = Gate(store)
    run = a_run()
    store.submit(adding(run))
    seen = store.submit(Op(lambda uow: uow.runs.get(run.id) is not None, [run.id]))
    listed = store.submit(Op(lambda uow: uow.deletions.open_run_below(run.id, after=None)[0].id))
    gate.open()
    assert seen.result(60) is True
    assert listed.result(60) == run.id


def test_what_waits_is_committed_before_a_long_operation_goes_on(store: SqlStore) -> None:
    waiting: list[Future[Any]] = []
    was_committed: list[bool] = []

    def piece(uow: UnitOfWork) -> Any:
        if waiting:
            was_committed.append(waiting[-1].done())
        if len(was_committed) == 3:
            return "all of it"
        run = a_run()
        waiting.append(store.submit(Op(lambda uow: uow.runs.add(run))))
        return Unfinished(Op(piece), "Some of it is done.")

    assert do(store, piece) == "all of it"
    assert was_committed == [True, True, True]


def test_an_operation_that_was_cancelled_while_it_waited_is_not_done(store: SqlStore) -> None:
    gate = Gate(store)
    operation = adding(a_run())
    future = store.submit(operation)
    assert store.queued_weight == 1
    assert future.cancel()
    gate.open()
    do(store, lambda _uow: None)
    assert operation.calls == 0
    assert store.queued_weight == 0


def test_futures_are_done_before_the_listeners_are_told(store_url: str, open_url: Any) -> None:
    order: list[str] = []
    store = open_url(store_url, on_point=order.append)
    told = threading.Event()

    def listen(**_: object) -> None:
        order.append("listener")
        told.set()

    store.on_commit(listen)
    future = store.submit(adding(a_run()))
    future.add_done_callback(lambda _: order.append("future"))
    assert told.wait(60)
    assert [one for one in order if one != "future"] == [
        BEFORE_COMMIT,
        AFTER_COMMIT,
        BEFORE_RESOLVE,
        "listener",
    ]
    assert order.index("future") < order.index("listener")


def test_listeners_hear_of_what_ended_and_of_nothing_else(store: SqlStore) -> None:
    told: list[dict[str, Any]] = []
    store.on_commit(lambda **values: told.append(values))
    run, other, gone = a_run(), a_run(), a_run()
    add_runs(store, [run, other, gone])
    do(store, lambda uow: uow.runs.get(run.id), run.id)
    move(store, run.id, StateType.RUNNING, StateType.COMPLETED)
    move(store, other.id, StateType.FAILED, StateType.RUNNING)
    do(store, lambda uow: uow.logs.add([a_log(run)]))

    def end_and_delete(uow: UnitOfWork) -> None:
        found = uow.runs.get(gone.id)
        assert found is not None
        uow.runs.add_transition(enter(found, StateType.CANCELLED))
        delete_tree(uow, gone.id)

    do(store, end_and_delete, gone.id)
    store.close()
    ended = [[one.id for one in values["ended"]] for values in told]
    assert ended == [[], [run.id], [], [], []]
    assert [values["position"] for values in told] == [3, 5, 7, 7, 8]
    assert [values["log_position"] for values in told] == [0, 0, 0, 1, 1]


def test_a_listener_that_fails_harms_nobody(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    def fail(**_: object) -> None:
        raise ValueError("the listener's own")

    store.on_commit(fail)
    store.on_commit(lambda position, **_: told.append(position))
    add_runs(store, [a_run()])
    add_runs(store, [a_run()])
    store.close()
    assert told == [1, 2]
    assert "A listener of the store failed" in caplog.text


def test_close_commits_what_waits_and_takes_no_more(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    store = open_url(store_url)
    runs = [a_run() for _ in range(50)]
    futures = [store.submit(adding(run)) for run in runs]
    store.close()
    assert all(future.result(0) for future in futures)
    with pytest.raises(StoppingError):
        store.submit(adding(a_run())).result(0)
    store.close()
    reader = open_url(store_url)
    assert all(is_there(reader, run) for run in runs)


def renew(uow: UnitOfWork, session_id: str) -> None:
    session = uow.sessions.get(session_id)
    session.renew(uow.now_us)
    uow.sessions.save(session)


def test_another_process_that_writes_is_noticed(
    store_url: str, open_url: Callable[..., SqlStore]
) -> None:
    """Two stores over one database stand for two service processes: none trusts a stale memory."""
    one, two = open_url(store_url), open_url(store_url)
    run, session = a_run(), a_session()
    add_runs(one, [run])
    do(one, lambda uow: uow.sessions.save(session))
    move(two, run.id, StateType.RUNNING)
    do(two, lambda uow: renew(uow, session.id))
    assert do(one, lambda uow: uow.runs.get(run.id).state.type, run.id) == StateType.RUNNING
    assert do(one, lambda uow: uow.sessions.get(session.id).renewals) == 1
    move(one, run.id, StateType.PAUSED)
    do(two, lambda uow: delete_tree(uow, run.id))
    assert do(one, lambda uow: uow.runs.get(run.id), run.id) is None
    assert one.position() == two.position() == 3


def test_two_writers_take_turns(store_url: str, open_url: Callable[..., SqlStore]) -> None:
    stores = [open_url(store_url), open_url(store_url)]
    futures = [store.submit(adding(a_run())) for _ in range(30) for store in stores]
    assert all(future.result(60) for future in futures)
    changes, _, _ = stores[0].transitions.changes(after=0, run_id=None, limit=100)
    assert [change.position for change, _ in changes] == list(range(1, 61))


def test_a_transaction_is_told_with_its_times_and_sizes(store: SqlStore) -> None:
    told: list[Written] = []
    store.on_write(told.append)
    gate = Gate(store)
    runs = [a_run(), a_run(), a_run()]
    futures = [store.submit(adding(run)) for run in runs]
    assert store.queued_operation_count == 3
    time.sleep(0.02)
    gate.open()
    assert all(future.result(60) for future in futures)
    store.submit(adding(runs[0])).result(60)  # it changes nothing, so it is not told
    store.close()
    (written,) = told
    assert (written.operation_count, written.transition_count) == (3, 3)
    assert 0.02 <= written.waited_s < 60
    assert 0 < written.took_s < 60
    assert store.queued_operation_count == 0


def test_runs_that_are_rolled_back_later_are_told_as_such(store: SqlStore) -> None:
    told: list[tuple[set[str], set[str]]] = []
    store.on_commit(
        lambda ended, rolled_back, **_: told.append(({run.id for run in ended}, set(rolled_back)))
    )
    early, late = a_run(), a_run()
    add_runs(store, [early, late])
    move(store, late.id, StateType.COMPLETED)

    def roll_back(uow: UnitOfWork) -> None:
        for run_id, names in ((early.id, ("Completed", "RolledBack")), (late.id, ("RolledBack",))):
            for name in names:
                run = uow.runs.get(run_id)
                assert run is not None
                uow.runs.add_transition(enter(run, StateType.COMPLETED, name=name))

    do(store, roll_back, early.id, late.id)
    store.close()
    assert told[1:] == [({late.id}, set()), ({early.id, late.id}, {late.id})]
