"""Cancellations of trees: who is asked, what is refused below, and what takes several pieces."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.memory_store import ManualClock, MemoryStore
from tests.support.short_run_stories import a_state

from flowspan_service.app.cancellations import (
    Asked,
    BeginCancel,
    CancelBegun,
    CancelBelow,
    ForgetCancellation,
    is_refused_below,
)
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.errors import NotFoundError
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import Cause, StateType
from flowspan_service.domain.verdicts import VerdictKind

FLOW, TASK = RunKind.FLOW, RunKind.TASK
S = StateType


class Trees:
    """A store with three sessions: "one" and "two" live, and "gone" has ended."""

    def __init__(self) -> None:
        self.store = MemoryStore(ManualClock())
        for session_id in ("one", "two", "gone"):
            self.store.do(OpenSession(session_id, client={}, lease_us=1_000_000))
        self.store.do(EndSession("gone"))

    def add(
        self,
        run_id: str,
        parent_id: str | None = None,
        *,
        session: str | None = "one",
        state: StateType = S.RUNNING,
        kind: int | None = None,
        **fields: Any,
    ) -> Run:
        parent = self.store.data.runs.get(parent_id or "")
        run = Run(
            id=run_id,
            kind=kind or (TASK if parent else FLOW),
            function_name="f",
            run_name="",
            parent_run_id=parent_id,
            root_run_id=parent.root_run_id if parent else run_id,
            flow_run_id=None,
            tags=(),
            parameters=None,
            trace=None,
            version="",
            created_us=1,
            state=a_state(state),
            session_id=session,
            **fields,
        )
        self.store.data.runs[run_id] = run
        return run

    def state(self, run_id: str) -> int:
        return self.store.data.runs[run_id].state.type

    def cancel(self, run_id: str, reason: str = "enough") -> tuple[CancelBegun, Asked]:
        run = self.store.data.runs[run_id]
        begun = self.store.do(BeginCancel(run.kind, run_id, reason))
        return begun, self.store.do(CancelBelow(run_id)) if begun.goes_on else Asked()

    def commands(self) -> set[tuple[str, str]]:
        """Return the sessions and the runs of the open commands."""
        found = self.store.data.commands.values()
        return {(each.session_id, each.run_id) for each in found if each.done_us is None}

    def is_refused(self, parent_id: str, session_id: str | None) -> bool:
        return self.store.do(_Ask(parent_id, session_id))


class _Ask:
    """Ask whether a run may be created below another one."""

    run_ids = ()
    weight = 1

    def __init__(self, parent_id: str, session_id: str | None) -> None:
        self.parent_id, self.session_id = parent_id, session_id

    def __call__(self, uow: Any) -> bool:
        return is_refused_below(uow, uow.runs.get(self.parent_id), self.session_id)


@pytest.fixture
def trees() -> Trees:
    return Trees()


def test_each_session_is_asked_to_stop_its_topmost_runs(trees: Trees) -> None:
    trees.add("a")
    trees.add("b", "a")
    trees.add("c", "b", session="two")
    trees.add("d", "c", session="two")
    trees.add("e", "d")
    begun, below = trees.cancel("a", "far too slow")
    assert (begun.verdict.kind, begun.goes_on) == (VerdictKind.ACCEPTED, True)
    assert begun.asked.run_count + below.run_count == 3
    assert trees.commands() == {("one", "a"), ("two", "c"), ("one", "e")}
    states = [trees.state(each) for each in "abcde"]
    assert states == [S.CANCELLING, S.RUNNING, S.CANCELLING, S.RUNNING, S.CANCELLING]
    assert {each.reason for each in trees.store.data.commands.values()} == {"far too slow"}


@pytest.mark.parametrize("session", [None, "gone", "forgotten"])
def test_runs_without_a_live_process_are_cancelled_at_once(
    trees: Trees, session: str | None
) -> None:
    trees.add("a", session=session, state=S.SCHEDULED)
    trees.add("b", "a", session=session)
    trees.add("c", "b", session=session, state=S.PAUSED)
    begun, below = trees.cancel("a")
    assert begun.asked.run_count == below.run_count == 0
    assert [trees.state(each) for each in "abc"] == [S.CANCELLED] * 3
    assert trees.commands() == set()


def test_a_run_that_has_ended_is_not_cancelled(trees: Trees) -> None:
    trees.add("a", state=S.COMPLETED)
    trees.add("b", "a", session="two")
    begun, _ = trees.cancel("a")
    assert (begun.verdict.kind, begun.verdict.rule) == (VerdictKind.REJECTED, "terminal_is_final")
    assert (begun.goes_on, trees.state("b")) == (False, S.RUNNING)
    assert trees.store.data.cancellations == {}


@pytest.mark.parametrize(("kind", "run_id"), [(TASK, "a"), (FLOW, "b"), (FLOW, "doomed")])
def test_an_unknown_run_is_not_found(trees: Trees, kind: int, run_id: str) -> None:
    trees.add("a")
    trees.add("doomed")
    trees.store.data.deletions.add("doomed")
    with pytest.raises(NotFoundError):
        trees.store.do(BeginCancel(kind, run_id, "enough"))


def test_asking_again_asks_the_same_sessions(trees: Trees) -> None:
    trees.add("a")
    trees.add("b", "a", session="two")
    trees.cancel("a")
    before = len(trees.store.data.history)
    begun, below = trees.cancel("a", "once more")
    assert (begun.verdict.kind, begun.verdict.rule) == (VerdictKind.DUPLICATE, "same_again")
    assert begun.asked.run_count + below.run_count == 2
    assert len(trees.store.data.history) == before


def test_a_cancelled_run_whose_answer_was_lost_asks_below_again(trees: Trees) -> None:
    trees.add("a", session=None)
    trees.add("b", "a", session="two")
    trees.store.do(BeginCancel(FLOW, "a", "enough"))  # the service died before it went on
    assert trees.state("a") == S.CANCELLED
    begun, below = trees.cancel("a")
    assert (begun.goes_on, below.run_count) == (True, 1)
    assert trees.commands() == {("two", "b")}


def test_a_large_tree_takes_several_transactions(trees: Trees) -> None:
    trees.add("a")
    below = [f"b{number}" for number in range(5)]
    for each in below:
        trees.add(each, "a", session="two")
    trees.store.do(BeginCancel(FLOW, "a", "enough"))
    trees.store.is_spent = True
    answer: Any = trees.store.do_once(CancelBelow("a"))
    counts = []
    while isinstance(answer, Unfinished):
        counts.append(sum(trees.state(each) == S.CANCELLING for each in below))
        assert not trees.store.data.cancellations["a"][1]
        answer = trees.store.do_once(answer.rest)
    assert answer.run_count == 5
    assert counts[:5] == [1, 2, 3, 4, 5]
    assert trees.store.data.cancellations["a"][1]
    # Another process that continues the same work finds it done.
    assert trees.store.do(CancelBelow("a")).run_count == 0


def test_a_deletion_in_between_ends_the_work(trees: Trees) -> None:
    trees.add("a")
    trees.add("b", "a", session="two")
    trees.store.do(BeginCancel(FLOW, "a", "enough"))
    trees.store.data.cancellations.clear()  # a deletion removes them with the run
    assert trees.store.do(CancelBelow("a")).run_count == 0
    assert trees.state("b") == S.RUNNING


def test_it_is_remembered_until_all_runs_have_ended(trees: Trees) -> None:
    trees.add("a")
    trees.add("b", "a", session="two")
    trees.cancel("a")
    trees.store.data.runs["a"].state = a_state(S.CANCELLED)
    assert trees.store.do(ForgetCancellation("a")) is False
    assert "a" in trees.store.data.cancellations
    trees.store.data.runs["b"].state = a_state(S.COMPLETED)
    assert trees.store.do(ForgetCancellation("a")) is True
    assert trees.store.data.cancellations == {}


REFUSALS = {
    "a running parent": (S.RUNNING, "two", {}, False),
    "another's cancelling parent": (S.CANCELLING, "two", {}, True),
    "its own cancelling parent": (S.CANCELLING, "one", {}, False),
    "another's cancelled parent": (S.CANCELLED, "two", {"cause": Cause.REPORTED}, True),
    "its own parent, which it cancelled": (S.CANCELLED, "one", {"cause": Cause.REPORTED}, False),
    "its own parent, which others did": (S.CANCELLED, "one", {"cause": Cause.REQUESTED}, True),
    "a completed parent": (S.COMPLETED, "two", {}, False),
    "a parent without a session": (S.CANCELLING, None, {}, True),
}


@pytest.mark.parametrize("case", sorted(REFUSALS))
def test_a_run_below_a_cancelled_one_is_refused(trees: Trees, case: str) -> None:
    state, session, fields, expected = REFUSALS[case]
    trees.add("a", state=state, session=session, **fields)
    assert trees.is_refused("a", "one") is expected
    # A request has no session that could stop the run.
    assert trees.is_refused("a", None) is (state in (S.CANCELLING, S.CANCELLED))


def test_a_cancelled_run_further_up_counts_below_ended_ones(trees: Trees) -> None:
    trees.add("a", state=S.CANCELLED, cause=Cause.REPORTED)
    trees.add("b", "a", session="two", state=S.COMPLETED)
    trees.add("c", "b", session="two", state=S.FAILED)
    assert trees.is_refused("c", "two") is True
    assert trees.is_refused("c", "one") is False


def test_below_an_open_run_only_the_cancellation_of_a_tree_counts(trees: Trees) -> None:
    trees.add("a", state=S.CANCELLING)
    trees.add("b", "a", session="two")
    assert trees.is_refused("b", "third") is False
    trees.cancel("a")
    trees.add("c", "a")
    assert trees.is_refused("c", "third") is True
    assert trees.is_refused("c", "one") is False


def test_runs_that_call_each_other_end_the_search(trees: Trees) -> None:
    trees.add("a", state=S.COMPLETED)
    trees.add("b", "a", state=S.COMPLETED)
    trees.store.data.runs["a"].parent_run_id = "b"
    assert trees.is_refused("a", "two") is False
