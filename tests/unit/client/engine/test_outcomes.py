from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flowspan import states
from flowspan.core.outcomes import judge_value
from flowspan.exceptions import CancelRun, RunFailed, UpstreamFailed

if TYPE_CHECKING:
    from flowspan.core.states import State


def judged(value: object) -> State:
    return judge_value(value, "run-1", 5)


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
    assert "not one to end with" in end.message


good, bad = states.Completed(data=1), states.Failed(message="bad")


@pytest.mark.parametrize(
    "value",
    [[good, bad], (bad, good), {"x": bad, "y": good}, [[good], {"z": (bad,)}], [1, good, bad]],
)
def test_one_failed_state_in_a_collection_fails_the_run(value: object) -> None:
    end = judged(value)
    assert end.is_failed()
    assert end.message == "1/2 states failed."
    with pytest.raises(RunFailed) as caught:
        end.result()
    assert isinstance(caught.value.__cause__, RunFailed)


def test_the_only_state_of_a_collection_speaks_for_it() -> None:
    end = judged([states.Failed(data=ValueError("no"))])
    with pytest.raises(ValueError, match="no"):
        end.result()
    assert judged([states.Cancelled(message="off")]).is_cancelled()


def test_completed_states_complete_the_run() -> None:
    value = [good, good]
    assert judged(value).result() is value


def test_only_cancelled_states_cancel_the_run() -> None:
    end = judged([states.Cancelled(), states.Cancelled(message="x"), good])
    assert end.is_cancelled()
    assert end.message == "2/3 states cancelled."
    with pytest.raises(CancelRun):
        end.result()


def test_a_run_that_was_not_ready_fails_the_flow_that_returns_it() -> None:
    end = judged(states.Pending(name="NotReady", message="upstream failed"))
    assert end.is_failed()
    with pytest.raises(UpstreamFailed):
        end.result()


def test_a_list_that_holds_itself_is_a_value() -> None:
    value: list[object] = [1]
    value.append(value)
    assert judged(value).is_completed()
