"""The hand-written event encoder against the generated classes, for every field of the proto.

The ordinary implementation stands here: the same events, built with the generated classes. A field
that is added to the proto fails these tests until it is encoded or listed as not encoded.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fields import possible_fields, set_fields

from flowspan.core.events import (
    ARTIFACT,
    ARTIFACT_CHANGE,
    CREATED,
    LOG,
    STATE,
    FailureInfo,
    RunInput,
    RunRecord,
)
from flowspan.core.result_options import REFERENCE_ENCODING
from flowspan.core.retries import RetryPolicy
from flowspan.core.run_details import RunDetails
from flowspan.reporter.encoding import events as wire
from flowspan.v1 import (
    artifact_pb2,
    code_location_pb2,
    failure_pb2,
    log_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    run_input_pb2,
    state_pb2,
    trace_pb2,
)

RUN_ID, PARENT_ID = "0190a8a0-0000-7000-8000-000000000001", "0190a8a0-0000-7000-8000-000000000002"
ROOT_ID, FLOW_ID = "0190a8a0-0000-7000-8000-000000000003", "0190a8a0-0000-7000-8000-000000000004"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TIME_NS = 1_700_000_000_123_456_789
SCHEDULED_NS = 1_700_000_100_000_000_001

NOT_ENCODED = {
    # The first state of a run is Pending, which has no message, result, failure or schedule.
    "run_created.state.message",
    "run_created.state.scheduled_time",
    "run_created.state.failure",
    "run_created.state.failure.type",
    "run_created.state.failure.message",
    "run_created.state.failure.stack_trace",
    "run_created.state.failure.cause",
    "run_created.state.failure.other_causes",
    "run_created.state.result",
    "run_created.state.result.encoding",
    "run_created.state.result.data",
    # Labels are set by calls of LabelService.
    "run_created.labels",
    "run_created.labels.key",
    "run_created.labels.value",
    # Payloads have bytes. Text is for JSON transports.
    "run_created.parameters.text",
    "run_created.state.result.text",
    "state_entered.state.result.text",
    "artifact_created.data.text",
    "artifact_changed.data.text",
    # For clients without an OpenTelemetry SDK.
    "run_created.trace.exported_by_service",
    # The service sets these.
    "log.position",
    "artifact_created.flow_run_id",
    "artifact_created.update_time",
}

_PARTS = {"run_created.": "run_completed.created.", "state_entered.state.": "run_completed.ended."}
NOT_ENCODED_IN_SHORT_RUNS = {
    *(
        joined + path.removeprefix(single)
        for path in sorted(NOT_ENCODED)
        for single, joined in _PARTS.items()
        if path.startswith(single)
    ),
    "run_completed.ended.scheduled_time",  # an end has no schedule
}


def stamp(time_ns: int) -> Timestamp:
    made = Timestamp()
    made.FromNanoseconds(time_ns)
    return made


def json(data: bytes) -> payload_pb2.Payload:
    return payload_pb2.Payload(encoding="json", data=data)


def run_created() -> tuple[Any, report_pb2.Event]:
    trace = trace_pb2.TraceContext(
        traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01", tracestate="vendor=1", parent_span_id=SPAN_ID
    )
    details = RunDetails(run_created, "Load all.\n\nSlowly.", RetryPolicy(3))
    record = RunRecord(
        RUN_ID,
        is_flow=False,
        function_name="load",
        run_name="load-é",
        parent_run_id=PARENT_ID,
        root_run_id=ROOT_ID,
        flow_run_id=FLOW_ID,
        tags=("a", "b"),
        parameters=b'{"x": 1}',
        version="v2",
        details=details,
        inputs=(RunInput(PARENT_ID, "x"), RunInput(ROOT_ID, "wait_for")),
    )
    record.traceparent, record.tracestate = trace.traceparent, trace.tracestate
    record.parent_span_id = trace.parent_span_id
    message = report_pb2.RunCreated(
        run_id=RUN_ID,
        kind=report_pb2.RUN_KIND_TASK,
        function_name="load",
        run_name="load-é",
        parent_run_id=PARENT_ID,
        root_run_id=ROOT_ID,
        flow_run_id=FLOW_ID,
        state=state_pb2.State(
            type=state_pb2.STATE_TYPE_PENDING, name="Pending", time=stamp(TIME_NS)
        ),
        tags=["a", "b"],
        parameters=json(b'{"x": 1}'),
        trace=trace,
        version="v2",
        description="Load all.\n\nSlowly.",
        max_attempts=4,
        inputs=[
            run_input_pb2.RunInput(run_id=PARENT_ID, parameter="x"),
            run_input_pb2.RunInput(run_id=ROOT_ID, parameter="wait_for"),
        ],
        code=code_location_pb2.CodeLocation(
            file_path=__file__,
            line=run_created.__code__.co_firstlineno,
            function=f"{__name__}.run_created",
        ),
    )
    event = (CREATED, record, "Pending", TIME_NS)
    return event, report_pb2.Event(run_created=message)


def state_entered(
    detail: Any, *, message: str = "", scheduled_ns: int | None = None, **fields: Any
) -> tuple[Any, report_pb2.Event]:
    if scheduled_ns is not None:
        fields["scheduled_time"] = stamp(scheduled_ns)
    state = state_pb2.State(
        type=state_pb2.STATE_TYPE_FAILED,
        name="TimedOut",
        message=message,
        time=stamp(TIME_NS),
        **fields,
    )
    event = (STATE, RUN_ID, 3, 7, "TimedOut", message, TIME_NS, detail, scheduled_ns)
    entered = report_pb2.StateEntered(run_id=RUN_ID, attempt=3, state=state)
    return event, report_pb2.Event(state_entered=entered)


def failed() -> tuple[Any, report_pb2.Event]:
    cause = failure_pb2.Failure(type="OSError", message="gone", stack_trace="frame 1")
    other = failure_pb2.Failure(type="KeyError", message="k", stack_trace="frame 3", cause=cause)
    failure = failure_pb2.Failure(
        type="ValueError",
        message="no",
        stack_trace="frame 2",
        cause=cause,
        other_causes=[other, other],
    )
    cause_info = FailureInfo("OSError", "gone", "frame 1")
    other_info = FailureInfo("KeyError", "k", "frame 3", cause_info)
    info = FailureInfo("ValueError", "no", "frame 2", cause_info, (other_info, other_info))
    return state_entered(info, message="why", scheduled_ns=SCHEDULED_NS, failure=failure)


def completed() -> tuple[Any, report_pb2.Event]:
    reference = payload_pb2.Payload(encoding=REFERENCE_ENCODING, data=b"key")
    return state_entered(b"key", result=reference)


def joined(
    case: tuple[Any, report_pb2.Event],
) -> tuple[tuple[Any, Any, Any], report_pb2.Event]:
    """Return the events of a short run that ends as in this case, and the joined event."""
    created, whole = run_created()
    end, ended = case
    event = (*end[:2], 1, *end[3:8], None)
    state = state_pb2.State()
    state.CopyFrom(ended.state_entered.state)
    state.ClearField("scheduled_time")
    completed = report_pb2.RunCompleted(
        created=whole.run_created, start_time=stamp(TIME_NS + 5), ended=state
    )
    running = (STATE, RUN_ID, 1, 3, "Running", "", TIME_NS + 5, None, None)
    return (created, running, event), report_pb2.Event(run_completed=completed)


def logged(text: str = "line") -> tuple[Any, report_pb2.Event]:
    message = log_pb2.LogRecord(
        run_id=RUN_ID,
        level=log_pb2.LOG_LEVEL_WARNING,
        time=stamp(TIME_NS),
        logger="shop",
        message=text,
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        attempt=2,
    )
    event = (LOG, RUN_ID, 2, 30, TIME_NS, "shop", text, TRACE_ID, SPAN_ID)
    return event, report_pb2.Event(log=message)


def artifact_created() -> tuple[Any, report_pb2.Event]:
    message = artifact_pb2.Artifact(
        id=PARENT_ID,
        key="daily",
        type="table",
        description="sales",
        data=json(b"[1]"),
        run_id=RUN_ID,
        create_time=stamp(TIME_NS),
    )
    event = (ARTIFACT, PARENT_ID, RUN_ID, "daily", "table", "sales", b"[1]", TIME_NS)
    return event, report_pb2.Event(artifact_created=message)


def artifact_changed() -> tuple[Any, report_pb2.Event]:
    message = artifact_pb2.ArtifactChange(
        id=PARENT_ID, description="sums", data=json(b"[2]"), change_time=stamp(TIME_NS)
    )
    event = (ARTIFACT_CHANGE, PARENT_ID, "sums", b"[2]", TIME_NS)
    return event, report_pb2.Event(artifact_changed=message)


CASES = {
    "run_created": run_created(),
    "state_without_details": state_entered(None),
    "state_with_failure": failed(),
    "state_with_result": completed(),
    "log": logged(),
    "artifact_created": artifact_created(),
    "artifact_changed": artifact_changed(),
}


JOINED_CASES = {
    "without_details": joined(state_entered(None)),
    "with_failure": joined(failed()),
    "with_result": joined(completed()),
}


def encoded_together(events: tuple[Any, Any, Any]) -> list[report_pb2.Event]:
    encoder = wire.Encoder()
    created, running, ended = events
    item = encoder.completed(encoder.created(created), running[6], ended)
    return list(report_pb2.Batch.FromString(wire.batch_bytes(1, [item])).events)


def encoded(event: Any) -> list[report_pb2.Event]:
    batch = report_pb2.Batch.FromString(wire.batch_bytes(1, wire.Encoder().encode(event)))
    return list(batch.events)


@pytest.mark.parametrize("name", CASES)
def test_each_event_is_the_one_that_the_generated_classes_build(name: str) -> None:
    event, expected = CASES[name]
    assert encoded(event) == [expected]
    # Serialized again, it is the same to the byte, so that nothing is hidden in unknown fields.
    (read,) = encoded(event)
    assert read.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize("name", JOINED_CASES)
def test_a_short_run_is_the_event_that_the_generated_classes_build(name: str) -> None:
    events, expected = JOINED_CASES[name]
    assert encoded_together(events) == [expected]
    (read,) = encoded_together(events)
    assert read.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )


def test_a_long_log_record_is_what_the_generated_classes_build_in_pieces() -> None:
    text = "x" * (wire.MAX_LOG_BYTES + 10)
    event, whole = logged(text)
    pieces = []
    for index, piece in enumerate((text[: wire.MAX_LOG_BYTES], text[wire.MAX_LOG_BYTES :])):
        part = log_pb2.LogRecord()
        part.CopyFrom(whole.log)
        part.message, part.chunk_index, part.chunk_count = piece, index, 2
        pieces.append(report_pb2.Event(log=part))
    assert encoded(event) == pieces


def test_promise_every_field_of_every_event_is_encoded_or_listed() -> None:
    long_log = logged("x" * (wire.MAX_LOG_BYTES + 10))
    written = {
        path
        for event, _ in (*CASES.values(), long_log)
        for message in encoded(event)
        for path in set_fields(message)
    }
    written |= {
        path
        for events, _ in JOINED_CASES.values()
        for message in encoded_together(events)
        for path in set_fields(message)
    }
    not_written = possible_fields(report_pb2.Event.DESCRIPTOR) - written
    assert not_written == NOT_ENCODED | NOT_ENCODED_IN_SHORT_RUNS


def test_every_kind_of_frame_has_an_encoder() -> None:
    frames = {
        report_service_pb2.ReportRequest.FromString(data).WhichOneof("frame")
        for data in (
            wire.batch_frame(wire.batch_bytes(1, wire.Encoder().encode(CASES["log"][0]))),
            wire.HEARTBEAT_FRAME,
            wire.GOODBYE_FRAME,
        )
    }
    kinds = {each.name for each in report_service_pb2.ReportRequest.DESCRIPTOR.fields}
    assert kinds - frames == {"hello"}  # Sent once, by the generated classes (open_session).


@pytest.mark.parametrize("message", [report_pb2.Batch, report_pb2.Heartbeat, report_pb2.Goodbye])
def test_the_fields_of_the_frames_are_the_encoded_ones(message: Any) -> None:
    expected = {report_pb2.Batch: ["first_sequence", "events"]}.get(message, [])
    assert [field.name for field in message.DESCRIPTOR.fields] == expected
