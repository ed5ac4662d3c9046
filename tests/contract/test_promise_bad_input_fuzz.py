"""Promise 13 with random input: every method and the report stream, from the descriptors.

No request is answered with INTERNAL or UNKNOWN, every answer is bounded and timely, and the service
stays up. The seed is in the name of each test. Try other seeds and more calls with
FLOWSPAN_TEST_FUZZ_SEEDS ("7" or "100-140") and FLOWSPAN_TEST_FUZZ_CALLS.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import symbol_database
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from tests.support.fuzz import Fuzzer
from tests.support.harness import Harness, Stubs, error_info
from tests.support.history import check_all_histories, watch_from_here
from tests.support.report_client import created, entered, new_id, whole_run

from flowspan.v1 import (
    artifact_pb2,
    artifact_service_pb2,
    flow_run_service_pb2,
    label_service_pb2,
    log_pb2,
    payload_pb2,
    report_pb2,
    report_service_pb2,
    system_service_pb2,
    variable_service_pb2,
)
from flowspan_service.api import limits
from flowspan_service.api.services import SERVICE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = int(os.environ.get("FLOWSPAN_TEST_FUZZ_CALLS", "25"))
"""The number of calls per method."""
STREAMS = 3 * CALLS
TIMEOUT_S = 60.0
GLANCE_S = 0.2
"""The time for which an endless response is read."""
MOST = limits.MAX_MESSAGE
BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}


def seeds() -> list[int]:
    first, _, last = os.environ.get("FLOWSPAN_TEST_FUZZ_SEEDS", "1-2").partition("-")
    return list(range(int(first), int(last or first) + 1))


def methods() -> list[Any]:
    symbol_database.Default()
    return [
        method
        for name in SERVICE_NAMES
        for method in Default().FindServiceByName(name).methods
        # Once a token exists, the service requires one.
        if method.name != "CreateToken"
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> Iterator[Harness]:
    """Yield a server over either database, with a few objects of every kind."""
    db = None
    if request.param == "sqlite":
        shutil.copy(empty_database, tmp_path)
    else:
        db = request.getfixturevalue("postgres_url")
    harness = Harness(tmp_path, db=db)
    try:
        token = watch_from_here(harness.channel)
        yield harness
        # The data stored on the way must be legal as well.
        check_all_histories(harness.channel, token=token)
    finally:
        harness.close()


def furnish(stubs: Stubs, fuzzer: Fuzzer) -> None:
    """Store a few objects of every kind, and give their ids and names to the fuzzer."""
    parent, child, task, session_id = (new_id() for _ in range(4))
    log = log_pb2.LogRecord(run_id=parent, message="m", logger="key")
    log.time.GetCurrentTime()
    stubs.reports.ReportBatch(
        report_service_pb2.ReportBatchRequest(
            hello={"session_id": session_id},
            batch={
                "first_sequence": 1,
                "events": [
                    *whole_run(parent, tags=["tag"]),
                    created(child, parent_run_id=parent, root_run_id=parent),
                    entered(child, "RUNNING"),
                    created(task, kind="TASK", flow_run_id=parent, root_run_id=parent),
                    *[report_pb2.Event(log=log)] * 20,
                ],
            },
        )
    )
    artifact = artifact_pb2.Artifact(id=new_id(), key="key", type="link", run_id=parent)
    stubs.artifacts.CreateArtifact(artifact_service_pb2.CreateArtifactRequest(artifact=artifact))
    value = payload_pb2.Payload(encoding="json", data=b"1")
    stubs.variables.SetVariable(
        variable_service_pb2.SetVariableRequest(variable={"name": "key", "value": value})
    )
    stubs.labels.SetLabels(
        label_service_pb2.SetLabelsRequest(run_id=parent, labels={"key": "value"})
    )
    page = stubs.flow_runs.ListFlowRuns(flow_run_service_pb2.ListFlowRunsRequest(page_size=1))
    fuzzer.tokens += ["", page.next_page_token, page.next_page_token[:-2] + "AA"]
    fuzzer.ids += [parent, child, task, session_id, artifact.id, *(new_id() for _ in range(5))]


class Caller:
    """Calls with raw bytes and checks the responses.

    Args:
        channel: A channel to the service.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.codes: dict[str, int] = {}

    def call(self, method: Any, *requests: bytes) -> None:
        """Call a method.

        Raises:
            AssertionError: The service misbehaves; the message has the requests.
        """
        path = f"/{method.containing_service.full_name}/{method.name}"
        is_endless = method.server_streaming and not method.client_streaming
        timeout = GLANCE_S if is_endless else TIMEOUT_S
        failure: Any = None
        try:
            for data in self._answers(path, method, requests, timeout):
                assert len(data) <= MOST, f"{path} answers with {len(data)} bytes"
        except grpc.RpcError as error:
            failure = error
        code = "OK" if failure is None else failure.code().name
        self.codes[code] = self.codes.get(code, 0) + 1
        if failure is None or (is_endless and code == "DEADLINE_EXCEEDED"):
            return
        assert failure.code() not in BROKEN, f"{failure}\n{_shown(method, requests)}"
        assert error_info(failure).reason, _shown(method, requests)
        assert len(failure.details()) < 2000

    def _answers(
        self, path: str, method: Any, requests: tuple[bytes, ...], timeout: float
    ) -> Iterator[bytes]:
        if method.client_streaming:
            yield from self._channel.stream_stream(path)(iter(requests), timeout=timeout)
        elif method.server_streaming:
            yield from self._channel.unary_stream(path)(requests[0], timeout=timeout)
        else:
            yield self._channel.unary_unary(path)(requests[0], timeout=timeout)


def _shown(method: Any, requests: tuple[bytes, ...]) -> str:
    """Format the requests of a call for reproduction."""
    lines = [f"{method.full_name}:"]
    for data in requests:
        with contextlib.suppress(DecodeError):
            message = GetMessageClass(method.input_type).FromString(data)
            lines.append(str(message)[:3000])
        lines.append(repr(data[:3000]))
    return "\n".join(lines)


def stream_of(fuzzer: Fuzzer) -> list[bytes]:
    """Return the frames of a stream: mostly Hello, consecutive batches, and Goodbye."""
    chance, sequence = fuzzer.chance, 1
    fuzzer.left_out = chance.choice([0.0, 0.01, 0.1])
    hello = report_pb2.Hello(session_id=new_id())
    if chance.random() < 0.3:
        fuzzer.fill(hello)
    frames: list[Message] = []
    if chance.random() < 0.95:
        frames.append(report_service_pb2.ReportRequest(hello=hello))
    for _ in range(chance.randint(0, 6)):
        frame = report_service_pb2.ReportRequest()
        if chance.random() < 0.15:
            fuzzer.fill(frame)
        else:
            count = chance.choice([1, 1, 1, 3, 10])
            frame.batch.first_sequence = sequence
            for _ in range(count):
                fuzzer.fill(frame.batch.events.add())
            sequence += count
        frames.append(frame)
    if chance.random() < 0.7:
        frames.append(report_service_pb2.ReportRequest(goodbye={}))
    return [fuzzer.bytes_of(frame) for frame in frames]


def batch_of(fuzzer: Fuzzer) -> bytes:
    """Return a ReportBatchRequest, mostly of a new session with one event or a few."""
    request = report_service_pb2.ReportBatchRequest()
    fuzzer.left_out = fuzzer.chance.choice([0.0, 0.01, 0.1])
    fuzzer.fill(request)
    if fuzzer.chance.random() < 0.8:
        request.hello.session_id = new_id()
        request.batch.first_sequence = 1
        del request.batch.events[fuzzer.chance.choice([1, 1, 2, 5]) :]
    return fuzzer.bytes_of(request)


@pytest.mark.parametrize("seed", seeds())
def test_promise_bad_input_of_every_method_at_random(fuzzed: Harness, seed: int) -> None:
    stubs, fuzzer, caller = Stubs(fuzzed.channel), Fuzzer(seed), Caller(fuzzed.channel)
    furnish(stubs, fuzzer)
    for _ in range(CALLS):
        for method in methods():
            if method.name == "Report":
                continue
            if method.server_streaming and fuzzer.chance.random() < 0.7:
                continue  # Each may take its time.
            if method.name == "ReportBatch":
                caller.call(method, batch_of(fuzzer))
            else:
                caller.call(method, fuzzer.bytes_of(fuzzer.message(method.input_type)))
    stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
    # Otherwise no request got past the validation.
    assert caller.codes["OK"] > CALLS
    assert caller.codes["INVALID_ARGUMENT"] > CALLS


@pytest.mark.parametrize("seed", seeds())
def test_promise_bad_input_of_the_stream_at_random(fuzzed: Harness, seed: int) -> None:
    stubs, fuzzer, caller = Stubs(fuzzed.channel), Fuzzer(seed), Caller(fuzzed.channel)
    furnish(stubs, fuzzer)
    (report,) = [each for each in methods() if each.name == "Report"]
    for _ in range(STREAMS):
        caller.call(report, *stream_of(fuzzer))
    stubs.system.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S)
    assert caller.codes["OK"] > 0
    assert caller.codes["INVALID_ARGUMENT"] > 0
