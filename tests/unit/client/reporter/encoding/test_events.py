"""The encoder: the generated classes decode its output to the emitted events."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowspan.core import limits
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
from flowspan.core.limits import (
    MAX_CHAIN,
    MAX_FAILURE_BYTES,
    MAX_FAILURES,
    MAX_FILE_PATH_BYTES,
    MAX_INPUTS,
    MAX_MESSAGE_BYTES,
    MAX_NAME_BYTES,
    MAX_PREVIEW_BYTES,
    MAX_RUN_DESCRIPTION_BYTES,
    MAX_TRACE_BYTES,
)
from flowspan.core.retries import RetryPolicy
from flowspan.core.run_details import RunDetails
from flowspan.reporter.encoding import events as wire
from flowspan.reporter.encoding.protobuf import clipped, varint, varint5
from flowspan.reporter.encoding.single_events import expanded
from flowspan.reporter.placeholders import placeholder_batch, without_event
from flowspan.v1 import report_pb2, report_service_pb2, state_pb2

RUN_ID = "0190a8a0-0000-7000-8000-000000000001"

# Any text that a str can contain, including lone surrogates.
texts = st.text(st.characters(codec=None, exclude_categories=[]), max_size=40)
ids = st.uuids().map(str)
times = st.integers(0, (1 << 35) * 10**9 - 1)
hex_ids = st.sampled_from(["", "0af7651916cd43dd8448eb211c80319c"])
failures = st.recursive(
    st.builds(FailureInfo, texts.filter(bool), texts, texts, st.none(), st.just(())),
    lambda causes: st.builds(
        FailureInfo,
        texts.filter(bool),
        texts,
        texts,
        causes | st.none(),
        st.lists(causes, max_size=2).map(tuple),
    ),
    max_leaves=4,
)


def readable(text: str) -> str:
    """Return the text as it arrives: surrogates are escaped, and NUL becomes its symbol."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "␀")


def decode(*events: tuple[Any, ...], first: int = 1) -> list[Any]:
    encoder = wire.Encoder()
    items = [item for event in events for item in encoder.encode(event)]
    frame = wire.batch_frame(wire.batch_bytes(first, items))
    batch = report_service_pb2.ReportRequest.FromString(frame).batch
    assert batch.first_sequence == first
    return list(batch.events)


@given(
    ids,
    st.integers(1, 300),
    st.integers(1, 9),
    texts,
    texts,
    times,
    failures | st.none(),
    times | st.none(),
)
def test_states(
    run_id: str,
    attempt: int,
    state_type: int,
    name: str,
    message: str,
    time_ns: int,
    failure: FailureInfo | None,
    scheduled_ns: int | None,
) -> None:
    event = (STATE, run_id, attempt, state_type, name, message, time_ns, failure, scheduled_ns)
    (read,) = decode(event)
    entered = read.state_entered
    state = entered.state
    assert (entered.run_id, entered.attempt, state.type) == (run_id, attempt, state_type)
    assert (state.name, state.message) == (readable(name), readable(message))
    assert state.time.ToNanoseconds() == time_ns
    assert state.HasField("scheduled_time") == (scheduled_ns is not None)
    if scheduled_ns is not None:
        assert state.scheduled_time.ToNanoseconds() == scheduled_ns
    check_failure(failure, state.failure if state.HasField("failure") else None)


@given(ids, ids | st.just(""), texts, texts, st.binary(min_size=1), times)
def test_artifacts(
    artifact_id: str, run_id: str, kind: str, description: str, data: bytes, time_ns: int
) -> None:
    (read,) = decode((ARTIFACT, artifact_id, run_id, "a-key", kind, description, data, time_ns))
    made = read.artifact_created
    assert (made.id, made.run_id, made.key) == (artifact_id, run_id, "a-key")
    assert (made.type, made.description) == (readable(kind), readable(description))
    assert (made.data.encoding, made.data.data) == ("json", data)
    assert made.create_time.ToNanoseconds() == time_ns
    assert (made.flow_run_id, made.HasField("update_time")) == ("", False)


@given(ids, texts | st.none(), st.binary(min_size=1) | st.none(), times)
def test_changes_of_artifacts(
    artifact_id: str, description: str | None, data: bytes | None, time_ns: int
) -> None:
    (read,) = decode((ARTIFACT_CHANGE, artifact_id, description, data, time_ns))
    change = read.artifact_changed
    assert change.id == artifact_id
    assert change.HasField("description") == (description is not None)
    assert change.description == readable(description or "")
    assert change.HasField("data") == (data is not None)
    assert change.data.data == (data or b"")
    assert change.change_time.ToNanoseconds() == time_ns


def check_failure(expected: FailureInfo | None, read: Any) -> None:
    if expected is None:
        assert read is None
        return
    assert (read.type, read.message) == (readable(expected.type), readable(expected.message))
    assert read.stack_trace == readable(expected.stack_trace)
    check_failure(expected.cause, read.cause if read.HasField("cause") else None)
    for other, read_other in zip(expected.other_causes, read.other_causes, strict=True):
        check_failure(other, read_other)


@given(
    st.tuples(ids, ids | st.none(), ids, ids | st.none()),
    st.booleans(),
    texts.filter(bool),
    texts,
    st.lists(texts.filter(bool), max_size=5),
    st.binary(max_size=100) | st.none(),
    texts,
    st.booleans(),
    times,
)
def test_created_runs(
    run_ids: tuple[str, str | None, str, str | None],
    is_flow: bool,
    function_name: str,
    run_name: str,
    tags: list[str],
    parameters: bytes | None,
    version: str,
    is_traced: bool,
    time_ns: int,
) -> None:
    run_id, parent_id, root_id, flow_run_id = run_ids
    record = RunRecord(
        run_id,
        is_flow=is_flow,
        function_name=function_name,
        run_name=run_name,
        parent_run_id=parent_id,
        root_run_id=root_id,
        flow_run_id=flow_run_id,
        tags=tuple(tags),
        parameters=parameters,
        version=version,
    )
    if is_traced:
        record.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        record.tracestate = "vendor=1"
        record.parent_span_id = "00f067aa0ba902b7"
    (read,) = decode((CREATED, record, "Pending", time_ns))
    run = read.run_created
    assert run.kind == (report_pb2.RUN_KIND_FLOW if is_flow else report_pb2.RUN_KIND_TASK)
    assert (run.run_id, run.parent_run_id or None) == (run_id, parent_id)
    assert (run.root_run_id, run.flow_run_id or None) == (root_id, flow_run_id)
    assert (run.function_name, run.run_name) == (readable(function_name), readable(run_name))
    assert list(run.tags) == [readable(tag) for tag in tags]
    assert run.HasField("parameters") == bool(parameters)
    if parameters:
        assert (run.parameters.encoding, run.parameters.data) == ("json", parameters)
    assert run.version == readable(version)
    assert run.HasField("trace") == is_traced
    assert (run.trace.traceparent, run.trace.tracestate, run.trace.parent_span_id) == (
        (record.traceparent, record.tracestate, record.parent_span_id)
    )
    assert (run.state.type, run.state.name) == (state_pb2.STATE_TYPE_PENDING, "Pending")
    assert run.state.time.ToNanoseconds() == time_ns


@given(
    ids,
    st.integers(6, 9),
    texts,
    texts,
    st.tuples(times, times, times),
    failures | st.binary(min_size=1) | st.none(),
    st.sampled_from(["", "x", "y" * 200, "z" * 20_000]),
)
def test_short_runs(
    run_id: str,
    state_type: int,
    name: str,
    message: str,
    times_ns: tuple[int, int, int],
    detail: FailureInfo | bytes | None,
    parameters: str,
) -> None:
    """Whatever their size, they expand to the events that they stand for."""
    record = RunRecord(
        run_id,
        is_flow=False,
        function_name="f",
        run_name=name,
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=None,
        parameters=parameters.encode() or None,
    )
    created = (CREATED, record, "Pending", times_ns[0])
    running = (STATE, run_id, 1, 3, "Running", "", times_ns[1], None, None)
    ended = (STATE, run_id, 1, state_type, name, message, times_ns[2], detail, None)
    encoder = wire.Encoder()
    item = encoder.completed(encoder.created(created), times_ns[1], ended)
    joined = wire.batch_bytes(7, [item])
    batch = report_pb2.Batch.FromString(joined)
    assert [event.WhichOneof("event") for event in batch.events] == ["run_completed"]
    expected = decode(created, running, ended, first=7)
    assert list(report_pb2.Batch.FromString(expanded(joined)).events) == expected


@given(ids, st.integers(0, 5), st.integers(0, 50), times, texts, texts, hex_ids, hex_ids)
def test_logs(
    run_id: str,
    attempt: int,
    level: int,
    time_ns: int,
    logger: str,
    message: str,
    trace_id: str,
    span_id: str,
) -> None:
    (read,) = decode((LOG, run_id, attempt, level, time_ns, logger, message, trace_id, span_id))
    log = read.log
    assert (log.run_id, log.attempt, log.level) == (run_id, attempt, level)
    assert log.time.ToNanoseconds() == time_ns
    assert (log.logger, log.message) == (readable(logger), readable(message))
    assert (log.trace_id, log.span_id) == (trace_id, span_id)
    assert log.chunk_count == 0


@pytest.mark.parametrize(
    "message",
    [
        "a" * limits.MAX_LOG_BYTES,
        "a" * (limits.MAX_LOG_BYTES + 1),
        "😀" * limits.MAX_LOG_BYTES,
        "aé€😀" * 100_000,
        "\udcff" * limits.MAX_LOG_BYTES,
        "x" * (5 * limits.MAX_LOG_BYTES),
        "\0" * limits.MAX_LOG_BYTES,
    ],
    ids=["just-fits", "one-more", "emoji", "mixed", "surrogates", "five", "nuls"],
)
def test_long_logs_come_in_pieces_and_whole(message: str) -> None:
    run_id = str(uuid.uuid4())
    events = decode((LOG, run_id, 1, 20, 10**18, "logger", message, "", ""))
    logs = [event.log for event in events]
    assert "".join(log.message for log in logs) == readable(message)
    assert all(len(log.message.encode()) <= limits.MAX_LOG_BYTES for log in logs)
    if len(logs) > 1:
        assert [log.chunk_index for log in logs] == list(range(len(logs)))
        assert {log.chunk_count for log in logs} == {len(logs)}
    assert {(log.run_id, log.time.ToNanoseconds()) for log in logs} == {(run_id, 10**18)}


def test_names_and_states_that_begin_with_nul_are_not_mixed_up() -> None:
    run_id = str(uuid.uuid4())
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name="\0Pending",
        run_name="",
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
    )
    for read in decode((CREATED, record, "Pending", 1), (CREATED, record, "Pending", 1)):
        assert read.run_created.function_name == "␀Pending"
        assert read.run_created.state.name == "Pending"


def test_what_the_service_would_refuse_is_shortened() -> None:
    run_id = str(uuid.uuid4())
    long = "é" * 100_000
    failure = None
    for _ in range(50):
        failure = FailureInfo(long, long, long, failure)
    record = RunRecord(
        run_id,
        is_flow=True,
        function_name=long,
        run_name=long,
        parent_run_id=None,
        root_run_id=run_id,
        flow_run_id=run_id,
        tags=("", *(f"{number}{long}" for number in range(100))),
        parameters=b"x" * (limits.MAX_PARAMETERS_BYTES + 1),
        version=long,
    )
    created, entered = decode(
        (CREATED, record, "Pending", 1),
        (STATE, run_id, 1, 7, long, long, 1, failure, None),
    )
    run, state = created.run_created, entered.state_entered.state
    for text in (run.function_name, run.run_name, run.version, *run.tags):
        assert 200 < len(text.encode()) <= limits.MAX_NAME_BYTES
        assert text.endswith("…")
    assert len(run.tags) == limits.MAX_TAGS
    assert not run.HasField("parameters")
    assert len(state.name.encode()) <= limits.MAX_STATE_NAME_BYTES
    assert len(state.message.encode()) <= limits.MAX_MESSAGE_BYTES
    depth, read = 0, state.failure
    while read.type:
        depth += 1
        assert len(read.message.encode()) <= limits.MAX_MESSAGE_BYTES
        assert len(read.stack_trace.encode()) <= limits.MAX_TRACE_BYTES
        assert "…" in read.stack_trace
        read = read.cause
    assert depth == limits.MAX_CHAIN


def test_the_caches_are_bounded() -> None:
    encoder = wire.Encoder()
    run_id = str(uuid.uuid4())
    for number in range(5000):
        encoder.encode((STATE, run_id, 1, 3, f"name {number}", "", 1, None, None))
        encoder.encode((LOG, run_id, 1, 20, 1, f"logger {number}", "", "", ""))
    assert len(encoder._shapes) <= 1000
    assert len(encoder._loggers) <= 1000


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown event"):
        wire.Encoder().encode((99,))


@given(st.integers(0, 1 << 62))
def test_varints(value: int) -> None:
    data = b"\x08" + varint(value)
    assert report_pb2.Batch.FromString(data).first_sequence == value


@given(st.integers(0, (1 << 35) - 1))
def test_padded_varints(value: int) -> None:
    data = varint5(value)
    assert len(data) == 5
    assert report_pb2.Batch.FromString(b"\x08" + data).first_sequence == value


@given(st.text(max_size=30), st.integers(3, 40))
def test_clipping_keeps_characters_whole(text: str, limit: int) -> None:
    data = clipped(text, limit)
    assert len(data) <= limit
    told = readable(text)
    assert told.startswith(data.decode().removesuffix("…")) or data.decode() == told


def test_placeholders_are_events_that_nobody_knows() -> None:
    batch = report_pb2.Batch.FromString(placeholder_batch(7, 3))
    assert batch.first_sequence == 7
    assert [event.WhichOneof("event") for event in batch.events] == [None] * 3
    assert all(event.ByteSize() for event in batch.events)


def test_an_event_can_be_taken_out_of_a_batch() -> None:
    run_id = str(uuid.uuid4())
    encoder = wire.Encoder()
    items = [
        encoder.state((STATE, run_id, 1, 3, f"{number}", "", 1, None, None)) for number in range(3)
    ]
    data = wire.batch_bytes(10, items)
    assert without_event(data, 13) is None
    changed = without_event(data, 11)
    assert changed is not None
    batch = report_pb2.Batch.FromString(changed)
    assert batch.first_sequence == 10
    names = [event.state_entered.state.name for event in batch.events]
    assert names == ["0", "", "2"]
    assert batch.events[1].ByteSize() > 0


def test_the_frames_without_content() -> None:
    read = report_service_pb2.ReportRequest.FromString
    assert read(wire.HEARTBEAT_FRAME).WhichOneof("frame") == "heartbeat"
    assert read(wire.GOODBYE_FRAME).WhichOneof("frame") == "goodbye"


def made_record(**fields: Any) -> RunRecord:
    given = {
        "is_flow": False,
        "function_name": "load",
        "run_name": "load-0",
        "parent_run_id": None,
        "root_run_id": RUN_ID,
        "flow_run_id": None,
    }
    return RunRecord(RUN_ID, **{**given, **fields})  # type: ignore[arg-type] # fields of a record


def encoded_run(record: RunRecord) -> Any:
    (read,) = decode((CREATED, record, "Pending", 1))
    return read.run_created


@given(texts | st.none(), st.integers(0, 2**40))
def test_details_of_runs(description: str | None, retries: int) -> None:
    details = RunDetails(encoded_run, description, RetryPolicy(retries))
    encoder = wire.Encoder()
    for _ in range(2):  # the second time from the cache
        items = encoder.encode((CREATED, made_record(details=details), "Pending", 1))
        (read,) = report_pb2.Batch.FromString(wire.batch_bytes(1, items)).events
        run = read.run_created
        assert run.description == readable(description or "")
        assert run.max_attempts == min(retries + 1, 2**31 - 1)
        assert run.code.file_path == __file__
        assert run.code.function == f"{__name__}.encoded_run"


def test_long_details_are_shortened() -> None:
    details = RunDetails(encoded_run, "é" * MAX_RUN_DESCRIPTION_BYTES, None)
    details.file_path = "/x" * MAX_FILE_PATH_BYTES
    details.function = "f" * 2 * MAX_NAME_BYTES
    run = encoded_run(made_record(details=details))
    assert len(run.description.encode()) == MAX_RUN_DESCRIPTION_BYTES
    assert len(run.code.file_path.encode()) <= MAX_FILE_PATH_BYTES
    assert len(run.code.function.encode()) <= MAX_NAME_BYTES


def test_inputs_and_previews_beyond_the_limits_are_left_out() -> None:
    many = tuple(RunInput(RUN_ID, f"p{number}" * 200) for number in range(MAX_INPUTS + 1))
    run = encoded_run(made_record(inputs=many, parameters=b"x" * (MAX_PREVIEW_BYTES + 1)))
    assert len(run.inputs) == MAX_INPUTS
    assert max(len(each.parameter.encode()) for each in run.inputs) <= MAX_NAME_BYTES
    assert not run.HasField("parameters")
    flow = encoded_run(made_record(is_flow=True, parameters=b"x" * (MAX_PREVIEW_BYTES + 1)))
    assert flow.HasField("parameters")


def count_failures(read: Any) -> int:
    cause = count_failures(read.cause) if read.HasField("cause") else 0
    return 1 + cause + sum(map(count_failures, read.other_causes))


def test_failures_beyond_the_limits_are_left_out() -> None:
    long = FailureInfo("E", "m" * MAX_MESSAGE_BYTES, "t" * MAX_TRACE_BYTES)
    wide = FailureInfo("E", "", "", long, (long,) * 100)
    deep = long
    for _ in range(30):
        deep = FailureInfo("E", "", "", None, (deep,))
    chain = long
    for _ in range(30):
        chain = long._replace(cause=chain)
    for failure, count in ((wide, MAX_FAILURES), (deep, MAX_CHAIN), (chain, MAX_CHAIN)):
        (read,) = decode((STATE, RUN_ID, 1, 7, "Failed", "", 1, failure, None))
        found = read.state_entered.state.failure
        assert count_failures(found) == count
        assert found.ByteSize() <= MAX_FAILURE_BYTES
