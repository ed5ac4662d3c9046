"""The rules of creations."""

from __future__ import annotations

import pytest

from flowspan_service.domain.rules.creation import (
    decide_creation,
    decide_repeated_creation,
)
from flowspan_service.domain.runs import Definition, NewRun, RunDetails, RunKind, TraceContext
from flowspan_service.domain.states import Cause, State, StateType
from flowspan_service.domain.verdicts import VerdictKind

S = StateType


def a_creation(kind: StateType = S.PENDING) -> NewRun:
    state = State(kind, kind.name.capitalize(), "", 1)
    return NewRun("r", RunKind.TASK, "f", "f-1", None, "r", None, (), None, None, "", 1, state)


@pytest.mark.parametrize("kind", StateType)
def test_a_run_begins_scheduled_or_pending(kind: StateType):
    objection = decide_creation(a_creation(kind))
    if kind in {S.SCHEDULED, S.PENDING}:
        assert objection is None
    else:
        assert objection is not None
        assert objection[:2] == (VerdictKind.REJECTED, "starts_scheduled_or_pending")


def test_a_repeated_creation_agrees_or_is_refused():
    run = a_creation().make(cause=Cause.REPORTED, session_id="s")
    later = a_creation()._replace(created_us=7)
    assert decide_repeated_creation(run, later)[:2] == (VerdictKind.DUPLICATE, "creation_agrees")
    other = a_creation()._replace(run_name="other")
    assert decide_repeated_creation(run, other)[:2] == (VerdictKind.ABORT, "creation_agrees")


LOAD, OTHER = Definition(b"1", b"load"), Definition(b"2", b"other")
LABELS = RunDetails(labels={"team": "data"})


@pytest.mark.parametrize(
    ("stored", "repeated", "agrees"),
    [
        (None, None, True),
        (RunDetails(LOAD, b"in"), RunDetails(LOAD, b"in"), True),
        (RunDetails(LOAD, b"in"), RunDetails(OTHER, b"in"), False),
        (RunDetails(LOAD, b"in"), RunDetails(LOAD, b"other"), False),
        (RunDetails(LOAD, b"in"), RunDetails(LOAD), False),
        (RunDetails(LOAD), RunDetails(LOAD, b"in"), False),
        # An older client sends none of it, and an older service has stored none.
        (RunDetails(LOAD, b"in"), None, True),
        (RunDetails(LOAD, b"in"), LABELS, True),
        (None, RunDetails(LOAD, b"in"), True),
        (LABELS, RunDetails(LOAD, b"in"), True),
        # Labels may have changed since.
        (LABELS, None, True),
        (RunDetails(LOAD), RunDetails(LOAD, labels={"team": "web"}), True),
    ],
)
def test_details_agree(
    stored: RunDetails | None, repeated: RunDetails | None, *, agrees: bool
) -> None:
    run = a_creation()._replace(details=stored).make(cause=Cause.REPORTED, session_id="s")
    assert run.details == stored
    assert a_creation()._replace(details=repeated).agrees_with(run) is agrees


def test_the_trace_is_not_part_of_the_comparison():
    run = a_creation().make(cause=Cause.REPORTED, session_id="s")
    traced = a_creation()._replace(trace=TraceContext("00-1-2-03"))
    assert decide_repeated_creation(run, traced).kind == VerdictKind.DUPLICATE


def test_the_place_is_compared_only_if_the_service_does_not_derive_it():
    below = a_creation()._replace(parent_run_id="p")
    run = below.make(cause=Cause.REPORTED, session_id="s")
    moved = below._replace(root_run_id="other", flow_run_id="other")
    assert decide_repeated_creation(run, moved).kind == VerdictKind.DUPLICATE
    run = a_creation().make(cause=Cause.REPORTED, session_id="s")
    moved = a_creation()._replace(root_run_id="other")
    assert decide_repeated_creation(run, moved).kind == VerdictKind.ABORT
