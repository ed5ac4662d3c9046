"""Promise 13: bad input costs little and gets a clear error, on every method."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import symbol_database
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.harness import error_info, refused
from tests.support.report_client import (
    ReportStream,
    created,
    entered,
    new_id,
    now,
    state,
    whole_run,
)

from flowspan.v1 import (
    artifact_pb2,
    failure_pb2,
    flow_run_service_pb2,
    log_pb2,
    log_service_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    system_service_pb2,
    trace_pb2,
)
from flowspan_service.api import limits
from flowspan_service.api.services import SERVICE_NAMES

if TYPE_CHECKING:
    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT
# Possible answers to a request with fuzzed bytes. By chance it may be valid and ask for a missing
# object, or show a wrong token. OUT_OF_RANGE stands for a place that the database does not have
# (any more).
CALM = {
    INVALID,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
}
TIMEOUT_S = 30.0


def methods() -> list[Any]:
    """Return the descriptors of all methods."""
    symbol_database.Default()
    return [
        method for name in SERVICE_NAMES for method in Default().FindServiceByName(name).methods
    ]


METHODS = {f"/{each.containing_service.full_name}/{each.name}": each for each in methods()}


def call(channel: grpc.Channel, path: str, *requests: bytes, timeout: float = TIMEOUT_S) -> Any:
    """Call a method with raw bytes; return the error, or None."""
    method = METHODS[path]
    try:
        if method.client_streaming:
            list(channel.stream_stream(path)(iter(requests), timeout=timeout))
        elif method.server_streaming:
            list(channel.unary_stream(path)(requests[0], timeout=timeout))
        else:
            channel.unary_unary(path)(requests[0], timeout=timeout)
    except grpc.RpcError as error:
        return error
    return None


def still_works(stubs: Stubs) -> None:
    stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)


def assert_calm(error: Any) -> None:
    """Check that the error describes the input and not a fault of the service."""
    assert error.code() in CALM, error
    assert error_info(error).reason
    assert "Traceback" not in error.details()
    assert len(error.details()) < 2000


@pytest.mark.parametrize("path", METHODS)
def test_promise_bad_input_random_bytes(harness: Harness, stubs: Stubs, path: str) -> None:
    chance = random.Random(path)
    message = GetMessageClass(METHODS[path].input_type)
    refused_count = 0
    for size in (1, 2, 3, 7, 30, 300):
        for _ in range(5):
            data = chance.randbytes(size) + b"\xff"
            error = call(harness.channel, path, data, timeout=5.0)
            try:
                message.FromString(data)
            except DecodeError:
                refused_count += 1
                assert error.code() is INVALID
                assert error_info(error).reason == "INVALID_FIELD"
            else:
                assert error is None or error.code() in CALM
    assert refused_count > 20
    still_works(stubs)


@pytest.mark.parametrize("path", [path for path in METHODS if "GetInfo" not in path])
def test_promise_bad_input_text_that_is_no_utf8(harness: Harness, path: str) -> None:
    message = GetMessageClass(METHODS[path].input_type)
    data = _with_bad_text(METHODS[path].input_type)
    if data is None:
        assert path.endswith("/ListTokens")  # A request without any text.
        return
    with pytest.raises(DecodeError):
        message.FromString(data)
    error = call(harness.channel, path, data)
    assert_calm(error)
    assert "UTF-8" in error_info(error).metadata["advice"]


def _with_bad_text(descriptor: Any, depth: int = 0) -> bytes | None:
    """Return a message of this type whose first string, at any depth, is not UTF-8."""
    for field in descriptor.fields:
        tag = bytes([field.number << 3 | 2])
        if field.type == field.TYPE_STRING:
            return tag + b"\x02\xc3\x28"
        if field.message_type is not None and depth < 4:
            inner = _with_bad_text(field.message_type, depth + 1)
            if inner is not None:
                return tag + bytes([len(inner)]) + inner
    return None


@pytest.mark.parametrize("path", METHODS)
def test_promise_bad_input_larger_than_a_message_may_be(harness: Harness, path: str) -> None:
    # No message has a field 15; only its size is too large.
    data = b"\x7a" + b"\x80\x80\x80\x05" + bytes(10 << 20)
    error = call(harness.channel, path, data)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger" in error.details()


# Not CreateToken: once a token exists, the service requires one.
@pytest.mark.parametrize("path", [each for each in METHODS if not each.endswith("/CreateToken")])
def test_promise_bad_input_any_message(harness: Harness, stubs: Stubs, path: str) -> None:
    """Messages that are well-formed but senseless."""
    method = METHODS[path]
    chance = random.Random(path)
    for _ in range(25):
        request = GetMessageClass(method.input_type)()
        _fill(request, chance)
        endless = method.name in {"Watch", "TailLogs"} and not method.client_streaming
        error = call(
            harness.channel, path, request.SerializeToString(), timeout=1.0 if endless else 30.0
        )
        if error is not None and not (
            endless and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        ):
            assert_calm(error)
    still_works(stubs)


def _fill(message: Any, chance: random.Random, depth: int = 0) -> None:
    """Set some of the fields to some value."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.4 or (depth > 3 and field.message_type is not None):
            continue
        count = chance.randint(1, 3) if field.is_repeated else 1
        for _ in range(count):
            if field.message_type is not None:
                inner = getattr(message, field.name)
                if field.message_type.GetOptions().map_entry:
                    key, value = (_any_value(each, chance) for each in field.message_type.fields)
                    inner[key] = value
                    continue
                _fill(inner.add() if field.is_repeated else inner, chance, depth + 1)
                continue
            value = _any_value(field, chance)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)


def _any_value(field: Any, chance: random.Random) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return chance.randbytes(chance.randint(0, 50))
        return chance.choice(["", "x", new_id(), "\0", "𝄞" * 70, "'; DROP TABLE run; --", "%"])
    if field.cpp_type == field.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.cpp_type == field.CPPTYPE_ENUM:
        return chance.choice([0, 1, 2, 3, 6, 99, 2**31 - 1])
    if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
        return chance.choice([0, 1, 5, 2**32 - 1])
    return chance.choice([0, 1, -1, 5, 2**31 - 1, -(2**31)])


def nested(depth: int) -> failure_pb2.Failure:
    failure = failure_pb2.Failure(type="E")
    for _ in range(depth - 1):
        failure = failure_pb2.Failure(type="E", cause=failure)
    return failure


def log(**fields: Any) -> report_pb2.Event:
    values = {"run_id": new_id(), "message": "m", "time": now(), **fields}
    return report_pb2.Event(log=log_pb2.LogRecord(**values))


def artifact(**fields: Any) -> report_pb2.Event:
    values = {"id": new_id(), "type": "link", "create_time": now(), **fields}
    return report_pb2.Event(artifact_created=artifact_pb2.Artifact(**values))


def artifact_change(**fields: Any) -> report_pb2.Event:
    values = {"id": new_id(), "change_time": now(), **fields}
    return report_pb2.Event(artifact_changed=artifact_pb2.ArtifactChange(**values))


ID = "018f4b1e-7c1a-7000-8000-000000000001"
BAD_EVENTS = {
    "no id": created(""),
    "no uuid": created("hello"),
    "upper case": entered(ID.upper(), "RUNNING"),
    "no kind": created(ID, kind="UNSPECIFIED"),
    "no name": created(ID, function_name=""),
    "long name": created(ID, function_name="n" * 257),
    "long run name": created(ID, run_name="ä" * 129),
    "no state": report_pb2.Event(
        run_created=report_pb2.RunCreated(run_id=ID, kind=1, function_name="f")
    ),
    "no type": entered(ID, "UNSPECIFIED"),
    "time before 1970": entered(ID, "RUNNING", time={"seconds": -1}),
    "time after 9999": entered(ID, "RUNNING", time={"seconds": 1 << 60}),
    "nanos": entered(ID, "RUNNING", time={"seconds": 5, "nanos": 2_000_000_000}),
    "long message": entered(ID, "RUNNING", message="m" * 32_769),
    "long state name": entered(ID, "RUNNING", name="m" * 129),
    "negative attempt": entered(ID, "RUNNING", attempt=-1),
    "huge attempt": entered(ID, "RUNNING", attempt=2**31 - 1),
    "deep failure": entered(ID, "FAILED", failure=nested(17)),
    "very deep failure": entered(ID, "FAILED", failure=nested(60)),
    "long stack trace": entered(
        ID, "FAILED", failure=failure_pb2.Failure(stack_trace="s" * 65_537)
    ),
    "large result": entered(
        ID, "COMPLETED", result=payload_pb2.Payload(encoding="x", data=bytes((1 << 20) + 1))
    ),
    "result without encoding": entered(ID, "COMPLETED", result=payload_pb2.Payload(data=b"1")),
    "too many tags": created(ID, tags=["t"] * 65),
    "large parameters": created(
        ID, parameters=payload_pb2.Payload(encoding="json", data=bytes((512 << 10) + 1))
    ),
    "bad trace": created(ID, trace=trace_pb2.TraceContext(traceparent="00-zz")),
    "bad parent span": created(
        ID,
        trace=trace_pb2.TraceContext(
            traceparent=f"00-{'a' * 32}-{'b' * 16}-01", parent_span_id="B" * 16
        ),
    ),
    "long tracestate": created(
        ID,
        trace=trace_pb2.TraceContext(
            traceparent=f"00-{'a' * 32}-{'b' * 16}-01", tracestate="x" * 513
        ),
    ),
    "log without run": log(run_id=""),
    "long log": log(message="m" * (256 * 1024 + 1)),
    "long logger": log(logger="l" * 257),
    "log trace id": log(trace_id="a" * 31),
    "log span id": log(span_id="g" * 16),
    "log level": log(level=-10),
    "log chunk": log(chunk_index=-1),
    **{
        f"NUL in {name}": created(ID, **{name: value})
        for name, value in {
            "function_name": "a\0b",
            "run_name": "a\0",
            "version": "\0",
            "tags": ["good", "b\0d"],
            "state": state("PENDING", name="\0"),
        }.items()
    },
    "NUL in a long run_name": created(ID, run_name="n" * 100 + "\0"),
    "NUL in a state's name": entered(ID, "RUNNING", name="a\0"),
    "NUL in a state's message": entered(ID, "RUNNING", message="a\0"),
    "NUL in a failure": entered(ID, "FAILED", failure=failure_pb2.Failure(message="a\0")),
    "NUL in a logger": log(logger="a\0"),
    "NUL in an artifact's type": artifact(type="a\0"),
    "NUL in an artifact's description": artifact(description="a\0"),
    "NUL in a change's description": artifact_change(description="a\0"),
    "artifact without id": artifact(id=""),
    "artifact without type": artifact(type=""),
    "artifact without time": artifact(create_time=None),
    "artifact's key": artifact(key="Key"),
    "artifact's run": artifact(run_id="run"),
    "artifact's long description": artifact(description="d" * 32_769),
    "artifact's large data": artifact(
        data=payload_pb2.Payload(encoding="json", data=bytes((1 << 20) + 1))
    ),
    "artifact's data without encoding": artifact(data=payload_pb2.Payload(data=b"1")),
    "change without id": artifact_change(id=""),
    "change without time": artifact_change(change_time=None),
    "change's long description": artifact_change(description="d" * 32_769),
    "nothing": report_pb2.Event(),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_promise_bad_input_events_are_named_and_nothing_is_applied(
    harness: Harness, stubs: Stubs, name: str
) -> None:
    good = new_id()
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(good), BAD_EVENTS[name])
    with pytest.raises(grpc.RpcError) as caught:
        stream.receive("ack")
    assert_calm(caught.value)
    assert caught.value.details().startswith("Event 4: ")
    assert error_info(caught.value).metadata["sequence"] == "4"
    listed = stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest())
    assert not listed.flow_runs


@pytest.mark.parametrize(
    ("field", "run"),
    [
        ("flow_run.flow_name", {"flow_name": "a\0b"}),
        ("flow_run.name", {"name": "a\0b"}),
        ("flow_run.tags", {"tags": ["a\0b"]}),
        ("flow_run.state.message", {"state": state("PENDING", message="a\0b")}),
    ],
)
def test_promise_bad_input_nul_in_a_request(stubs: Stubs, field: str, run: dict[str, Any]) -> None:
    good = {"id": new_id(), "flow_name": "f", "state": state("PENDING")}
    request = flow_run_service_pb2.CreateFlowRunRequest(flow_run={**good, **run})
    told = refused(lambda: stubs.flow_runs.CreateFlowRun(request), INVALID, "INVALID_FIELD")
    assert told["field"] == field


def test_promise_bad_input_nul_in_a_filter(stubs: Stubs) -> None:
    request = flow_run_service_pb2.ListFlowRunsRequest(filter={"tags": ["a\0b"]})
    refused(lambda: stubs.flow_runs.ListFlowRuns(request), INVALID, "INVALID_FIELD")


def test_promise_bad_input_nul_in_a_log_is_shown_by_its_symbol(
    harness: Harness, stubs: Stubs
) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), log(run_id=run_id, message="a\0b\0")))
    answer = stubs.logs.ListLogs(log_service_pb2.ListLogsRequest(run_id=run_id))
    assert [each.message for each in answer.logs] == ["a␀b␀"]
    stream.goodbye()


def test_promise_bad_input_at_the_limits_is_good(harness: Harness) -> None:
    run_id, child = new_id(), new_id()
    stream = ReportStream(harness.channel)
    big = payload_pb2.Payload(encoding="e" * 64, data=bytes(1 << 20))
    stream.report(
        created(
            run_id,
            function_name="é" * 128,
            run_name="n" * 256,
            tags=["t" * 256] * 64,
            version="v" * 256,
            parameters=payload_pb2.Payload(encoding="json", data=b"1" * (512 << 10)),
            state=state("PENDING", name="s" * 128, message="ö" * 16_384),
        ),
        log(run_id=run_id, message="m" * (256 << 10), logger="l" * 256),
        entered(run_id, "FAILED", failure=nested(16)),
        created(child),
        entered(child, "COMPLETED", result=big),
    )
    stream.wait_for_ack(5)
    stream.goodbye()
    assert stream.verdicts == []


def test_promise_bad_input_bytes_within_a_stream(harness: Harness) -> None:
    hello = report_pb2.Hello(session_id=new_id())
    first = report_service_pb2.ReportRequest(hello=hello).SerializeToString()
    for bad in (b"\xff\xff\xff", b"\x12\x05\x12\x03\xff\xff\xff", b"\x12\xff"):
        assert_calm(call(harness.channel, "/flowspan.v1.ReportService/Report", first, bad))


def test_promise_bad_input_sequences(harness: Harness) -> None:
    for first in (0, -1, -(2**63), 2**63 - 1):
        stream = ReportStream(harness.channel)
        stream.next_sequence = first
        stream.report(created(new_id()))
        with pytest.raises(grpc.RpcError) as caught:
            stream.receive("ack")
        assert_calm(caught.value)


def test_unknown_methods_are_unimplemented(harness: Harness) -> None:
    for path in ("/flowspan.v1.FlowRunService/Nothing", "/flowspan.v2.FlowRunService/GetFlowRun"):
        with pytest.raises(grpc.RpcError) as caught:
            harness.channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_defect_is_internal_without_its_traceback(harness: Harness, stubs: Stubs) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("the secret of the database")

    request = flow_run_service_pb2.ListFlowRunsRequest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.store.runs, "list_keys", fail)
        with pytest.raises(grpc.RpcError) as caught:
            stubs.flow_runs.ListFlowRuns(request)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    info = error_info(caught.value)
    assert info.reason == "INTERNAL"
    assert info.metadata["error_id"] in caught.value.details()
    assert "secret" not in caught.value.details()
    assert "ZeroDivision" not in caught.value.details()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=200))
def test_promise_bad_input_batches_of_any_bytes(harness: Harness, data: bytes) -> None:
    hello = report_pb2.Hello(session_id=new_id())
    request = report_service_pb2.ReportBatchRequest(hello=hello).SerializeToString()
    # Field 2, the batch, of this length: two bytes, the lower seven bits first.
    length = bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
    path = "/flowspan.v1.ReportService/ReportBatch"
    error = call(harness.channel, path, request + b"\x12" + length + data)
    if error is not None:
        assert_calm(error)


def test_token_limit_is_large_enough_for_long_names(stubs: Stubs) -> None:
    """A token holds a name of up to NAME bytes and some overhead."""
    assert limits.TOKEN > (limits.NAME + 8) * 4 / 3
    refused(
        lambda: stubs.flow_runs.ListFlowRuns(
            flow_run_service_pb2.ListFlowRunsRequest(page_token="A" * (limits.TOKEN + 1))
        ),
        INVALID,
        "BAD_TOKEN",
    )
