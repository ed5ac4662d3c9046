"""The rules about owners of runs."""

from __future__ import annotations

import pytest

from flowspan_service.domain.rules.ownership import (
    ANOTHER_SESSION_HAS_IT,
    decide_of_other_session,
    is_alive,
    may_claim,
    takes_over,
)
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.sessions import Session, SessionStatus
from flowspan_service.domain.states import State, StateType
from flowspan_service.domain.verdicts import Objection, VerdictKind

S = StateType


def a_run(session_id: str | None, kind: StateType = S.RUNNING) -> Run:
    state = State(kind, kind.name.capitalize(), "", 1)
    return Run("r", RunKind.TASK, "f", "", None, "r", None, (), None, None, "", 1, state,
               session_id=session_id)  # fmt: skip


def owner(status: SessionStatus, **client: str) -> Session:
    return Session("s", status, 0, 1, 1, 1, client=client)


def reporter(session_id: str, **client: str) -> Session:
    return Session(session_id, SessionStatus.OPEN, 0, 1, 1, 1, client=client)


OTHER = reporter("other")


@pytest.mark.parametrize("status", SessionStatus)
def test_only_an_open_session_keeps_its_runs(status: SessionStatus) -> None:
    session = owner(status)
    lives = status == SessionStatus.OPEN
    assert is_alive(session) is lives
    assert may_claim(a_run("s"), OTHER, session) is not lives
    assert may_claim(a_run("s"), reporter("s"), session)


def test_a_run_without_a_session_or_with_a_forgotten_one_is_claimed() -> None:
    assert may_claim(a_run(None), OTHER, None)
    assert may_claim(a_run("gone"), OTHER, None)


def test_a_session_that_creates_the_run_again_takes_it_over_if_it_may() -> None:
    alive, lost = owner(SessionStatus.OPEN), owner(SessionStatus.LOST)
    assert not takes_over(a_run("s"), OTHER, alive)
    assert takes_over(a_run("s"), OTHER, lost)
    assert takes_over(a_run(None), OTHER, None)
    assert not takes_over(a_run("s"), reporter("s"), alive)
    assert not takes_over(a_run("s", S.COMPLETED), OTHER, lost)


def test_a_state_of_a_stranger_is_rejected_unless_an_abort_tells_more() -> None:
    alive, lost = owner(SessionStatus.OPEN), owner(SessionStatus.LOST)
    run = a_run("s")
    duplicate = Objection(VerdictKind.DUPLICATE, "same_again", "")
    abort = Objection(VerdictKind.ABORT, "older_attempt_is_fenced", "")
    assert decide_of_other_session(None, run, OTHER, alive) is ANOTHER_SESSION_HAS_IT
    assert decide_of_other_session(duplicate, run, OTHER, alive) is ANOTHER_SESSION_HAS_IT
    assert decide_of_other_session(abort, run, OTHER, alive) is abort
    assert decide_of_other_session(None, run, OTHER, lost) is None
    assert decide_of_other_session(duplicate, run, OTHER, lost) is duplicate
    assert ANOTHER_SESSION_HAS_IT[:2] == (VerdictKind.REJECTED, "another_session_has_it")


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ({"hostname": "a", "process_id": "1"}, {"hostname": "a", "process_id": "1"}, True),
        ({"process_id": "1"}, {"process_id": "1"}, True),
        ({"hostname": "a", "process_id": "1"}, {"hostname": "b", "process_id": "1"}, False),
        ({"hostname": "a", "process_id": "1"}, {"hostname": "a", "process_id": "2"}, False),
        ({"hostname": "a"}, {"hostname": "a"}, False),
        ({}, {}, False),
    ],
)
def test_another_session_of_the_same_process_claims_its_runs(
    first: dict[str, str], second: dict[str, str], *, is_same: bool
) -> None:
    alive = owner(SessionStatus.OPEN, **first)
    assert may_claim(a_run("s"), reporter("other", **second), alive) is is_same
