from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from flowspan.api import Payload, RunFilter, StateType, convert
from flowspan.v1 import flow_run_pb2, run_filter_pb2, state_pb2, watch_service_pb2

RUN_ID = "01a202d9-d289-7000-80f1-12b060cb7443"


def test_a_run_in_plain_values():
    message = flow_run_pb2.FlowRun(
        id=RUN_ID,
        flow_name="etl",
        tags=["a", "b"],
        state=state_pb2.State(
            type=state_pb2.STATE_TYPE_FAILED,
            name="TimedOut",
            failure={"type": "ValueError", "message": "m", "cause": {"type": "OSError"}},
        ),
        parameters={"encoding": "json", "data": b'{"n": 1}'},
        run_duration={"seconds": 2, "nanos": 500_000_000},
        trace={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    )
    message.create_time.FromDatetime(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    run = convert.flow_run(message)
    assert run.id == run.root_run_id == UUID(RUN_ID)
    assert run.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert run.started_at is None
    assert run.parent_run_id is None
    assert run.state.type is StateType.FAILED
    assert run.state.is_final()
    assert run.state.failure is not None
    assert run.state.failure.cause is not None
    assert run.state.failure.cause.type == "OSError"
    assert run.parameters is not None
    assert run.parameters.json() == {"n": 1}
    assert run.run_duration_s == 2.5
    assert run.trace is not None
    assert run.trace.trace_id == "a" * 32
    assert run.tags == ("a", "b")


def test_a_state_of_tomorrow_reads_as_unknown():
    message = state_pb2.State(name="Hibernating")
    message.MergeFromString(b"\x08\x63")  # type: 99
    state = convert.state(message)
    assert state.type is StateType.UNKNOWN
    assert state.name == "Hibernating"
    assert not state.is_final()


def test_an_item_of_tomorrow_is_left_out():
    assert convert.watch_item(watch_service_pb2.WatchResponse(resume_token="t")) is None


def test_a_filter_for_the_wire():
    wire = convert.wire_filter(
        RunFilter(
            state_types=(StateType.FAILED, StateType.CRASHED),
            root_run_id=UUID(RUN_ID),
            top_level_only=True,
            created_after=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    assert wire == run_filter_pb2.RunFilter(
        state_types=[state_pb2.STATE_TYPE_FAILED, state_pb2.STATE_TYPE_CRASHED],
        root_run_id=RUN_ID,
        top_level_only=True,
        created_after={"seconds": 1767225600},
    )


def test_a_payload_that_is_not_json_says_so():
    with pytest.raises(ValueError, match="pickle"):
        Payload(encoding="pickle", data=b"\x80").json()
