"""Every arrow of docs/states.md, one by one."""

from __future__ import annotations

import itertools

import pytest

from flowspan_service.domain.rules import transitions as rules
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import DEFAULT_NAMES, TERMINAL_TYPES, Cause, State, StateType
from flowspan_service.domain.verdicts import VerdictKind

S = StateType

# Read from row to column, within one attempt. x: allowed. =: the same type again, with another time
# or name. -: rejected (order_of_types). c: rejected, since the run is being cancelled
# (cancelling_only_ends). f: rejected, since the run has ended (terminal_is_final).
TABLE = """
            SCHEDULED PENDING RUNNING PAUSED CANCELLING COMPLETED FAILED CANCELLED CRASHED
SCHEDULED   =         x       x       x      x          x         x      x         x
PENDING     x         =       x       x      x          x         x      x         x
RUNNING     x         -       =       x      x          x         x      x         x
PAUSED      x         x       x       -      x          x         x      x         x
CANCELLING  c         c       c       c      c          x         x      x         x
COMPLETED   f         f       f       f      f          f         f      f         f
FAILED      f         f       f       f      f          f         f      f         f
CANCELLED   f         f       f       f      f          f         f      f         f
CRASHED     f         f       f       f      f          f         f      f         f
"""
MARKS = {
    "x": None,
    "=": None,
    "-": "order_of_types",
    "c": "cancelling_only_ends",
    "f": "terminal_is_final",
}
TRIED_AGAIN = {S.SCHEDULED, S.PENDING, S.RUNNING, S.PAUSED, S.FAILED, S.CRASHED}
BEGINS_ANEW = {S.SCHEDULED, S.PENDING, S.RUNNING}
PAIRS = list(itertools.product(S, S))


def arrows() -> list[tuple[StateType, StateType, str | None]]:
    header, *rows = TABLE.strip().splitlines()
    columns = [S[name] for name in header.split()]
    found = []
    for row in rows:
        name, *marks = row.split()
        found += [
            (S[name], column, MARKS[mark]) for column, mark in zip(columns, marks, strict=True)
        ]
    return found


def state(kind: int, *, time_us: int = 2_000, name: str = "") -> State:
    return State(type=kind, name=name or DEFAULT_NAMES[kind], message="", time_us=time_us)


def run(now: State, *, attempt: int = 2, cause: int = Cause.REPORTED) -> Run:
    return Run(
        id="0190a000-0000-7000-8000-000000000001",
        kind=RunKind.TASK,
        function_name="f",
        run_name="",
        parent_run_id=None,
        root_run_id="0190a000-0000-7000-8000-000000000001",
        flow_run_id=None,
        tags=(),
        parameters=None,
        trace=None,
        version="",
        created_us=500,
        state=now,
        attempt=attempt,
        cause=cause,
    )


def decide(
    now: State, wanted: State, *, attempt: int = 2, cause: int = Cause.REPORTED, was: int = 1
) -> rules.Objection | None:
    return rules.decide(run(now, cause=was), rules.ProposedTransition(wanted, attempt, cause))


def test_table_is_complete():
    assert sorted((old, new) for old, new, _ in arrows()) == sorted(PAIRS)


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize(("old", "new", "rule"), arrows())
def test_within_an_attempt(old: StateType, new: StateType, rule: str | None, cause: Cause):
    objection = decide(state(old, name="Old"), state(new, time_us=3_000, name="New"), cause=cause)
    if rule is None:
        assert objection is None
    else:
        assert objection is not None
        assert (objection.kind, objection.rule) == (VerdictKind.REJECTED, rule)
        assert objection.reason.endswith(".")


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_an_older_attempt_is_fenced(old: StateType, new: StateType, cause: Cause):
    objection = decide(state(old), state(new), attempt=1, cause=cause)
    assert objection is not None
    assert (objection.kind, objection.rule) == (VerdictKind.ABORT, "older_attempt_is_fenced")
    assert "1" in objection.reason
    assert "2" in objection.reason


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_next_attempt_starts_fresh(old: StateType, new: StateType):
    objection = decide(state(old), state(new), attempt=3)
    if old in TRIED_AGAIN and new in BEGINS_ANEW:
        assert objection is None
    else:
        assert objection is not None
        assert objection.kind == VerdictKind.REJECTED
        assert objection.rule == "newer_attempt_starts_fresh"


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_no_attempt_is_skipped(old: StateType, new: StateType):
    objection = decide(state(old), state(new), attempt=4)
    assert objection is not None
    assert objection.rule == "newer_attempt_starts_fresh"
    assert "increase by one" in objection.reason


@pytest.mark.parametrize("kind", S)
def test_the_same_state_again_is_a_duplicate(kind: StateType):
    objection = decide(state(kind), state(kind))
    assert objection is not None
    assert (objection.kind, objection.rule) == (VerdictKind.DUPLICATE, "same_again")


@pytest.mark.parametrize("kind", S)
def test_asking_for_the_state_that_it_is_in_is_a_duplicate_at_any_time(kind: StateType):
    objection = decide(state(kind), state(kind, time_us=9_000), cause=Cause.REQUESTED)
    assert objection is not None
    assert objection.kind == VerdictKind.DUPLICATE


@pytest.mark.parametrize("new", S)
def test_silence_is_overruled_by_a_report(new: StateType):
    wanted = state(new, time_us=3_000)
    assert decide(state(S.CRASHED), wanted, was=Cause.SESSION_LOST) is None


@pytest.mark.parametrize("cause", [Cause.REQUESTED, Cause.SESSION_LOST])
@pytest.mark.parametrize("new", S)
def test_silence_is_overruled_by_nothing_else(new: StateType, cause: Cause):
    wanted = state(new, time_us=3_000, name="New")
    objection = decide(state(S.CRASHED), wanted, was=Cause.SESSION_LOST, cause=cause)
    assert objection is not None
    assert objection.rule == "terminal_is_final"


def test_silence_does_not_bring_an_older_attempt_back():
    objection = decide(state(S.CRASHED), state(S.COMPLETED), attempt=1, was=Cause.SESSION_LOST)
    assert objection is not None
    assert objection.kind == VerdictKind.ABORT


def test_a_report_of_crashed_is_final():
    objection = decide(state(S.CRASHED), state(S.COMPLETED, time_us=3_000), was=Cause.REPORTED)
    assert objection is not None
    assert objection.rule == "terminal_is_final"


def test_what_completed_may_be_rolled_back_once():
    rolled_back = state(S.COMPLETED, name="RolledBack", time_us=3_000)
    assert decide(state(S.COMPLETED), rolled_back) is None
    assert decide(state(S.COMPLETED, name="Cached"), rolled_back) is None
    for later in (state(S.COMPLETED, time_us=4_000), state(S.COMPLETED, name="RolledBack")):
        objection = decide(rolled_back, later)
        assert objection is not None
        assert objection.rule == "terminal_is_final"


@pytest.mark.parametrize("old", TERMINAL_TYPES - {S.COMPLETED})
def test_nothing_else_is_rolled_back(old: StateType):
    objection = decide(state(old), state(S.COMPLETED, name="RolledBack", time_us=3_000))
    assert objection is not None
    assert objection.rule == "terminal_is_final"


def test_only_its_process_says_that_it_was_rolled_back():
    rolled_back = state(S.COMPLETED, name="RolledBack", time_us=3_000)
    for options in ({"cause": Cause.REQUESTED}, {"attempt": 3}, {"attempt": 1}):
        assert decide(state(S.COMPLETED), rolled_back, **options) is not None


@pytest.mark.parametrize(("old", "new", "rule"), arrows())
def test_the_short_way_and_the_rules_agree(old: StateType, new: StateType, rule: str | None):
    subject = run(state(old))
    proposed = rules.ProposedTransition(state(new, time_us=3_000), 2, Cause.REPORTED)
    objections = [found for ask in rules.RULES if (found := ask(subject, proposed)) is not None]
    decided = rules.decide(subject, proposed)
    assert decided == (objections[0] if objections else None)
    assert (decided.rule if decided else None) == rule


def test_each_rule_answers_under_its_own_name():
    assert len({rule.__name__ for rule in rules.RULES}) == len(rules.RULES)
    heard = {
        objection.rule: rule.__name__
        for rule in rules.RULES
        for old, new in PAIRS
        for attempt in (1, 2, 3)
        if (
            objection := rule(
                run(state(old)), rules.ProposedTransition(state(new), attempt, Cause.REPORTED)
            )
        )
    }
    assert heard == {rule.__name__: rule.__name__ for rule in rules.RULES}


@pytest.mark.parametrize("kind", S)
def test_enter_keeps_the_first_start(kind: StateType):
    subject = run(state(S.PENDING, time_us=1_000))
    rules.enter(
        subject, rules.ProposedTransition(state(S.RUNNING, time_us=1_500), 2, Cause.REPORTED)
    )
    rules.enter(subject, rules.ProposedTransition(state(kind, time_us=1_700), 2, Cause.REPORTED))
    rules.enter(
        subject, rules.ProposedTransition(state(S.RUNNING, time_us=9_000), 3, Cause.REPORTED)
    )
    assert subject.started_us == 1_500
    assert subject.transition_count == 4
    assert subject.attempt == 3


@pytest.mark.parametrize("kind", S)
def test_enter_sets_the_end_with_terminal_states_only(kind: StateType):
    subject = run(state(S.RUNNING, time_us=1_000))
    rules.enter(subject, rules.ProposedTransition(state(kind, time_us=1_700), 2, Cause.REPORTED))
    assert subject.ended_us == (1_700 if kind in TERMINAL_TYPES else None)
    assert subject.state.type == kind
    assert subject.cause == Cause.REPORTED


def test_enter_takes_the_end_back_when_the_run_goes_on():
    subject = run(state(S.RUNNING, time_us=1_000))
    rules.enter(
        subject, rules.ProposedTransition(state(S.CRASHED, time_us=1_700), 2, Cause.SESSION_LOST)
    )
    assert (subject.ended_us, subject.cause) == (1_700, Cause.SESSION_LOST)
    rules.enter(
        subject, rules.ProposedTransition(state(S.RUNNING, time_us=2_000), 2, Cause.REPORTED)
    )
    assert (subject.ended_us, subject.cause) == (None, Cause.REPORTED)


def test_enter_adds_up_the_time_in_running():
    subject = run(state(S.PENDING, time_us=1_000))
    steps = [(S.RUNNING, 1_100, 2), (S.PAUSED, 1_300, 2), (S.RUNNING, 5_000, 2)]
    steps += [(S.FAILED, 5_050, 2), (S.RUNNING, 6_000, 3), (S.COMPLETED, 6_007, 3)]
    for kind, time_us, attempt in steps:
        rules.enter(
            subject, rules.ProposedTransition(state(kind, time_us=time_us), attempt, Cause.REPORTED)
        )
    assert subject.run_duration_us == 200 + 50 + 7


def test_enter_counts_the_time_in_which_a_run_is_being_cancelled_once_it_has_run():
    subject = run(state(S.PENDING, time_us=1_000))
    steps = [(S.RUNNING, 1_100), (S.CANCELLING, 1_300), (S.CANCELLED, 1_350)]
    for kind, time_us in steps:
        rules.enter(
            subject, rules.ProposedTransition(state(kind, time_us=time_us), 2, Cause.REPORTED)
        )
    assert subject.run_duration_us == 200 + 50

    never_ran = run(state(S.PENDING, time_us=1_000))
    for kind, time_us in [(S.CANCELLING, 1_300), (S.CANCELLED, 1_350)]:
        rules.enter(
            never_ran, rules.ProposedTransition(state(kind, time_us=time_us), 2, Cause.REPORTED)
        )
    assert never_ran.run_duration_us == 0


def test_enter_survives_a_clock_that_goes_back():
    subject = run(state(S.RUNNING, time_us=5_000))
    rules.enter(
        subject, rules.ProposedTransition(state(S.COMPLETED, time_us=4_000), 2, Cause.REPORTED)
    )
    assert subject.run_duration_us == 0
    assert subject.ended_us == 4_000


def test_run_duration_has_a_bound_that_the_wire_and_the_database_can_carry() -> None:
    """The times come from the reporter: they may jump between 1970 and 9999 any number of times."""
    last_us = 253_402_300_799_999_999
    subject = run(state(S.RUNNING, time_us=0))
    for _ in range(100):
        rules.enter(
            subject,
            rules.ProposedTransition(state(S.SCHEDULED, time_us=last_us), 2, Cause.REPORTED),
        )
        rules.enter(
            subject, rules.ProposedTransition(state(S.RUNNING, time_us=0), 2, Cause.REPORTED)
        )
    assert subject.run_duration_us == rules.MAX_DURATION_US < 2**63
