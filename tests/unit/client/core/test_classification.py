from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import states
from flowspan.core.classification import judge_value
from flowspan.core.states import ReturnedState
from flowspan.exceptions import CancelRun, CrashedRun, RunFailed, UnfinishedRun, UpstreamFailed

if TYPE_CHECKING:
    from flowspan.core.states import State


def judged(value: object) -> State:
    return judge_value(value, "run-1", 5, is_flow=True)


def given(value: object, *, is_flow: bool = True) -> Any:
    state = judge_value(value, "run-1", 5, is_flow=is_flow)
    return state.given() if isinstance(state, ReturnedState) else state.outcome()


@pytest.mark.parametrize("value", [None, 0, "text", [], [1, 2], {"a": [1]}, (1,), {1}, object()])
def test_a_plain_value_completes_and_is_the_result(value: object) -> None:
    state = judged(value)
    assert state.is_completed()
    assert state.result() is value


@pytest.mark.parametrize(
    "state",
    [
        states.Completed(name="Skipped", message="nothing new", data=3),
        states.Failed(message="bad data"),
        states.Cancelled(message="not today"),
        states.Crashed(message="gone"),
    ],
)
def test_a_returned_state_is_taken_as_it_is(state: State) -> None:
    end = judged(state)
    assert (end.type, end.name, end.message) == (state.type, state.name, state.message)
    assert (end.run_id, end.time_ns) == ("run-1", 5)


def test_a_returned_failed_state_with_an_exception_says_it() -> None:
    end = judged(states.Failed(data=ValueError("no")))
    assert end.message == "ValueError: no"
    assert end.failure is not None
    with pytest.raises(ValueError, match="no"):
        end.result()


def test_a_returned_failed_state_without_an_exception_raises_run_failed() -> None:
    with pytest.raises(RunFailed, match="bad data"):
        judged(states.Failed(message="bad data")).result()


@pytest.mark.parametrize("make", [states.Running, states.Pending, states.Scheduled, states.Paused])
def test_a_state_that_is_not_final_fails_the_run(make) -> None:
    end = judged(make())
    assert end.is_failed()
    assert "not a terminal state" in end.message


good, bad = states.Completed(data=1), states.Failed(message="bad")
failed, off = states.Failed(data=ValueError("no")), states.Cancelled(message="off")


@pytest.mark.parametrize(
    "value",
    [{"x": bad, "y": good}, [[good], {"z": (bad,)}], [1, bad], frozenset([bad]), {}, [[]]],
)
def test_states_among_anything_else_are_data(value: object) -> None:
    assert judged(value).result() is value
    assert given(value) is value


@pytest.mark.parametrize(
    ("value", "kind", "message", "error"),
    [
        ([good, good], "COMPLETED", "All states completed.", None),
        ((good,), "COMPLETED", "All states completed.", None),
        ([good, failed], "FAILED", "1/2 states failed.", ValueError),
        ((failed, bad), "FAILED", "2/2 states failed.", ValueError),
        ({failed}, "FAILED", "1/1 states failed.", ValueError),
        ([good, states.Crashed()], "FAILED", "1/2 states failed.", CrashedRun),
        ([off, failed], "CANCELLED", "1/2 states cancelled.", CancelRun),
        ([off, good, off], "CANCELLED", "2/3 states cancelled.", CancelRun),
        ([states.Paused(), failed], "FAILED", "1/2 states paused.", ValueError),
        ([states.Running(), good], "FAILED", "1/2 states are not final.", UnfinishedRun),
        ([states.Pending(name="NotReady")], "FAILED", "1/1 states are not final.", UpstreamFailed),
    ],
)
def test_a_collection_of_nothing_but_states_decides(
    value: Any, kind: str, message: str, error: type[BaseException] | None
) -> None:
    end = judged(value)
    assert (end.type, end.message, end.data) == (kind, message, value)
    assert given(value) is value
    assert given(value, is_flow=False) is value
    assert end.result(raise_on_failure=False) is value
    assert (end.failure is not None) == (kind == "FAILED")
    if error is not None:
        with pytest.raises(error):
            end.result()


def test_a_state_that_another_run_entered_is_data() -> None:
    for state in (good, failed, off):
        entered = judged(state)
        end = judge_value(entered, "run-2", 6, is_flow=True)
        assert end.data is entered
        assert (end.type, end.run_id) == (state.type, "run-2")
        assert given(entered, is_flow=False) is entered
    assert given(judged(good)).data == 1
    with pytest.raises(ValueError, match="no"):
        given(judged(failed))


def test_the_caller_of_a_task_gets_the_state_that_it_returned() -> None:
    for state in (good, failed, bad, off):
        end = judge_value(state, "run-1", 5, is_flow=False)
        assert isinstance(end, ReturnedState)
        assert end.given() is end
        assert (end.type, end.data) == (state.type, state.data)
        copied = pickle.loads(pickle.dumps(end.renamed(name="Mine")))  # noqa: S301 - our own pickle
        assert copied.given() is copied
        assert copied.name == "Mine"


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (None, RunFailed, "why"),
        (3, RunFailed, "why"),
        ("text", RunFailed, "text"),
        (ValueError("no"), ValueError, "no"),
        (failed, ValueError, "no"),
        ([good, failed], ValueError, "no"),
        ([good, [failed]], RunFailed, "why"),
        (states.Failed(data=states.Failed(data=failed)), ValueError, "no"),
        (states.Failed(data="deep"), RunFailed, "deep"),
    ],
)
def test_the_error_of_a_failed_state(data: Any, error: type[Exception], text: str) -> None:
    for state in (
        states.Failed(message="why", data=data),
        judged(states.Failed(message="why", data=data)),
    ):
        with pytest.raises(error, match=text):
            state.result()
        found = state.result(raise_on_failure=False)
        assert isinstance(found, RunFailed) if data is None else found is data


def test_a_run_that_was_not_ready_fails_the_flow_that_returns_it() -> None:
    end = judged(states.Pending(name="NotReady", message="upstream failed"))
    assert end.is_failed()
    with pytest.raises(UpstreamFailed):
        end.result()


def test_a_list_that_holds_itself_is_a_value() -> None:
    value: list[object] = [1]
    value.append(value)
    assert judged(value).is_completed()
