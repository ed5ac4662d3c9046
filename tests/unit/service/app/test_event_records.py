"""Short runs: one event has the effect of the three that it stands for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from tests.support.memory_store import ManualClock, MemoryStore
from tests.support.short_run_stories import Story, Telling, a_short_run, a_state

from flowspan_service.app import reports
from flowspan_service.app.cancellations import BeginCancel
from flowspan_service.app.event_records import (
    NotUnderstood,
    ReportedEvent,
    pieces_of,
    run_ids_of,
    sequence_count,
    without_first,
)
from flowspan_service.app.reports import ApplyReport, report_pieces
from flowspan_service.app.runs import CreateRun
from flowspan_service.app.sessions import EndSession, OpenSession
from flowspan_service.domain.rules.transitions import (
    ALLOWED,
    INITIAL_TYPES,
    ProposedTransition,
    decide,
    enter,
)
from flowspan_service.domain.runs import NewRun, RunKind
from flowspan_service.domain.states import TERMINAL_TYPES, Cause, StateType
from flowspan_service.domain.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from flowspan_service.app.report_outcomes import Applied

S = StateType
UNKNOWN: ReportedEvent = ("", NotUnderstood("event_is_known", "?"))


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(ManualClock())
    for session_id in ("s", "other"):
        store.do(OpenSession(session_id, client={}, lease_us=1_000_000))
    return store


def report(
    store: MemoryStore, first: int, *events: ReportedEvent, session_id: str = "s"
) -> Applied:
    return store.do(
        ApplyReport(session_id, first_sequence=first, events=events, run_ids=run_ids_of(events))
    )


def enters(run_id: str, kind: StateType, at: int = 2) -> ReportedEvent:
    return run_id, ProposedTransition(a_state(kind, at), 1, Cause.REPORTED)


def created(event: ReportedEvent) -> ReportedEvent:
    run_id, short = event
    return run_id, short.new  # type: ignore[union-attr] # a short run


def answers(verdicts: list[Verdict]) -> list[tuple[int, VerdictKind, str]]:
    return [(each.sequence, each.kind, each.rule) for each in verdicts]


def history(store: MemoryStore, run_id: str = "r") -> list[int]:
    return [each.state.type for each in store.transitions.of_run(run_id)]


def test_a_short_run_takes_three_sequences_and_makes_three_transitions(store: MemoryStore) -> None:
    applied = report(store, 1, a_short_run("r", times=(10, 20)), a_short_run("q"))
    assert (applied.up_to_sequence, applied.transition_count, applied.verdicts) == (6, 6, [])
    assert store.data.sessions["s"].last_sequence == 6
    assert history(store) == [S.PENDING, S.RUNNING, S.COMPLETED]
    run = store.data.runs["r"]
    assert (run.created_us, run.started_us, run.ended_us, run.run_duration_us) == (10, 20, 21, 1)
    assert (run.session_id, run.attempt, run.transition_count) == ("s", 1, 3)


@pytest.mark.parametrize(
    ("first", "ended"), list(itertools.product(sorted(INITIAL_TYPES), sorted(TERMINAL_TYPES)))
)
def test_no_rule_objects_to_the_states_of_a_new_run(first: StateType, ended: StateType) -> None:
    """The service relies on it: it does not ask the rules."""
    assert S.RUNNING in ALLOWED[first]
    assert ended in ALLOWED[S.RUNNING]
    _, short = a_short_run("r", first=first, ended=a_state(ended, 2))
    assert isinstance(short.new, NewRun)  # type: ignore[union-attr] # a short run
    run = short.new.make(cause=Cause.REPORTED, session_id="s")  # type: ignore[union-attr] # the same
    for proposed in short[1:]:  # type: ignore[index] # the same
        assert decide(run, proposed) is None
        assert enter(run, proposed) == ()


def test_a_resend_in_the_same_session_is_skipped(store: MemoryStore) -> None:
    events = [a_short_run("r"), a_short_run("q")]
    report(store, 1, *events)
    again = report(store, 1, *events, a_short_run("p"))
    assert (again.up_to_sequence, again.transition_count, again.verdicts) == (9, 3, [])


@pytest.mark.parametrize("stored", [1, 2, 3])
def test_a_resend_may_join_events_that_were_sent_apart(store: MemoryStore, stored: int) -> None:
    short = a_short_run("r")
    apart = [created(short), (short[0], short[1].running), (short[0], short[1].ended)]  # type: ignore[union-attr] # a short run
    report(store, 1, *apart[:stored])
    again = report(store, 1, short, UNKNOWN)
    assert (again.up_to_sequence, again.transition_count) == (4, 3 - stored)
    assert answers(again.verdicts) == [(4, VerdictKind.REJECTED, "event_is_known")]
    assert history(store) == [S.PENDING, S.RUNNING, S.COMPLETED]


def test_the_same_run_in_another_session_gets_the_answers_of_three_events(
    store: MemoryStore,
) -> None:
    report(store, 1, a_short_run("r"))
    store.do(EndSession("s"))
    again = report(store, 1, a_short_run("r"), UNKNOWN, session_id="other")
    assert answers(again.verdicts) == [
        (1, VerdictKind.DUPLICATE, "creation_agrees"),
        (2, VerdictKind.REJECTED, "terminal_is_final"),
        (3, VerdictKind.DUPLICATE, "same_again"),
        (4, VerdictKind.REJECTED, "event_is_known"),
    ]
    assert len(history(store)) == 3
    assert store.data.runs["r"].session_id == "s"


@pytest.mark.parametrize("stored", [1, 2, 3])
def test_a_run_of_another_live_session_is_left_to_it(store: MemoryStore, stored: int) -> None:
    short = a_short_run("r")
    apart = [created(short), (short[0], short[1].running), (short[0], short[1].ended)]  # type: ignore[union-attr] # a short run
    report(store, 1, *apart[:stored])
    again = report(store, 1, short, UNKNOWN, session_id="other")
    assert answers(again.verdicts) == [
        (1, VerdictKind.DUPLICATE, "creation_agrees"),
        (2, VerdictKind.REJECTED, "another_session_has_it"),
        (3, VerdictKind.REJECTED, "another_session_has_it"),
        (4, VerdictKind.REJECTED, "event_is_known"),
    ]
    assert (again.up_to_sequence, again.transition_count) == (4, 0)
    assert history(store) == [S.PENDING, S.RUNNING, S.COMPLETED][:stored]
    assert store.data.runs["r"].session_id == "s"


def test_a_run_that_was_only_created_continues(store: MemoryStore) -> None:
    short = a_short_run("r")
    report(store, 1, created(short))
    again = report(store, 2, short)
    assert answers(again.verdicts) == [(2, VerdictKind.DUPLICATE, "creation_agrees")]
    assert again.transition_count == 2
    assert history(store) == [S.PENDING, S.RUNNING, S.COMPLETED]


def test_a_requested_run_is_claimed(store: MemoryStore) -> None:
    short = a_short_run("r", kind=RunKind.FLOW)
    store.do(CreateRun(short[1].new))  # type: ignore[union-attr] # a short run
    assert store.data.runs["r"].session_id is None
    applied = report(store, 1, short)
    assert answers(applied.verdicts) == [(1, VerdictKind.DUPLICATE, "creation_agrees")]
    assert history(store) == [S.PENDING, S.RUNNING, S.COMPLETED]
    assert store.data.runs["r"].session_id == "s"


def test_the_end_of_a_run_that_is_being_cancelled_is_accepted(store: MemoryStore) -> None:
    short = a_short_run("r")
    report(store, 1, created(short), enters("r", S.RUNNING), enters("r", S.CANCELLING, 3))
    again = report(store, 4, short)
    assert answers(again.verdicts) == [
        (4, VerdictKind.DUPLICATE, "creation_agrees"),
        (5, VerdictKind.REJECTED, "cancelling_only_ends"),
    ]
    assert [verdict.state.type for verdict in again.verdicts if verdict.state] == [S.CANCELLING]
    assert history(store)[-1] == S.COMPLETED


def test_a_session_that_meant_another_run_is_fenced(store: MemoryStore) -> None:
    report(store, 1, created(a_short_run("r")))
    other = a_short_run("r", function_name="g")
    applied = report(store, 1, other, enters("r", S.RUNNING), session_id="other")
    assert answers(applied.verdicts) == [
        (1, VerdictKind.ABORT, "creation_agrees"),
        (4, VerdictKind.ABORT, "creation_agrees"),
    ]
    # Even if it says the right thing later, and in a report of its own.
    again = report(store, 5, a_short_run("r"), session_id="other")
    assert answers(again.verdicts) == [(5, VerdictKind.ABORT, "creation_agrees")]
    assert again.up_to_sequence == 7
    assert history(store) == [S.PENDING]


def test_no_short_run_begins_below_a_cancelled_one(store: MemoryStore) -> None:
    report(store, 1, created(a_short_run("top", kind=RunKind.FLOW)), enters("top", S.RUNNING))
    store.do(BeginCancel(RunKind.FLOW, "top", "enough"))
    below = a_short_run("r", parent_id="top")
    further = a_short_run("q", parent_id="r")
    applied = report(store, 1, below, further, enters("r", S.RUNNING), session_id="other")
    assert answers(applied.verdicts) == [
        (1, VerdictKind.ABORT, "parent_is_cancelled"),
        (4, VerdictKind.ABORT, "parent_is_cancelled"),
        (7, VerdictKind.ABORT, "parent_is_cancelled"),
    ]
    again = report(store, 8, below, a_short_run("p", parent_id="q"), session_id="other")
    assert {answer[1:] for answer in answers(again.verdicts)} == {
        (VerdictKind.ABORT, "parent_is_cancelled")
    }
    assert set(store.data.runs) == {"top"}
    # The session of the cancelled run may call tasks to clean up.
    assert report(store, 3, below).verdicts == []


def test_a_short_run_gets_its_place_from_its_parent(store: MemoryStore) -> None:
    """Also if the parent arrives later, and is itself below another run."""
    report(store, 1, a_short_run("r", parent_id="flow"), session_id="other")
    assert store.data.runs["r"].flow_run_id is None
    flow = a_short_run("flow", parent_id="top", kind=RunKind.FLOW)
    report(store, 1, created(a_short_run("top", kind=RunKind.FLOW)), flow)
    report(store, 4, a_short_run("q", parent_id="r"), session_id="other")
    runs = store.data.runs
    places = {each: (runs[each].root_run_id, runs[each].flow_run_id) for each in sorted(runs)}
    assert places == {
        "flow": ("top", None),
        "q": ("top", "flow"),
        "r": ("top", "flow"),
        "top": ("top", None),
    }


def test_children_wait_on_if_the_creation_of_their_parent_is_refused(store: MemoryStore) -> None:
    report(store, 1, a_short_run("r", parent_id="top"))
    refused = report(store, 4, a_short_run("top", first=S.RUNNING, kind=RunKind.FLOW))
    assert [each.rule for each in refused.verdicts] == ["starts_scheduled_or_pending"]
    assert store.data.runs["r"].flow_run_id is None
    report(store, 7, a_short_run("top", kind=RunKind.FLOW))
    assert store.data.runs["r"].flow_run_id == "top"


def test_a_run_that_was_declared_crashed_goes_on(store: MemoryStore) -> None:
    short = a_short_run("r")
    report(store, 1, created(short))
    store.do(EndSession("s"))
    assert history(store) == [S.PENDING, S.CRASHED]
    again = report(store, 1, short, session_id="other")
    assert answers(again.verdicts) == [(1, VerdictKind.DUPLICATE, "creation_agrees")]
    assert history(store) == [S.PENDING, S.CRASHED, S.RUNNING, S.COMPLETED]


@pytest.mark.parametrize(
    ("event", "kind", "rule"),
    [
        (a_short_run("r", function_name="g"), VerdictKind.ABORT, "creation_agrees"),
        (a_short_run("q", first=S.RUNNING), VerdictKind.REJECTED, "starts_scheduled_or_pending"),
        (a_short_run("q", parent_id="gone"), VerdictKind.ABORT, "run_was_deleted"),
        (a_short_run("doomed"), VerdictKind.ABORT, "run_was_deleted"),
        (
            ("q", a_short_run("q")[1]._replace(new=NotUnderstood("kind_is_known", "?"))),  # type: ignore[union-attr] # a short run
            VerdictKind.REJECTED,
            "kind_is_known",
        ),
        (
            ("r", a_short_run("r")[1]._replace(new=NotUnderstood("kind_is_known", "?"))),  # type: ignore[union-attr] # the same
            VerdictKind.REJECTED,
            "kind_is_known",
        ),
    ],
)
def test_without_its_creation_no_state_is_considered(
    store: MemoryStore, event: ReportedEvent, kind: VerdictKind, rule: str
) -> None:
    report(store, 1, created(a_short_run("r")), created(a_short_run("doomed")))
    store.data.deleted.add("gone")
    store.data.deletions.add("doomed")
    before = len(store.data.history)
    applied = report(store, 3, event, UNKNOWN)
    assert answers(applied.verdicts) == [
        (3, kind, rule),
        (6, VerdictKind.REJECTED, "event_is_known"),
    ]
    assert len(store.data.history) == before
    assert (applied.up_to_sequence, applied.transition_count) == (6, 0)


def test_pieces_keep_a_short_run_whole(monkeypatch: pytest.MonkeyPatch, store: MemoryStore) -> None:
    monkeypatch.setattr(reports, "PIECE_EVENTS", 4)
    events = [UNKNOWN, a_short_run("a"), a_short_run("b", parent_id="a"), UNKNOWN, UNKNOWN]
    pieces = report_pieces("s", first_sequence=1, events=events, run_ids=[], size_bytes=0)
    assert [(each.first_sequence, each.sequence_count) for each in pieces] == [
        (1, 4),
        (5, 4),
        (9, 1),
    ]
    assert [sorted(each.run_ids) for each in pieces] == [["a"], ["a", "b"], []]
    assert [each.weight for each in pieces] == [5, 5, 2]
    assert [store.do(each).up_to_sequence for each in pieces] == [4, 8, 9]


def test_a_piece_has_at_least_one_event() -> None:
    events = [a_short_run("a"), a_short_run("b")]
    assert [before for before, some in pieces_of(events, 3) if some] == [0, 3]
    assert sequence_count(events) == 6


@pytest.mark.parametrize("skipped", range(9))
def test_what_is_left_of_a_batch_takes_the_other_sequences(skipped: int) -> None:
    refused = ("r", a_short_run("r")[1]._replace(new=NotUnderstood("kind_is_known", "?")))  # type: ignore[union-attr] # a short run
    events: list[ReportedEvent] = [UNKNOWN, a_short_run("a"), refused, UNKNOWN]
    assert sequence_count(without_first(events, skipped)) == max(0, 8 - skipped)


@pytest.mark.parametrize("at_once", [1, 100])
@pytest.mark.parametrize("seed", range(20))
def test_random_stories_end_alike_as_one_event_or_as_three(seed: int, at_once: int) -> None:
    story = Story.invented(seed)
    apart = Telling(MemoryStore(ManualClock()), joined=False).tell(story)
    store = MemoryStore(ManualClock())
    store.events_at_once = at_once
    assert Telling(store, joined=True).tell(story) == apart


def test_the_stories_reach_every_verdict_that_a_short_run_can_have() -> None:
    rules = set()
    for seed in range(20):
        told = Telling(MemoryStore(ManualClock()), joined=True).tell(Story.invented(seed, steps=80))
        rules |= {verdict[4] for verdict in told["verdicts"] if len(verdict) > 2}
    assert rules >= {
        *("creation_agrees", "starts_scheduled_or_pending", "run_was_deleted", "same_again"),
        *("terminal_is_final", "cancelling_only_ends", "older_attempt_is_fenced"),
        *("another_session_has_it", "parent_is_cancelled"),
    }
