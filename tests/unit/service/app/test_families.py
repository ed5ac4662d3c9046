"""The places of runs in their trees, and runs that arrive before their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.memory_store import ManualClock, MemoryStore
from tests.support.short_run_stories import a_short_run, a_state

from flowspan_service.app import families
from flowspan_service.app.cancellations import BeginCancel
from flowspan_service.app.event_records import NotUnderstood, ReportedEvent, run_ids_of
from flowspan_service.app.families import ForgetOrphans, MendFamilies
from flowspan_service.app.ports import Unfinished
from flowspan_service.app.reports import ApplyReport
from flowspan_service.app.runs import CreateRun, DeleteRun
from flowspan_service.app.sessions import OpenSession
from flowspan_service.domain.rules.transitions import ProposedTransition
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import Cause, StateType

if TYPE_CHECKING:
    from flowspan_service.app.report_outcomes import Applied

FLOW, TASK = RunKind.FLOW, RunKind.TASK
S = StateType


class Trees:
    """A store with two sessions, which report creations."""

    def __init__(self) -> None:
        self.store = MemoryStore(ManualClock())
        self.sequences = dict.fromkeys(("s", "other"), 1)
        for session_id in self.sequences:
            self.store.do(OpenSession(session_id, client={}, lease_us=1_000_000))

    def report(self, *events: ReportedEvent, session_id: str = "s") -> Applied:
        applied = self.store.do(
            ApplyReport(
                session_id,
                first_sequence=self.sequences[session_id],
                events=events,
                run_ids=run_ids_of(events),
            )
        )
        self.sequences[session_id] = applied.up_to_sequence + 1
        return applied

    def place(self, run_id: str) -> tuple[str, str | None]:
        run = self.store.data.runs[run_id]
        return run.root_run_id, run.flow_run_id

    def waiting(self) -> set[str]:
        return {child for _, child in self.store.data.orphans}


@pytest.fixture
def trees() -> Trees:
    return Trees()


def a_new(run_id: str, parent_id: str | None = None, kind: int = TASK, **values: Any) -> NewRun:
    short = a_short_run(run_id, parent_id=parent_id, kind=kind, **values)[1]
    return short.new  # type: ignore[union-attr, return-value] # a short run


def creation(run_id: str, parent_id: str | None = None, kind: int = TASK) -> ReportedEvent:
    return run_id, a_new(run_id, parent_id, kind)


def enters(run_id: str, kind: StateType) -> ReportedEvent:
    return run_id, ProposedTransition(a_state(kind, 2), 1, Cause.REPORTED)


def test_a_run_that_nobody_waits_for_costs_no_search(trees: Trees) -> None:
    trees.report(creation("top", kind=FLOW), creation("task", "top"))
    assert trees.place("task") == ("top", "top")
    assert trees.waiting() == set()


@pytest.mark.parametrize("parent_by", ["s", "other", "a request"])
def test_a_run_and_all_below_get_their_places_when_the_parent_arrives(
    trees: Trees, parent_by: str
) -> None:
    trees.report(creation("task", "flow"), creation("flow-below", "task", FLOW))
    trees.report(creation("task-below", "flow-below"))
    assert trees.place("task-below") == ("flow", "flow-below")  # as the client said
    if parent_by == "a request":
        trees.store.do(CreateRun(a_new("flow", "top", FLOW)))
    else:
        trees.report(creation("flow", "top", FLOW), session_id=parent_by)
    assert trees.waiting() == {"flow"}
    trees.report(creation("top", kind=FLOW))
    assert trees.waiting() == set()
    assert {run_id: trees.place(run_id) for run_id in sorted(trees.store.data.runs)} == {
        "flow": ("top", None),
        "flow-below": ("top", None),
        "task": ("top", "flow"),
        "task-below": ("top", "flow-below"),
        "top": ("top", None),
    }


@pytest.mark.parametrize(
    ("refused", "rule"),
    [
        (
            ("top", a_short_run("top")[1]._replace(new=NotUnderstood("kind_is_known", "?"))),  # type: ignore[union-attr] # a short run
            "kind_is_known",
        ),
        (("top", a_new("top", kind=FLOW, first=S.RUNNING)), "starts_scheduled_or_pending"),
        (a_short_run("top", kind=FLOW, first=S.RUNNING), "starts_scheduled_or_pending"),
        (("top", a_new("top", "gone", FLOW)), "run_was_deleted"),
    ],
)
def test_a_refused_creation_is_no_arrival(trees: Trees, refused: ReportedEvent, rule: str) -> None:
    trees.store.data.deleted.add("gone")
    trees.report(creation("task", "top"))
    assert [each.rule for each in trees.report(refused).verdicts] == [rule]
    assert trees.waiting() == {"task"}
    assert trees.place("task") == ("top", None)
    trees.report(creation("top", kind=FLOW))
    assert trees.waiting() == set()
    assert trees.place("task") == ("top", "top")


def test_a_deleted_run_waits_no_longer(trees: Trees) -> None:
    trees.report(creation("flow", "top", FLOW), creation("task", "top"))
    trees.store.do(DeleteRun("flow", force=True))
    trees.report(creation("top", kind=FLOW))
    assert trees.waiting() == set()
    assert trees.place("task") == ("top", "top")


def test_runs_that_call_each_other_end_the_search(trees: Trees) -> None:
    """No program does it, but a client may say so."""
    trees.report(creation("a", "b"), creation("b", "a"), creation("c", "c"))
    assert trees.waiting() == set()


def test_a_run_below_a_cancelled_one_is_cancelled_when_its_parent_arrives(trees: Trees) -> None:
    trees.report(creation("top", kind=FLOW), enters("top", S.RUNNING))
    trees.report(creation("task", "late"), enters("task", S.RUNNING), session_id="other")
    trees.store.do(BeginCancel(FLOW, "top", "enough"))
    trees.report(creation("late", "top", FLOW))  # by the session of the cancelled run
    run = trees.store.data.runs["task"]
    assert (run.state.type, trees.place("task")) == (S.CANCELLING, ("top", "late"))
    assert {each.run_id for each in trees.store.data.commands.values()} == {"top", "task"}


def test_a_run_that_waits_for_a_refused_parent_is_cancelled(trees: Trees) -> None:
    trees.report(creation("top", kind=FLOW), enters("top", S.RUNNING))
    trees.report(creation("task", "late"), enters("task", S.RUNNING))
    trees.store.do(BeginCancel(FLOW, "top", "enough"))
    refused = trees.report(creation("late", "top", FLOW), session_id="other")
    assert [each.rule for each in refused.verdicts] == ["parent_is_cancelled"]
    assert trees.store.data.runs["task"].state.type == S.CANCELLING


def test_a_run_that_arrives_after_the_refusal_of_its_parent_is_refused(trees: Trees) -> None:
    trees.report(creation("top", kind=FLOW), enters("top", S.RUNNING))
    trees.store.do(BeginCancel(FLOW, "top", "enough"))
    trees.report(creation("late", "top", FLOW), session_id="other")
    # The program that the refused run called reports in a session of its own.
    refused = trees.report(creation("below", "late", FLOW), enters("below", S.RUNNING))
    assert [each.rule for each in refused.verdicts] == ["parent_is_cancelled"] * 2
    assert "below" not in trees.store.data.runs
    assert trees.waiting() == set()


def test_a_large_family_takes_several_transactions(
    monkeypatch: pytest.MonkeyPatch, trees: Trees
) -> None:
    monkeypatch.setattr(families, "ADOPTED_AT_ONCE", 2)
    children = [f"child-{number}" for number in range(7)]
    trees.report(*(creation(each, "top") for each in children))
    trees.store.data.runs["top"] = a_new("top", kind=FLOW).make(
        cause=Cause.REPORTED, session_id="s"
    )
    trees.store.is_spent = True
    outcome: Any = trees.store.do_once(MendFamilies(["top"], "outcome", session_id="s"))
    pieces = 1
    while isinstance(outcome, Unfinished):
        assert outcome.session_id == "s"
        outcome = trees.store.do_once(outcome.rest)
        pieces += 1
    assert (outcome, pieces >= 4) == ("outcome", True)
    assert {trees.place(each) for each in children} == {("top", "top")}


def test_parents_that_never_come_are_forgotten(trees: Trees) -> None:
    trees.report(creation("old", "never"))
    trees.store.clock.advance(100)
    trees.report(creation("young", "never"))
    assert trees.store.do(ForgetOrphans(kept_us=50_000_000)) == 1
    assert trees.waiting() == {"young"}
