"""The effects of transitions: what follows from a state, as data."""

from __future__ import annotations

import pytest

from flowspan_service.domain.commands import CommandKind
from flowspan_service.domain.effects import (
    NO_EFFECTS,
    FinishCommands,
    IssueCommand,
    MoveCommands,
    effects_of_request,
    effects_of_takeover,
)
from flowspan_service.domain.rules.transitions import (
    ProposedTransition,
    at_session_end,
    enter,
    requested_state,
)
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import Cause, State, StateType

S = StateType


def a_run(kind: StateType, *, session_id: str | None = "s") -> Run:
    state = State(kind, kind.name.capitalize(), "why", 100)
    fields = ("r", RunKind.FLOW, "f", "f-1", None, "r", None, (), None, None, "", 100)
    return Run(*fields, state, session_id=session_id)


def enters(run: Run, kind: StateType, cause: Cause):
    return enter(run, ProposedTransition(State(kind, kind.name, "stop", 200), 1, cause))


def test_an_ordinary_transition_has_no_effects():
    assert enters(a_run(S.PENDING), S.RUNNING, Cause.REPORTED) is NO_EFFECTS


def test_a_requested_cancellation_commands_the_owner():
    run = a_run(S.RUNNING)
    command = IssueCommand("r", 2, "s", CommandKind.CANCEL_RUN, "stop")
    assert enters(run, S.CANCELLING, Cause.REQUESTED) == (command,)
    assert effects_of_request(run) == (command,)


def test_a_cancellation_that_the_owner_reports_is_no_command():
    assert enters(a_run(S.RUNNING), S.CANCELLING, Cause.REPORTED) == NO_EFFECTS


def test_a_run_without_an_owner_gets_no_command():
    run = a_run(S.CANCELLING, session_id=None)
    assert effects_of_request(run) == NO_EFFECTS
    assert effects_of_takeover(run) == NO_EFFECTS


@pytest.mark.parametrize("cause", Cause)
def test_leaving_cancelling_finishes_the_commands(cause: Cause):
    assert enters(a_run(S.CANCELLING), S.CANCELLED, cause) == (FinishCommands("r"),)


def test_the_commands_follow_the_run_to_its_new_owner():
    assert effects_of_takeover(a_run(S.CANCELLING)) == (MoveCommands("r", "s"),)
    assert effects_of_takeover(a_run(S.RUNNING)) == NO_EFFECTS


@pytest.mark.parametrize("kind", [S.SCHEDULED, S.PENDING, S.RUNNING, S.PAUSED, S.CANCELLING])
def test_a_cancelled_run_without_a_live_session_ends_at_once(kind: StateType):
    asked = State(S.CANCELLING, "Cancelling", "", 0)
    meant = requested_state(a_run(kind), asked, now_us=150, is_executed=False)
    assert (meant.type, meant.name, meant.time_us) == (S.CANCELLED, "Cancelled", 150)
    meant = requested_state(a_run(kind), asked, now_us=50, is_executed=True)
    assert (meant.type, meant.name, meant.time_us) == (S.CANCELLING, "Cancelling", 100)
    assert asked.time_us == 0


def test_an_open_run_crashes_with_its_session_and_never_before_its_last_state():
    proposed = at_session_end(a_run(S.RUNNING), "gone", now_us=50)
    assert proposed.cause == Cause.SESSION_LOST
    assert (proposed.state.type, proposed.state.message) == (S.CRASHED, "gone")
    assert proposed.state.time_us == 100
