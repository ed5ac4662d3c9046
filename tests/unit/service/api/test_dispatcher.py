"""The servicers without a transport: calls through the dispatcher, over a real store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from tests.store.builders import new_id

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_service_pb2,
    report_pb2,
    report_service_pb2,
    state_pb2,
    system_service_pb2,
    variable_service_pb2,
    watch_service_pb2,
)
from flowspan_service.adapters.commit_notifier import CommitNotifier
from flowspan_service.adapters.connected_sessions import ConnectedSessions
from flowspan_service.api.about import About
from flowspan_service.api.backend import Activity, Backend
from flowspan_service.api.calls.call import Call
from flowspan_service.api.calls.errors import Code, code_of, error_info
from flowspan_service.api.dispatcher import Dispatcher
from flowspan_service.api.services import CAPABILITIES, SERVICE_NAMES, services
from flowspan_service.app.sessions import LeaseTerms
from flowspan_service.domain.errors import OverloadedError, ServiceError
from flowspan_service.process.clock import SystemClock
from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

CALL = Call(metadata={"user-agent": "test"}, peer="here", timeout_s=60.0)


class Caller:
    """Calls methods by name, as a transport does."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.dispatcher = Dispatcher(backend)
        self.methods = {
            method.name: method for each in services(backend).values() for method in each
        }

    async def unary(self, name: str, request: Message | bytes, answer: type[Message]) -> Any:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return answer.FromString(await self.dispatcher.unary(self.methods[name], data, CALL))

    async def stream(
        self, name: str, request: Message | AsyncIterator[bytes], answer: type[Message]
    ) -> AsyncIterator[Any]:
        data: Any = request.SerializeToString() if hasattr(request, "FromString") else request
        async with aclosing(self.dispatcher.stream(self.methods[name], data, CALL)) as answers:
            async for each in answers:
                assert type(each) is bytes
                yield answer.FromString(each)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    """Runs a test's coroutine function with a caller."""
    clock = SystemClock()
    store = open_store(f"sqlite:///{tmp_path / 'flowspan.db'}", clock=clock)

    async def with_caller(test: Any, readers: ThreadPoolExecutor) -> None:
        backend = Backend(
            store=store,
            clock=clock,
            readers=readers,
            terms=LeaseTerms(lease_us=30_000_000, grace_us=10_000_000),
            notifier=CommitNotifier(asyncio.get_running_loop(), store, readers),
            connections=ConnectedSessions(),
            about=About(
                version="1.2.3",
                database="sqlite",
                started_us=1,
                process_id=42,
                capabilities=CAPABILITIES,
            ),
            activity=Activity(last_call_us=0),
        )
        store.on_commit(backend.notifier)
        await asyncio.wait_for(test(Caller(backend)), 60)

    def run_test(test: Any) -> None:
        with ThreadPoolExecutor(2) as readers:
            asyncio.run(with_caller(test, readers))

    yield run_test
    store.close()


async def refused(call: Coroutine[Any, Any, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


def a_state(kind: Any) -> state_pb2.State:
    state = state_pb2.State(type=kind)
    state.time.GetCurrentTime()
    return state


def created(run_id: str) -> report_pb2.Event:
    new = report_pb2.RunCreated(
        run_id=run_id,
        kind=report_pb2.RUN_KIND_FLOW,
        function_name="etl",
        state=a_state(state_pb2.STATE_TYPE_PENDING),
    )
    return report_pb2.Event(run_created=new)


def entered(run_id: str, kind: Any) -> report_pb2.Event:
    return report_pb2.Event(
        state_entered=report_pb2.StateEntered(run_id=run_id, attempt=1, state=a_state(kind))
    )


def whole_run(run_id: str) -> report_pb2.Batch:
    return report_pb2.Batch(
        first_sequence=1,
        events=[
            created(run_id),
            entered(run_id, state_pb2.STATE_TYPE_RUNNING),
            entered(run_id, state_pb2.STATE_TYPE_COMPLETED),
        ],
    )


def test_unary_methods_answer(run: Any) -> None:
    async def test(caller: Caller) -> None:
        info = await caller.unary(
            "GetInfo",
            system_service_pb2.GetInfoRequest(),
            system_service_pb2.GetInfoResponse,
        )
        assert (info.version, info.process_id) == ("1.2.3", 42)
        run_id = new_id()
        request = flow_run_service_pb2.CreateFlowRunRequest(
            flow_run={"id": run_id, "flow_name": "etl"}
        )
        request.flow_run.state.type = state_pb2.STATE_TYPE_SCHEDULED
        made = await caller.unary(
            "CreateFlowRun", request, flow_run_service_pb2.CreateFlowRunResponse
        )
        assert made.created
        listed = await caller.unary(
            "ListFlowRuns",
            flow_run_service_pb2.ListFlowRunsRequest(page_size=1),
            flow_run_service_pb2.ListFlowRunsResponse,
        )
        assert list(listed.flow_runs) == [made.flow_run]
        assert caller.backend.activity.open_calls == 0
        assert caller.backend.activity.last_call_us > 0

    run(test)


def test_errors_are_service_errors_with_a_neutral_code(run: Any) -> None:
    async def test(caller: Caller) -> None:
        get = flow_run_service_pb2.GetFlowRunRequest
        answer = flow_run_service_pb2.GetFlowRunResponse
        cases = [
            (get(id=new_id()), Code.NOT_FOUND, "NOT_FOUND"),
            (get(id="5"), Code.INVALID_ARGUMENT, "INVALID_FIELD"),
            (b"\xff", Code.INVALID_ARGUMENT, "INVALID_FIELD"),
            (b"\0" * 100_000, Code.INVALID_ARGUMENT, "TOO_LARGE"),
        ]
        for request, code, reason in cases:
            error = await refused(caller.unary("GetFlowRun", request, answer))
            assert code_of(error) is code
            assert error_info(error).reason == reason
        error = await refused(
            caller.unary(
                "ListFlows",
                flow_service_pb2.ListFlowsRequest(page_token="x"),
                flow_service_pb2.ListFlowsResponse,
            )
        )
        assert error_info(error).reason == "BAD_TOKEN"
        assert caller.backend.activity.open_calls == 0

    run(test)


def test_a_defect_of_a_handler_is_an_internal_error(run: Any) -> None:
    async def test(caller: Caller) -> None:
        caller.backend.store.flows.get = None  # type: ignore[method-assign, assignment] # a defect
        error = await refused(
            caller.unary(
                "GetFlow",
                flow_service_pb2.GetFlowRequest(name="etl"),
                flow_service_pb2.GetFlowResponse,
            )
        )
        assert code_of(error) is Code.INTERNAL
        assert error.metadata["error_id"] in str(error)

    run(test)


def test_a_batch_is_stored_and_watched(run: Any) -> None:
    async def test(caller: Caller) -> None:
        run_id = new_id()
        request = report_service_pb2.ReportBatchRequest(
            hello=report_pb2.Hello(session_id=new_id()), batch=whole_run(run_id), goodbye=True
        )
        stored = await caller.unary("ReportBatch", request, report_service_pb2.ReportBatchResponse)
        assert stored.ack.up_to_sequence == 3
        assert not stored.ack.verdicts
        watch = watch_service_pb2.WatchRequest(run_id=run_id)
        answers = [
            each async for each in caller.stream("Watch", watch, watch_service_pb2.WatchResponse)
        ]
        assert [each.WhichOneof("item") for each in answers] == ["flow_run", "snapshot_end"]
        assert answers[0].flow_run.state.type == state_pb2.STATE_TYPE_COMPLETED

    run(test)


def test_a_stream_of_reports_is_acked_while_it_is_watched(run: Any) -> None:
    async def test(caller: Caller) -> None:
        run_id = new_id()
        is_watched, goodbye = asyncio.Event(), asyncio.Event()

        async def frames() -> AsyncIterator[bytes]:
            frame = report_service_pb2.ReportRequest
            yield frame(hello=report_pb2.Hello(session_id=new_id())).SerializeToString()
            await is_watched.wait()
            yield frame(batch=whole_run(run_id)).SerializeToString()
            await goodbye.wait()
            yield frame(goodbye=report_pb2.Goodbye()).SerializeToString()

        async def watched() -> list[int]:
            request = watch_service_pb2.WatchRequest(flow_runs_only=True)
            found: list[int] = []
            async for each in caller.stream("Watch", request, watch_service_pb2.WatchResponse):
                if each.HasField("snapshot_end"):
                    is_watched.set()
                if each.HasField("change"):
                    found.append(each.change.transition.state.type)
                    if len(found) == 3:
                        break
            return found

        watching = asyncio.create_task(watched())
        kinds = []
        async for each in caller.stream("Report", frames(), report_service_pb2.ReportResponse):
            kinds.append(each.WhichOneof("frame"))
            if kinds[-1] == "ack":
                assert each.ack.up_to_sequence == 3
                assert len(caller.backend.connections) == 1
                goodbye.set()
        assert kinds == ["welcome", "ack"]
        assert len(caller.backend.connections) == 0
        assert await watching == [
            state_pb2.STATE_TYPE_PENDING,
            state_pb2.STATE_TYPE_RUNNING,
            state_pb2.STATE_TYPE_COMPLETED,
        ]

    run(test)


def test_a_stream_that_is_closed_early_ends_its_session(run: Any) -> None:
    async def test(caller: Caller) -> None:
        async def frames() -> AsyncIterator[bytes]:
            hello = report_pb2.Hello(session_id=new_id())
            yield report_service_pb2.ReportRequest(hello=hello).SerializeToString()
            await asyncio.Event().wait()

        method = caller.methods["Report"]
        async with aclosing(caller.dispatcher.stream(method, frames(), CALL)) as answers:
            await anext(answers)
            assert len(caller.backend.connections) == 1
            assert caller.backend.activity.open_calls == 1
        assert len(caller.backend.connections) == 0
        assert caller.backend.activity.open_calls == 0

    run(test)


def test_streams_are_refused_when_files_run_short(run: Any) -> None:
    async def test(caller: Caller) -> None:
        caller.backend.files.begin = lambda: False  # type: ignore[method-assign]
        stream = caller.stream(
            "Watch", watch_service_pb2.WatchRequest(), watch_service_pb2.WatchResponse
        )
        with pytest.raises(OverloadedError):
            await anext(aiter(stream))

    run(test)


def test_every_method_has_a_check_and_a_limit(run: Any) -> None:
    async def test(caller: Caller) -> None:
        assert len(caller.methods) == sum(map(len, services(caller.backend).values()))
        assert set(services(caller.backend)) == set(SERVICE_NAMES)
        for method in caller.methods.values():
            assert method.max_request_bytes >= 64 << 10
            assert (
                method.path
                == f"/{method.request.DESCRIPTOR.file.package}." + (method.path.rpartition(".")[2])
            )
        assert caller.methods["SetVariable"].request is variable_service_pb2.SetVariableRequest

    run(test)


def test_the_api_needs_no_grpc() -> None:
    code = (
        "import sys, flowspan_service.api.services, flowspan_service.api.dispatcher\n"
        "assert not [name for name in sys.modules if name.partition('.')[0].startswith('grpc')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
