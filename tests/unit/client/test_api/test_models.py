"""States as the service tells of them answer what the process's own answer."""

from __future__ import annotations

import inspect

import pytest

from flowspan import State, exceptions
from flowspan.api import State as ToldState
from flowspan.api import StateType
from flowspan.core.state_types import StateQuestions


@pytest.mark.parametrize("kind", [kind for kind in StateType if kind is not StateType.UNKNOWN])
def test_a_state_that_was_told_of_answers_like_one_of_this_process(kind: StateType) -> None:
    told, own = ToldState(type=kind, name=kind.name.title(), message="why"), State(kind, "", "why")
    questions = [name for name, _ in inspect.getmembers(StateQuestions, inspect.isfunction)]
    assert len(questions) > 8
    for question in questions:
        assert getattr(told, question)() == getattr(own, question)(), question
    if kind is not StateType.COMPLETED:
        mine = own.result(raise_on_failure=False)
        theirs = told.result(raise_on_failure=False)
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
    assert type(ToldState(type=kind, name=name).result(raise_on_failure=False)) is error
    assert type(State(kind, name).result(raise_on_failure=False)) is error
