"""States from the service and states of this process give the same answers."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from flowspan import State, exceptions
from flowspan.api import State as ToldState
from flowspan.api import StateType
from flowspan.core.state_types import StateQuestions


def ended_with(state: State | ToldState) -> Any:
    """Return the result or failure; for an open state, return the error that it raises."""
    try:
        return state.result(raise_on_failure=False)
    except exceptions.UnfinishedRun as error:
        assert not state.is_final()
        return error


@pytest.mark.parametrize("kind", [kind for kind in StateType if kind is not StateType.UNKNOWN])
def test_a_state_that_was_told_of_answers_like_one_of_this_process(kind: StateType) -> None:
    told, own = ToldState(type=kind, name=kind.name.title(), message="why"), State(kind, "", "why")
    questions = [name for name, _ in inspect.getmembers(StateQuestions, inspect.isfunction)]
    assert len(questions) > 8
    for question in questions:
        assert getattr(told, question)() == getattr(own, question)(), question
    if kind is not StateType.COMPLETED:
        mine, theirs = ended_with(own), ended_with(told)
        assert (type(mine), str(mine)) == (type(theirs), str(theirs))
        with pytest.raises(type(mine)):
            told.result()


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (StateType.FAILED, "TimedOut", exceptions.FailedRun),
        (StateType.CRASHED, "Crashed", exceptions.CrashedRun),
        (StateType.CANCELLED, "Cancelled", exceptions.CancelledRun),
        (StateType.CANCELLED, "NotReady", exceptions.UpstreamFailed),
        (StateType.PENDING, "NotReady", exceptions.UpstreamFailed),
        (StateType.RUNNING, "Retrying", exceptions.UnfinishedRun),
        (StateType.UNKNOWN, "Strange", exceptions.UnfinishedRun),
    ],
)
def test_what_stands_for_a_state_without_a_result(
    kind: StateType, name: str, error: type[BaseException]
) -> None:
    assert type(ended_with(ToldState(type=kind, name=name))) is error
    assert type(ended_with(State(kind, name))) is error
