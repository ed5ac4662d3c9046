"""Calls over HTTP: JSON, binary, GET, compression, deadlines, errors and streams."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import struct
import time
import urllib.parse
from base64 import b64decode, b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.json_format import Parse
from google.rpc.error_details_pb2 import ErrorInfo
from tests.store.builders import new_id
from tests.support.http_channel import HttpChannel, connect_error, enveloped, trailers
from tests.support.raw_http import GENERATED, GET_RUN, JSON, LIST, TIMEOUT_S, WATCH, get, send

from flowspan.v1 import flow_run_service_pb2 as runs
from flowspan.v1 import variable_service_pb2, watch_service_pb2
from flowspan_service.api.calls.errors import CODES
from flowspan_service.api.calls.parsing import IN_A_THREAD
from flowspan_service.api.flow_runs import FlowRunService
from flowspan_service.api.services import services
from flowspan_service.domain.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import Harness, Stubs

VARIABLES = "/flowspan.v1.VariableService"
PROTO = {"content-type": "application/proto"}


@pytest.fixture
def port(harness: Harness) -> int:
    return harness.start_http()


def create_run(stubs: Stubs, **fields: Any) -> str:
    run_id = new_id()
    request = runs.CreateFlowRunRequest()
    request.flow_run.id = run_id
    request.flow_run.flow_name = fields.get("flow_name", "etl")
    request.flow_run.state.type = 2  # PENDING
    stubs.flow_runs.CreateFlowRun(request)
    return run_id


def test_curls_of_a_person(port: int, stubs: Stubs) -> None:
    run_id = create_run(stubs)
    answer = send(port, LIST)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    (run,) = answer.content["flowRuns"]
    assert (run["id"], run["flowName"]) == (run_id, "etl")
    assert run["state"]["type"] == "STATE_TYPE_PENDING"
    # The names of the protos are as good as those of JSON, and no body as good as an empty object.
    body = b'{"filter": {"function_names": ["etl"], "topLevelOnly": true}, "page_size": 1}'
    assert send(port, LIST, body).content["flowRuns"] == [run]
    assert send(port, LIST, b"").content["flowRuns"] == [run]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"ordr": 1}', "ordr"),
        (b'{"filter": {"flow": "x"}}', "filter.flow"),
        (b'{"order": "WRONG"}', "order"),
        (b'{"filter": {"stateTypes": ["STATE_TYPE_DONE"]}}', "filter.stateTypes"),
        (b'{"pageSize": "many"}', "pageSize"),
        (b'{"pageSize": 1.5}', "pageSize"),
        (b'{"pageSize": 1, "pageSize": 2}', "pageSize"),
        (b'{"filter": {"createdAfter": "yesterday"}}', "filter.createdAfter"),
        (b'{"filter": {"functionNames": "x"}}', "filter.functionNames"),
        (b'{"filter": {"functionNames": ["\\ud800"]}}', None),
        (b'{"pageSize": NaN}', None),
        (b"[]", None),
        (b'{"pageSize": 1', None),
        (b"\xff", None),
        (b"[" * 30_000, None),
    ],
)
def test_json_that_is_wrong_is_refused_with_the_name_of_the_field(
    port: int, body: bytes, field: str | None
) -> None:
    answer = send(port, LIST, body)
    assert answer.status == 400, answer.body
    assert answer.content["code"] == "invalid_argument"
    assert answer.info["reason"] == "INVALID_FIELD"
    if field is not None:
        assert answer.info["metadata"]["field"] == field
        assert answer.content["message"].startswith(f"{field}: ")


def test_generated_clients_may_be_newer_but_never_vague(port: int) -> None:
    newer = b'{"ordr": 1, "filter": {"flow": {"a": "b"}}, "pageSize": 3}'
    assert send(port, LIST, newer, GENERATED).status == 200
    assert send(port, LIST, newer).status == 400
    # An unknown value of an enum never counts as the default one.
    assert send(port, LIST, b'{"order": "WRONG"}', GENERATED).info["metadata"]["field"] == "order"
    assert send(port, LIST, b'{"order": 77}', GENERATED).info["metadata"]["field"] == "order"
    assert send(port, LIST, b"{}", {**JSON, "connect-protocol-version": "2"}).status == 400


def test_binary_takes_and_gives_the_bytes_of_grpc(port: int, stubs: Stubs) -> None:
    run_id = create_run(stubs)
    answer = send(port, GET_RUN, runs.GetFlowRunRequest(id=run_id).SerializeToString(), PROTO)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/proto"
    expected = stubs.flow_runs.GetFlowRun(runs.GetFlowRunRequest(id=run_id))
    assert runs.GetFlowRunResponse.FromString(answer.body) == expected
    assert send(port, GET_RUN, b"\xff\xff", PROTO).info["reason"] == "INVALID_FIELD"


def test_get_reads_without_side_effects(port: int, stubs: Stubs) -> None:
    run_id = create_run(stubs)
    message = json.dumps({"id": run_id})
    queries = [
        {"message": message},
        {"connect": "v1", "encoding": "json", "message": message},
        {
            "connect": "v1",
            "encoding": "json",
            "base64": "1",
            "message": urlsafe_b64encode(message.encode()).decode().rstrip("="),
        },
        {
            "encoding": "json",
            "base64": "1",
            "compression": "gzip",
            "message": urlsafe_b64encode(gzip.compress(message.encode())).decode(),
        },
    ]
    for query in queries:
        answer = get(port, f"{GET_RUN}?{urllib.parse.urlencode(query)}")
        assert answer.status == 200, (query, answer.body)
        assert answer.content["flowRun"]["id"] == run_id
        assert answer.headers["cache-control"] == "no-store"
    binary = runs.GetFlowRunRequest(id=run_id).SerializeToString()
    encoded = urlsafe_b64encode(binary).decode()
    answer = get(port, f"{GET_RUN}?connect=v1&encoding=proto&base64=1&message={encoded}")
    assert runs.GetFlowRunResponse.FromString(answer.body).flow_run.id == run_id
    for wrong in (
        "encoding=xml",
        "connect=v2",
        "base64=1&message=a",
        "message={",
        "&".join("ab" * 30),
    ):
        assert get(port, f"{GET_RUN}?{wrong}").status in (400, 415), wrong
    # What changes something is not for links and images.
    answer = get(port, f"{VARIABLES}/DeleteVariable?message={{}}")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_compression_both_ways(port: int, stubs: Stubs) -> None:
    for _ in range(20):
        create_run(stubs)
    packed = {**JSON, "content-encoding": "gzip", "accept-encoding": "br, gzip"}
    answer = send(port, LIST, gzip.compress(b'{"pageSize": 15}'), packed)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["flowRuns"]) == 15
    assert len(answer.body) < len(send(port, LIST, b'{"pageSize": 15}').body) / 2
    small = send(port, LIST, b'{"pageSize": 1}', {**JSON, "accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers
    none = send(port, LIST, b"{}", {**JSON, "accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in none.headers
    broken = gzip.compress(b"{}")[:-3]
    assert send(port, LIST, broken, packed).status == 400
    assert send(port, LIST, gzip.compress(b"{}") * 2, packed).status == 400
    unknown = send(port, LIST, b"{}", {**JSON, "content-encoding": "br"})
    assert (unknown.status, unknown.content["code"]) == (501, "unimplemented")


def test_large_messages_are_converted_in_threads_and_are_the_same(port: int, stubs: Stubs) -> None:
    data = json.dumps(["x" * 300_000]).encode()
    run = {
        "id": new_id(),
        "flowName": "large",
        "state": {"type": "STATE_TYPE_PENDING"},
        "parameters": {"encoding": "json", "data": b64encode(data).decode()},
    }
    body = json.dumps({"flowRun": run}).encode()
    assert len(body) > IN_A_THREAD
    created = send(port, "/flowspan.v1.FlowRunService/CreateFlowRun", body)
    assert created.status == 200, created.body
    request = runs.GetFlowRunRequest(id=run["id"])
    expected = stubs.flow_runs.GetFlowRun(request)
    assert expected.flow_run.parameters.data == data
    answer = send(port, GET_RUN, json.dumps({"id": run["id"]}).encode())
    assert Parse(answer.body, runs.GetFlowRunResponse()).flow_run.id == run["id"]
    packed = send(port, GET_RUN, request.SerializeToString(), {**PROTO, "accept-encoding": "gzip"})
    assert runs.GetFlowRunResponse.FromString(gzip.decompress(packed.body)) == expected


def test_bombs_are_refused_by_their_decompressed_size(port: int) -> None:
    bomb = gzip.compress(b'{"pageToken": "' + b" " * (200 << 20) + b'"}')
    assert len(bomb) < 300_000
    packed = {**JSON, "content-encoding": "gzip"}
    began = time.process_time()
    answer = send(port, LIST, bomb, packed)
    assert answer.status == 413
    assert answer.info["reason"] == "TOO_LARGE"
    assert time.process_time() - began < 1.0  # 200 MiB would take longer
    path = WATCH
    framed = {"content-type": "application/connect+json", "connect-content-encoding": "gzip"}
    answer = send(port, path, enveloped(bomb[: 100 << 10], 1), framed)
    assert b"invalid_argument" in answer.body


@pytest.mark.parametrize("reason", sorted(CODES))
def test_each_error_has_the_status_and_the_details_of_its_reason(
    harness: Harness, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = 'Says "why": ü 100 %\nand more'

    async def fail(*_: object) -> None:
        error = ServiceError(message, advice="Do this.", field="page_token")
        error.reason = reason
        raise error

    monkeypatch.setattr(FlowRunService, "ListFlowRuns", fail)
    port = harness.start_http()
    code = CODES[reason]
    answer = send(port, LIST)
    content = answer.content
    assert content["code"] == code.name.lower()
    assert content["message"] == message
    status = {
        3: 400,
        5: 404,
        6: 409,
        7: 403,
        8: 429,
        9: 400,
        10: 409,
        11: 400,
        13: 500,
        14: 503,
        16: 401,
    }
    assert answer.status == status[code]
    for failure in (connect_error(content), web_failure(port, LIST)):
        assert failure.code() is grpc.StatusCode[code.name]
        assert failure.details() == content["message"]
        info = error_info(failure)
        assert (info.reason, info.domain) == (reason, "flowspan.v1")
        assert dict(info.metadata) == {"advice": "Do this.", "field": "page_token"}


def error_info(failure: Any) -> ErrorInfo:
    from grpc_status import rpc_status  # noqa: PLC0415 - only here

    status = rpc_status.from_call(failure)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def web_failure(port: int, path: str) -> Any:
    channel = HttpChannel(port, "grpc-web")
    method = channel.unary_unary(path, lambda data: data, lambda data: data)
    with pytest.raises(grpc.RpcError) as caught:
        method(b"")
    return caught.value


def test_unexpected_errors_refer_to_the_log(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FlowRunService, "ListFlowRuns", fail)
    port = harness.start_http()
    answer = send(port, LIST)
    assert (answer.status, answer.content["code"]) == (500, "internal")
    assert answer.info["metadata"]["error_id"] in answer.content["message"]
    assert "ZeroDivision" not in answer.body.decode()


def test_deadlines(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(FlowRunService, "ListFlowRuns", hang)
    port = harness.start_http()
    answer = send(port, LIST, b"{}", {**JSON, "connect-timeout-ms": "20"})
    assert (answer.status, answer.content["code"]) == (504, "deadline_exceeded")
    for wrong in ("", "soon", "-1", "1.5", "12345678901", "\xb2"):
        headers = {**JSON, "connect-timeout-ms": wrong}
        assert send(port, LIST, b"{}", headers).status == 400, wrong
    channel = HttpChannel(port, "grpc-web")
    watch = channel.unary_stream(WATCH, lambda data: data, lambda data: data)
    with pytest.raises(grpc.RpcError) as caught:
        list(watch(b"", timeout=0.05))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_calls_end_when_the_client_goes_away(harness: Harness, port: int) -> None:
    async def open_calls() -> int:
        return harness.backend.activity.open_calls

    # The harness has just ended a watch of its own.
    wait_until(lambda: harness.run(open_calls()) == 0)
    connections = [
        http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S) for _ in range(3)
    ]
    for connection in connections:
        headers = {"content-type": "application/connect+json"}
        connection.request("POST", WATCH, enveloped(b"{}"), headers)
        assert connection.getresponse().status == 200
    wait_until(lambda: harness.run(open_calls()) == 3)
    for connection in connections:
        connection.close()
    del connections, connection
    wait_until(lambda: harness.run(open_calls()) == 0)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def frames(answer: http.client.HTTPResponse) -> Iterator[tuple[int, bytes]]:
    while head := answer.read(5):
        flags, length = struct.unpack(">BI", head)
        yield flags, answer.read(length)


def test_a_watch_streams_json_and_sends_its_headers_at_once(port: int, stubs: Stubs) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"content-type": "application/connect+json"}
    connection.request("POST", WATCH, enveloped(b'{"changesOnly": true}'), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("content-type") == "application/connect+json"
    assert answer.getheader("x-accel-buffering") == "no"
    found = frames(answer)
    flags, marker = next(found)
    assert (flags, json.loads(marker)["snapshotEnd"]) == (0, {})
    run_id = create_run(stubs)
    flags, change = next(found)
    assert json.loads(change)["change"]["flowRun"]["id"] == run_id
    connection.close()


def test_streams_end_with_an_error_in_their_last_envelope(harness: Harness, port: int) -> None:
    answer = send(
        port,
        WATCH,
        enveloped(json.dumps({"runId": new_id()}).encode()),
        {"content-type": "application/connect+json"},
    )
    assert answer.status == 200
    flags, length = struct.unpack(">BI", answer.body[:5])
    assert (flags, length) == (2, len(answer.body) - 5)
    assert json.loads(answer.body[5:])["error"]["code"] == "not_found"
    for body in (b"", b"{}", enveloped(b"{}") * 2, enveloped(b"{}", 1), enveloped(b"{}", 4)):
        answer = send(port, WATCH, body, {"content-type": "application/connect+json"})
        assert b"invalid_argument" in answer.body, body
    # A stop ends them, too, and says so.
    watch = HttpChannel(port).unary_stream(WATCH, lambda data: data, lambda data: data)
    call = watch(b"")
    next(call)
    harness.stop_server()
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error_info(caught.value).reason == "STOPPING"


def test_streams_are_compressed_message_by_message(port: int, stubs: Stubs) -> None:
    request = runs.CreateFlowRunRequest()
    request.flow_run.id = run_id = new_id()
    request.flow_run.flow_name = "etl"
    request.flow_run.state.type = 2
    request.flow_run.parameters.encoding = "json"
    request.flow_run.parameters.data = json.dumps(["x" * 10_000]).encode()
    stubs.flow_runs.CreateFlowRun(request)
    headers = {
        "content-type": "application/connect+proto",
        "connect-content-encoding": "gzip",
        "connect-accept-encoding": "gzip",
        "connect-timeout-ms": "1000",
    }
    body = watch_service_pb2.WatchRequest(flow_runs_only=True).SerializeToString()
    answer = send(port, WATCH, enveloped(gzip.compress(body), 1), headers)
    assert answer.headers["connect-content-encoding"] == "gzip"
    flags, length = struct.unpack(">BI", answer.body[:5])
    assert flags == 1
    message = watch_service_pb2.WatchResponse.FromString(
        gzip.decompress(answer.body[5 : 5 + length])
    )
    assert message.flow_run.id == run_id


def test_grpc_web_as_text(port: int, stubs: Stubs) -> None:
    run_id = create_run(stubs)
    body = b64encode(enveloped(runs.GetFlowRunRequest(id=run_id).SerializeToString()))
    answer = send(port, GET_RUN, body, {"content-type": "application/grpc-web-text"})
    assert answer.headers["content-type"] == "application/grpc-web-text"
    # Each envelope is encoded separately.
    message, padding, end = answer.body.partition(b"==")
    if not padding:
        message, padding, end = answer.body.partition(b"=")
    data = b64decode(message + padding) + (b64decode(end) if end else b"")
    flags, length = struct.unpack(">BI", data[:5])
    assert flags == 0
    assert runs.GetFlowRunResponse.FromString(data[5 : 5 + length]).flow_run.id == run_id
    assert trailers(data[5 + length + 5 :]) == {"grpc-status": "0"}
    answer = send(port, GET_RUN, b"%%", {"content-type": "application/grpc-web-text"})
    assert trailers(b64decode(answer.body)[5:])["grpc-status"] == "3"


def test_grpc_web_with_json(port: int, stubs: Stubs) -> None:
    run_id = create_run(stubs)
    body = enveloped(json.dumps({"id": run_id}).encode())
    answer = send(port, GET_RUN, body, {"content-type": "application/grpc-web+json"})
    _, length = struct.unpack(">BI", answer.body[:5])
    assert json.loads(answer.body[5 : 5 + length])["flowRun"]["id"] == run_id


def test_the_report_stream_is_refused_with_advice(port: int) -> None:
    path = "/flowspan.v1.ReportService/Report"
    answer = send(port, path)
    assert (answer.status, answer.content["code"]) == (501, "unimplemented")
    assert "ReportBatch and WatchCommands" in answer.content["message"]
    answer = send(port, path, enveloped(b""), {"content-type": "application/connect+proto"})
    assert json.loads(answer.body[5:])["error"]["code"] == "unimplemented"
    answer = send(port, path, enveloped(b""), {"content-type": "application/grpc-web"})
    assert trailers(answer.body[5:])["grpc-status"] == "12"


def test_every_method_answers_over_every_protocol(harness: Harness, port: int) -> None:
    """An empty request gets the same code everywhere: an answer, or the refusal of its checks."""
    methods = [each for table in services(harness.backend).values() for each in table]
    assert len(methods) > 25
    for method in methods:
        if method.takes_frames or method.name == "Watch":
            continue
        kinds = ["application/grpc-web+proto", "application/grpc-web+json"]
        kinds += (
            ["application/connect+json", "application/connect+proto"]
            if method.is_stream
            else ["application/json", "application/proto"]
        )
        codes = set()
        for kind in kinds:
            text = b"{}" if kind.endswith("json") else b""
            is_framed = "+" in kind
            body = enveloped(text) if is_framed else text
            answer = send(port, method.path, body, {"content-type": kind})
            codes.add(code_of(kind, answer))
        if method.has_no_side_effects and not method.is_stream:
            codes.add(code_of("application/json", get(port, method.path)))
        assert len(codes) == 1, (method.path, codes)


def code_of(kind: str, answer: Any) -> str:
    if "+" not in kind:
        return "ok" if answer.status == 200 else answer.content["code"]
    assert answer.status == 200, answer.body
    at, last = 0, b""
    while at < len(answer.body):
        _, length = struct.unpack(">BI", answer.body[at : at + 5])
        last = answer.body[at + 5 : at + 5 + length]
        at += 5 + length
    if "grpc-web" in kind:
        number = int(trailers(last)["grpc-status"])
        return next(code.name.lower() for code in grpc.StatusCode if code.value[0] == number)
    return json.loads(last).get("error", {"code": "ok"})["code"]


def test_json_carries_every_field_of_a_variable_both_ways(port: int) -> None:
    value = {"encoding": "json", "text": '{"a": [1, 2.5, "ü"]}'}
    sent = {"variable": {"name": "rate", "value": value, "tags": ["x"]}}
    answer = send(port, f"{VARIABLES}/SetVariable", json.dumps(sent).encode())
    assert answer.status == 200, answer.body
    found = get(port, f"{VARIABLES}/GetVariable?message=" + urllib.parse.quote('{"name": "rate"}'))
    variable = found.content["variable"]
    assert {name: variable[name] for name in sent["variable"]} == sent["variable"]
    # In binary, the value is in `data`, as always.
    request = variable_service_pb2.GetVariableRequest(name="rate").SerializeToString()
    binary = send(port, f"{VARIABLES}/GetVariable", request, PROTO).body
    stored = variable_service_pb2.GetVariableResponse.FromString(binary).variable.value
    assert (stored.data.decode(), stored.text) == (value["text"], "")
