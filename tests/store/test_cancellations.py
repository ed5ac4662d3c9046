"""Cancellations of trees, in pieces, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import (
    START_US,
    Gate,
    Op,
    a_run,
    a_session,
    a_state,
    add_runs,
    do,
    enter,
    move,
)

from flowspan_service.app.cancellations import (
    Asked,
    BeginCancel,
    CancelBegun,
    CancelBelow,
    ForgetCancellation,
)
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.runs import CreateRun, DeleteRun
from flowspan_service.domain.errors import NotFoundError, StateConflictError, StoppingError
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.sessions import SessionStatus
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.domain.verdicts import VerdictKind
from flowspan_service.stores import cancellations
from flowspan_service.stores.engine import writer

if TYPE_CHECKING:
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.stores.store import SqlStore

FLOW, TASK = RunKind.FLOW, RunKind.TASK
S = StateType


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each piece small, with its own transaction."""
    monkeypatch.setattr(writer, "TARGET_S", 0)
    monkeypatch.setattr(cancellations, "OPEN_AT_ONCE", 2)


def sessions(store: SqlStore, count: int, status: int = SessionStatus.OPEN) -> list[str]:
    found = [a_session(status=status) for _ in range(count)]
    do(store, lambda uow: [uow.sessions.save(each) for each in found])
    return [each.id for each in found]


def running(session_id: str | None, parent: Run | None = None, **values: Any) -> Run:
    state = a_state(values.pop("state", S.RUNNING))
    return a_run(session_id=session_id, parent=parent, state=state, **values)


def cancel(store: SqlStore, run: Run, reason: str = "enough") -> tuple[CancelBegun, Asked]:
    begun = store.submit(BeginCancel(run.kind, run.id, reason)).result(60)
    below = store.submit(CancelBelow(run.id)).result(60) if begun.goes_on else Asked()
    return begun, below


def names(store: SqlStore, *runs: Run) -> list[str]:
    found = {run.id: run.state.name for run in store.runs.load([each.id for each in runs])}
    return [found[each.id] for each in runs]


def told(store: SqlStore, session_id: str) -> list[str]:
    return [each.run_id for each in store.commands.list_open(session_id, limit=99).items]


def test_each_session_gets_a_command_for_its_topmost_runs(store: SqlStore) -> None:
    one, two, three = sessions(store, 3)
    (lost,) = sessions(store, 1, SessionStatus.LOST)
    top = running(one)
    task = running(one, top)
    below_task = running(one, task)
    child = running(two, task, kind=FLOW)
    below_child = running(two, child)
    back = running(one, child, kind=FLOW)  # the first process was called by the second
    planned = running(None, top, kind=FLOW, state=S.SCHEDULED)
    orphaned = running(lost, planned)
    below_planned = running(three, planned, state=S.PENDING)
    ended = running(two, top, state=S.COMPLETED)
    below_ended = running(three, ended)
    same_as_ended = running(two, ended)
    runs = [top, task, below_task, child, below_child, back, planned, orphaned, below_planned]
    runs += [ended, below_ended, same_as_ended]
    other = running(one)
    add_runs(store, [*runs, other])

    begun, below = cancel(store, top, "far too slow")

    assert begun.verdict.kind == VerdictKind.ACCEPTED
    assert names(store, *runs) == [
        *["Cancelling", "Running", "Running", "Cancelling", "Running", "Cancelling"],
        *["Cancelled", "Cancelled", "Cancelling", "Completed", "Cancelling", "Cancelling"],
    ]
    assert names(store, other) == ["Running"]
    assert sorted(told(store, one)) == sorted([top.id, back.id])
    assert sorted(told(store, two)) == sorted([child.id, same_as_ended.id])
    assert sorted(told(store, three)) == sorted([below_planned.id, below_ended.id])
    assert begun.asked.run_count + below.run_count == 6
    commands = [*begun.asked.commands, *below.commands]
    assert {each.run_id: each.reason for each in commands} == dict.fromkeys(
        [top.id, back.id, child.id, same_as_ended.id, below_planned.id, below_ended.id],
        "far too slow",
    )
    states = store.transitions.of_run(child.id)
    assert states[-1].state.message == "far too slow"
    assert states[-1].cause == Cause.REQUESTED


def test_a_part_of_a_tree_is_cancelled_alone(store: SqlStore) -> None:
    one, two = sessions(store, 2)
    top = running(one)
    part, other = running(one, top, kind=FLOW), running(two, top, kind=FLOW)
    inside = [running(two, part) for _ in range(5)]
    outside = [running(two, other) for _ in range(5)]
    add_runs(store, [top, part, other, *inside, *outside])
    begun, below = cancel(store, part)
    assert begun.asked.run_count == 1
    assert below.run_count == 5
    assert names(store, top, other, *outside) == ["Running"] * 7
    assert names(store, part, *inside) == ["Cancelling"] * 6


def test_another_call_asks_again_and_changes_nothing(store: SqlStore) -> None:
    one, two = sessions(store, 2)
    top = running(one)
    children = [running(two, top, kind=FLOW) for _ in range(5)]
    add_runs(store, [top, *children])
    first, below = cancel(store, top)
    assert first.asked.run_count + below.run_count == 6
    again, below = cancel(store, top)
    assert again.verdict.kind == VerdictKind.DUPLICATE
    assert again.asked.run_count + below.run_count == 6
    assert again.asked.transition_count + below.transition_count == 0
    assert len(told(store, two)) == 5
    assert [run.transition_count for run in store.runs.load([top.id])] == [2]


def test_a_run_that_has_ended_is_a_verdict(store: SqlStore) -> None:
    (one,) = sessions(store, 1)
    top = running(None, state=S.FAILED)
    child = running(one, top, kind=FLOW)
    add_runs(store, [top, child])
    begun, _ = cancel(store, top)
    assert (begun.verdict.kind, begun.verdict.rule) == (VerdictKind.REJECTED, "terminal_is_final")
    assert names(store, child) == ["Running"]
    with pytest.raises(NotFoundError):
        cancel(store, running(None))


def test_a_run_without_a_process_is_cancelled_and_asked_below_again(store: SqlStore) -> None:
    (one,) = sessions(store, 1)
    top = running(None, state=S.SCHEDULED)
    child = running(one, top, kind=FLOW)
    add_runs(store, [top, child])
    begun, below = cancel(store, top)
    assert (begun.run.state.name, begun.verdict.kind) == ("Cancelled", VerdictKind.ACCEPTED)
    assert (begun.asked.run_count, below.run_count) == (0, 1)
    again, below = cancel(store, top)
    assert again.verdict.kind == VerdictKind.REJECTED
    assert below.run_count == 1


def test_runs_that_change_their_state_meanwhile_are_asked(store: SqlStore) -> None:
    """A run goes back from a range of the index that was not searched to one that was."""
    one, two = sessions(store, 2)
    top = running(one)
    waiting = [running(two, top, kind=FLOW, state=S.SCHEDULED) for _ in range(6)]
    active = [running(two, top, kind=FLOW) for _ in range(6)]
    add_runs(store, [top, *waiting, *active])
    store.submit(BeginCancel(FLOW, top.id, "enough")).result(60)
    gate = Gate(store)
    walk = store.submit(CancelBelow(top.id))
    moved = store.submit(Op(lambda uow: _schedule(uow, active[-1].id)))
    gate.open()
    moved.result(60)
    assert walk.result(60).run_count == 12
    assert names(store, *active, *waiting) == ["Cancelling"] * 12


def _schedule(uow: UnitOfWork, run_id: str) -> None:
    run = uow.runs.get(run_id)
    assert run is not None
    uow.runs.add_transition(enter(run, S.SCHEDULED))


def test_others_go_in_between_and_a_stop_leaves_the_rest(store: SqlStore) -> None:
    one, two = sessions(store, 2)
    top = running(one)
    add_runs(store, [top, *(running(two, top, kind=FLOW) for _ in range(40))])
    store.submit(BeginCancel(FLOW, top.id, "enough")).result(60)
    gate = Gate(store)
    walk = store.submit(CancelBelow(top.id))
    counted = store.submit(Op(lambda _: len(told(store, two))))
    gate.open()
    assert counted.result(60) < 40
    assert walk.result(60).run_count == 40

    assert store.cancellations.unfinished() == {}
    assert store.cancellations.walked() == [top.id]


def test_what_a_dead_process_began_is_found_and_finished(store_url: str, open_url: Any) -> None:
    store = open_url(store_url)
    one, two = sessions(store, 2)
    top = running(one)
    children = [running(two, top, kind=FLOW) for _ in range(20)]
    add_runs(store, [top, *children])
    store.submit(BeginCancel(FLOW, top.id, "enough")).result(60)
    gate = Gate(store)
    walk = store.submit(CancelBelow(top.id))
    gate.open()
    store.close()
    with pytest.raises(StoppingError, match="will be when the service runs again"):
        walk.result(60)
    again = open_url(store_url)
    assert list(again.cancellations.unfinished()) == [top.id]
    again.submit(CancelBelow(top.id)).result(60)
    assert names(again, *children) == ["Cancelling"] * 20
    assert [run.transition_count for run in again.runs.load([children[0].id])] == [2]
    assert again.cancellations.unfinished() == {}


def test_a_cancellation_is_kept_until_all_runs_have_ended(store: SqlStore) -> None:
    one, two = sessions(store, 2)
    top = running(one)
    child = running(two, top, kind=FLOW)
    add_runs(store, [top, child])
    cancel(store, top)
    move(store, top.id, S.CANCELLED)
    assert store.submit(ForgetCancellation(top.id)).result(60) is False
    move(store, child.id, S.CANCELLED)
    assert store.submit(ForgetCancellation(top.id)).result(60) is True
    assert store.cancellations.walked() == []


def test_a_deleted_tree_ends_its_cancellation(store: SqlStore) -> None:
    (one,) = sessions(store, 1)
    top = running(one)
    add_runs(store, [top])
    store.submit(BeginCancel(FLOW, top.id, "enough")).result(60)
    store.submit(DeleteRun(top.id, force=True)).result(60)
    assert store.submit(CancelBelow(top.id)).result(60).run_count == 0
    assert store.submit(ForgetCancellation(top.id)).result(60) is True
    assert store.cancellations.unfinished() == {}


def a_new(parent: Run) -> NewRun:
    run = a_run(parent=parent)
    return NewRun(
        run.id, TASK, "f", "r", parent.id, run.id, None, (), None, None, "", START_US, run.state
    )


def creates(store: SqlStore, session_id: str, *new: NewRun) -> list[tuple[int, str]]:
    last = do(store, lambda uow: uow.sessions.get(session_id).last_sequence)  # type: ignore[union-attr]
    report = ApplyReport(
        session_id,
        first_sequence=last + 1,
        events=[(each.id, each) for each in new],
        run_ids=[each.id for each in new] + [str(each.parent_run_id) for each in new],
    )
    return [(each.kind, each.rule) for each in store.submit(report).result(60).verdicts]


REFUSED = (VerdictKind.ABORT, "parent_is_cancelled")


def test_no_other_session_creates_a_run_below(store: SqlStore) -> None:
    one, two, three = sessions(store, 3)
    top = running(one)
    task = running(one, top)
    child = running(two, task, kind=FLOW)
    ended = running(one, task, state=S.COMPLETED)
    add_runs(store, [top, task, child, ended])
    cancel(store, top)
    for parent in (top, task, child, ended):
        assert creates(store, three, a_new(parent)) == [REFUSED]
    # The session of a run stops it, and what the run calls to clean up.
    assert creates(store, one, a_new(top)) == creates(store, one, a_new(task)) == []
    assert creates(store, two, a_new(child)) == []
    assert creates(store, two, a_new(task)) == [REFUSED]
    with pytest.raises(StateConflictError, match="being cancelled"):
        store.submit(CreateRun(a_new(task))).result(60)

    move(store, top.id, S.CANCELLED)
    move(store, task.id, S.CANCELLED)
    assert creates(store, one, a_new(task)) == []
    assert creates(store, three, a_new(task)) == creates(store, three, a_new(ended)) == [REFUSED]


def test_what_a_refused_run_calls_is_refused_too(store: SqlStore) -> None:
    one, two, three = sessions(store, 3)
    top = running(one)
    add_runs(store, [top])
    cancel(store, top)
    refused = a_new(top)
    below = a_new(a_run(id=refused.id))
    assert creates(store, two, refused, below) == [REFUSED] * 2
    deeper = a_new(a_run(id=below.id))
    assert creates(store, two, deeper, refused) == [REFUSED] * 2
    # Another session does not wait for a parent that was refused, only for one that is late.
    elsewhere, late = a_new(a_run(id=deeper.id)), a_new(a_run())
    assert creates(store, three, elsewhere, late) == [REFUSED]
    assert [run.id for run in store.runs.load([late.id])] == [late.id]
    with pytest.raises(StateConflictError, match="being cancelled"):
        store.submit(CreateRun(a_new(a_run(id=refused.id)))).result(60)


def test_a_run_that_waits_for_a_refused_parent_is_cancelled(store: SqlStore) -> None:
    one, two, three = sessions(store, 3)
    top = running(one)
    add_runs(store, [top])
    cancel(store, top)
    refused = a_new(top)
    waiting = a_new(a_run(id=refused.id))
    assert creates(store, three, waiting) == []
    assert creates(store, two, refused) == [REFUSED]
    assert told(store, three) == [waiting.id]
    assert list(store.cancellations.unfinished()) == [waiting.id]


def test_a_run_whose_parent_arrives_below_a_cancelled_one_is_cancelled(store: SqlStore) -> None:
    one, three = sessions(store, 2)
    top = running(one)
    add_runs(store, [top])
    cancel(store, top)
    cleanup = a_new(top)
    waiting = a_new(a_run(id=cleanup.id))
    assert creates(store, three, waiting) == []
    assert creates(store, one, cleanup) == []
    assert told(store, three) == [waiting.id]


def test_of_two_processes_the_other_one_refuses_runs_below(store_url: str, open_url: Any) -> None:
    if not store_url.startswith("postgresql"):
        pytest.skip("SQLite has one service process")
    here, there = open_url(store_url), open_url(store_url)
    one, two = sessions(here, 2)
    top = running(one)
    task = running(one, top)
    add_runs(here, [top, task])
    assert creates(there, two, a_new(task)) == []
    cancel(here, top)
    assert creates(there, two, a_new(task)) == [REFUSED]
