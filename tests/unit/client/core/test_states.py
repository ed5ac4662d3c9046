"""`flowspan.states`: functions that create states, and the methods of states."""

from __future__ import annotations

import asyncio
import copy
import pickle
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from flowspan import flow, states
from flowspan.core.state_types import type_of_number
from flowspan.core.states import StoredState
from flowspan.exceptions import CancelRun, MissingResult, RunFailed, UpstreamFailed
from flowspan.states import State, StateType
from flowspan.v1 import state_pb2

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

MAKERS = {
    "Scheduled": ("SCHEDULED", "is_scheduled"),
    "Late": ("SCHEDULED", "is_scheduled"),
    "AwaitingRetry": ("SCHEDULED", "is_scheduled"),
    "AwaitingConcurrencySlot": ("SCHEDULED", "is_scheduled"),
    "Resuming": ("SCHEDULED", "is_scheduled"),
    "Pending": ("PENDING", "is_pending"),
    "Submitting": ("PENDING", "is_pending"),
    "InfrastructurePending": ("PENDING", "is_pending"),
    "Running": ("RUNNING", "is_running"),
    "Retrying": ("RUNNING", "is_running"),
    "Paused": ("PAUSED", "is_paused"),
    "Suspended": ("PAUSED", "is_paused"),
    "Cancelling": ("CANCELLING", "is_cancelling"),
    "Completed": ("COMPLETED", "is_completed"),
    "Failed": ("FAILED", "is_failed"),
    "Cancelled": ("CANCELLED", "is_cancelled"),
    "Crashed": ("CRASHED", "is_crashed"),
}
PREDICATES = {predicate for _, predicate in MAKERS.values()}


def test_the_table_has_all_makers() -> None:
    assert set(MAKERS) == {
        name for name in states.__all__ if isinstance(getattr(states, name), states.StateMaker)
    }


@pytest.mark.parametrize(("name", "expected"), MAKERS.items())
def test_what_makes_states(name: str, expected: tuple[str, str]) -> None:
    type_, predicate = expected
    make = getattr(states, name)
    plain, named = make(), make(name="Mine", message="why", data=[1])
    assert (plain.type, plain.name) == (StateType[type_], name)
    assert (plain.message, plain.data) == ("", None)
    assert (named.type, named.name) == (StateType[type_], "Mine")
    assert (named.message, named.data) == ("why", [1])
    for state in (plain, named):
        assert {p for p in PREDICATES if getattr(state, p)()} == {predicate}
        assert state.is_final() == (state.type in states.TERMINAL_TYPES)
        assert state.timestamp is None
        assert (state.scheduled_time is not None) is (type_ == "SCHEDULED")
    assert pickle.loads(pickle.dumps(make)) is make  # noqa: S301 - pickled by this test
    assert repr(make) == f"flowspan.states.{name}"
    assert repr(make(name=None, message=None)) == repr(plain)


@pytest.mark.parametrize("arguments", [{"name": 5}, {"message": ValueError("no")}])
def test_names_and_messages_are_text(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"must be a string, not .*data="):
        states.Failed(**arguments)


def test_a_state_that_waits_may_say_until_when() -> None:
    for make in (states.Scheduled, states.Late, states.AwaitingRetry):
        state = make(NOON, name="Later")
        assert (state.scheduled_time, state.name) == (NOON, "Later")
        assert make(scheduled_time=NOON).scheduled_time == NOON
    with pytest.raises(ValueError, match="time zone"):
        states.Scheduled(NOON.replace(tzinfo=None))


def test_a_pause_may_say_until_when() -> None:
    for make in (states.Paused, states.Suspended):
        details = make(pause_expiration_time=NOON, pause_key="k").state_details
        assert (details.pause_timeout, details.pause_key) == (NOON, "k")
        assert details.pause_reschedule is (make is states.Suspended)
        copied = pickle.loads(pickle.dumps(make(pause_key="k")))  # noqa: S301 - pickled by this test
        assert copied.state_details.pause_key == "k"
        assert make(timeout_seconds=0).state_details.pause_timeout is not None
        with pytest.raises(ValueError, match="not both"):
            make(timeout_seconds=1, pause_expiration_time=NOON)
        with pytest.raises(ValueError, match="time zone"):
            make(pause_expiration_time=NOON.replace(tzinfo=None))
    with pytest.raises(TypeError, match="scheduled_time must be a datetime, not 'noon'"):
        states.Scheduled("noon")  # type: ignore[arg-type]
    assert states.Completed().state_details.pause_timeout is None


def test_the_time_of_a_state_that_was_entered() -> None:
    state = State(StateType.COMPLETED, time_ns=int(NOON.timestamp()) * 10**9)
    assert state.timestamp == NOON


error = ValueError("no")


@pytest.mark.parametrize(
    ("state", "raised"),
    [
        (states.Failed(data=error), ValueError),
        (states.Failed(message="bad data"), RunFailed),
        (states.Crashed(message="gone"), RunFailed),
        (states.Cancelled(message="off"), CancelRun),
        (states.Pending(name="NotReady"), UpstreamFailed),
        (states.Running(), MissingResult),
        (states.Scheduled(), MissingResult),
    ],
)
def test_the_result_of_a_state_that_did_not_complete(
    state: State, raised: type[BaseException]
) -> None:
    with pytest.raises(raised):
        state.result()
    with pytest.raises(raised):
        asyncio.run(state.aresult())
    if raised is MissingResult:  # It has not ended.
        with pytest.raises(raised):
            state.result(raise_on_failure=False)
        return
    assert isinstance(state.result(raise_on_failure=False), raised)
    assert isinstance(asyncio.run(state.aresult(raise_on_failure=False)), raised)


def test_the_result_of_a_state_that_completed() -> None:
    assert states.Completed(data=5).result() == 5
    assert asyncio.run(states.Completed(name="Skipped", data=5).aresult()) == 5


def test_a_returned_state_made_without_care_is_reported_all_the_same(recorder: Any) -> None:
    """A message that is not text would end the report stream."""

    @flow
    def careless() -> State:
        return State(StateType.COMPLETED, 5, ValueError("why"), "result")  # type: ignore[arg-type]

    assert careless() == "result"
    event = recorder.last_event("careless")
    assert event[4:6] == ("5", "why")


def test_the_numbers_of_types_are_those_of_the_wire() -> None:
    for kind in StateType:
        wire = "UNSPECIFIED" if kind is StateType.UNKNOWN else kind.name
        assert state_pb2.StateType.Value(f"STATE_TYPE_{wire}") == kind.number
        assert type_of_number(kind.number) is kind
        assert kind == kind.name == kind.value
        assert pickle.loads(pickle.dumps(kind)) is kind  # noqa: S301 - pickled by this test
    assert len(StateType) == len(state_pb2.StateType.keys())
    assert type_of_number(99) is StateType.UNKNOWN


def test_a_state_that_was_copied_keeps_what_it_knows() -> None:
    state = State(StateType.FAILED, "F", "m", [1], str(UUID(int=1)), 5)
    state.flow_run_id = str(UUID(int=2))
    known = state.id
    stored = StoredState(state, lambda: [1])
    stored._id = known
    for copied in (
        pickle.loads(pickle.dumps(state)),  # noqa: S301 - pickled by this test
        pickle.loads(pickle.dumps(stored)),  # noqa: S301 - pickled by this test
        state.renamed(message="n"),
    ):
        assert copied.id == known == state.id
        assert copied.state_details == state.state_details
        assert (copied.name, copied.data) == ("F", [1])
    assert state.state_details.task_run_id == UUID(int=1)
    assert State(StateType.FAILED).id != known


def test_pickled_state_has_a_traceparent_for_other_versions() -> None:
    """Release 0.1 has a slot of this name, and no ids as numbers."""
    traceparent = f"00-{7:032x}-{8:016x}-01"
    state = State(StateType.COMPLETED, data=[1], run_id="r1", time_ns=5)
    state.traceparent, state.flow_run_id = traceparent, "f1"
    _, facts = state.__getstate__()
    assert facts["traceparent"] == traceparent
    assert "trace_ids" not in facts
    for copied in (pickle.loads(pickle.dumps(state)), copy.copy(state)):  # noqa: S301 - from above
        assert (copied.data, copied.flow_run_id, copied.trace_ids) == ([1], "f1", (7, 8, 1))

    untraced = copy.copy(State(StateType.COMPLETED))
    assert (untraced.trace_ids, untraced.traceparent) == (None, "")
