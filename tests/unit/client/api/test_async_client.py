"""The async client: the same calls as the sync client, and the same behaviour."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager

import grpc
import pytest
from tests.support.scripted_server import Scripted, fail, scripted_client

from flowspan.api.client import FlowspanClient
from flowspan.exceptions import ApiError, ServiceUnavailableError
from flowspan.v1 import (
    flow_service_pb2,
    log_pb2,
    log_service_pb2,
    watch_service_pb2,
)

RUN_ID = "01a202d9-d289-7000-80f1-12b060cb7443"
LIST = "/flowspan.v1.FlowService/ListFlows"
WATCH = "/flowspan.v1.WatchService/Watch"
TAIL = "/flowspan.v1.LogService/TailLogs"

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def client_of(folder, script, **options):
    with scripted_client(folder, script) as blocking:
        async with FlowspanClient(blocking.address, **options) as client:
            yield client


def mark(number):
    return watch_service_pb2.WatchResponse(
        snapshot_end=watch_service_pb2.SnapshotEnd(run_count=number), resume_token=str(number)
    )


async def test_pages(short_tmp_path):
    script = Scripted()
    script.unary[LIST] = (
        flow_service_pb2.ListFlowsRequest,
        lambda request, _: flow_service_pb2.ListFlowsResponse(
            flows=[{"id": RUN_ID, "name": f"after {request.page_token or 'nothing'}"}],
            next_page_token="" if request.page_token else "one",
        ),
    )
    async with client_of(short_tmp_path, script) as client:
        names = [flow.name async for flow in client.read_flows()]
    assert names == ["after nothing", "after one"]


async def test_a_refusal_has_status_reason_and_advice(short_tmp_path):
    script = Scripted()
    script.unary["/flowspan.v1.FlowService/GetFlow"] = (
        flow_service_pb2.GetFlowRequest,
        lambda _, context: fail(
            context, "NOT_FOUND", "no such flow", reason="NOT_FOUND", advice="look elsewhere"
        ),
    )
    async with client_of(short_tmp_path, script) as client:
        with pytest.raises(ApiError, match="no such flow") as caught:
            await client.read_flow_by_name("etl")
    assert (caught.value.status, caught.value.reason) == ("NOT_FOUND", "NOT_FOUND")
    assert caught.value.advice == "look elsewhere"


async def test_nobody_there(short_tmp_path):
    address = f"unix:{short_tmp_path}/nobody.sock"
    with pytest.raises(ServiceUnavailableError, match=r"nobody\.sock"):
        await FlowspanClient(address).read_service_info()


async def test_promise_a_watch_goes_on_where_it_broke_off(short_tmp_path):
    script = Scripted()

    def watch(request, context):
        begin = int(request.resume_token or 0) + 1
        for number in range(begin, 7):
            yield mark(number)
            if number % 2 == 0 and number < 6:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    async with client_of(short_tmp_path, script) as client:
        items = [item.run_count async for item in client.watch(RUN_ID)]
    assert items == [1, 2, 3, 4, 5, 6]
    assert [request.resume_token for request in script.requests[WATCH]] == ["", "2", "4"]


async def test_a_tail_joins_pieces(short_tmp_path):
    script = Scripted()
    pieces = [
        log_pb2.LogRecord(
            position=n + 1, run_id=RUN_ID, message=f"<{n}>", chunk_index=n, chunk_count=3
        )
        for n in range(3)
    ]
    script.streams[TAIL] = (
        log_service_pb2.TailLogsRequest,
        lambda *_: iter([log_service_pb2.TailLogsResponse(logs=[piece]) for piece in pieces]),
    )
    async with client_of(short_tmp_path, script) as client:
        messages = [record.message async for record in client.tail_logs(RUN_ID)]
    assert messages == ["<0><1><2>"]


async def test_leaving_a_stream_ends_the_call(short_tmp_path):
    script = Scripted()
    has_ended = threading.Event()

    def watch(_, context):
        context.add_callback(has_ended.set)
        yield mark(1)
        has_ended.wait(30)

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    async with client_of(short_tmp_path, script) as client:
        items = client.watch(RUN_ID)
        assert (await anext(items)).run_count == 1
        await items.aclose()
        assert has_ended.wait(30)
