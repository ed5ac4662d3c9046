"""The client against a server with scripted answers."""

from __future__ import annotations

import socket
import threading
import traceback
from itertools import islice
from uuid import UUID

import grpc
import pytest
from tests.support.scripted_server import Scripted, fail, scripted_client

from flowspan.api import Change, FlowRun, RunFilter, RunSnapshot, SnapshotEnd, StateType, TaskRun
from flowspan.api.client import SyncFlowspanClient
from flowspan.exceptions import ApiError, FlowspanError, ObjectNotFound, ServiceUnavailableError
from flowspan.v1 import (
    flow_run_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    log_pb2,
    log_service_pb2,
    run_service_pb2,
    state_pb2,
    system_service_pb2,
    task_run_pb2,
    task_run_service_pb2,
    transition_pb2,
    watch_service_pb2,
)

GET = "/flowspan.v1.FlowRunService/GetFlowRun"
GET_RUN = "/flowspan.v1.RunService/GetRun"
GET_TASK = "/flowspan.v1.TaskRunService/GetTaskRun"
LIST = "/flowspan.v1.FlowRunService/ListFlowRuns"
WATCH = "/flowspan.v1.WatchService/Watch"
TAIL = "/flowspan.v1.LogService/TailLogs"
RUN_ID = "01a202d9-d289-7000-80f1-12b060cb7443"


def flow_run(number: int = 0) -> flow_run_pb2.FlowRun:
    return flow_run_pb2.FlowRun(
        id=f"{RUN_ID[:-4]}{number:04x}",
        flow_name="etl",
        state=state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING, name="Running"),
    )


def test_an_answer_becomes_a_record(short_tmp_path):
    script = Scripted()
    script.unary[GET] = (
        flow_run_service_pb2.GetFlowRunRequest,
        lambda request, _: flow_run_service_pb2.GetFlowRunResponse(flow_run=flow_run()),
    )
    with scripted_client(short_tmp_path, script) as client:
        run = client.read_flow_run(UUID(RUN_ID))
    assert script.requests[GET][0].id == RUN_ID
    assert run.flow_name == "etl"
    assert run.state.type is StateType.RUNNING
    assert run.root_run_id == run.id


def test_a_refusal_has_status_reason_and_advice(short_tmp_path):
    script = Scripted()
    script.unary[GET] = (
        flow_run_service_pb2.GetFlowRunRequest,
        lambda _, context: fail(
            context, "NOT_FOUND", "no such run", reason="NOT_FOUND", advice="look elsewhere"
        ),
    )
    with scripted_client(short_tmp_path, script) as client, pytest.raises(ApiError) as caught:
        client.read_flow_run(RUN_ID)
    error = caught.value
    assert str(error) == "no such run"
    assert (error.status, error.reason, error.advice) == (
        "NOT_FOUND",
        "NOT_FOUND",
        "look elsewhere",
    )
    assert not error.retryable


@pytest.mark.parametrize("reason", ["STOPPING", "STORE_UNAVAILABLE", "OVERLOADED"])
def test_what_may_succeed_later_says_so(short_tmp_path, reason):
    script = Scripted()
    script.unary[GET] = (
        flow_run_service_pb2.GetFlowRunRequest,
        lambda _, context: fail(context, "UNAVAILABLE", "not now", reason=reason),
    )
    with scripted_client(short_tmp_path, script) as client, pytest.raises(ApiError) as caught:
        client.read_flow_run(RUN_ID)
    assert caught.value.retryable


def test_nobody_there_names_the_address_and_the_way_out(short_tmp_path):
    address = f"unix:{short_tmp_path}/nobody.sock"
    with pytest.raises(ServiceUnavailableError) as caught:
        SyncFlowspanClient(address).read_service_info()
    assert address in str(caught.value)
    assert "flowspan server start" in str(caught.value)


def test_a_service_that_is_too_slow_is_not_waited_for(short_tmp_path):
    script = Scripted()
    released = threading.Event()

    def sleepy(*_):
        released.wait(30)
        return flow_run_service_pb2.GetFlowRunResponse(flow_run=flow_run())

    script.unary[GET] = (flow_run_service_pb2.GetFlowRunRequest, sleepy)
    with scripted_client(short_tmp_path, script, timeout_s=0.2) as client:
        try:
            with pytest.raises(ServiceUnavailableError, match="in time"):
                client.read_flow_run(RUN_ID)
        finally:
            released.set()


def test_something_else_that_listens_is_called_by_its_name():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with (
            SyncFlowspanClient(address, timeout_s=20) as client,
            pytest.raises(ApiError, match="not a flowspan service") as caught,
        ):
            client.read_service_info()
        assert address in str(caught.value)


def test_a_call_that_an_older_service_does_not_know(short_tmp_path):
    with scripted_client(short_tmp_path, Scripted()) as client, pytest.raises(ApiError) as caught:
        client.read_service_info()
    assert caught.value.status == "UNIMPLEMENTED"
    assert "older" in caught.value.advice


def test_pages_are_fetched_when_they_are_needed(short_tmp_path):
    script = Scripted()
    script.unary[LIST] = (
        flow_run_service_pb2.ListFlowRunsRequest,
        lambda request, _: flow_run_service_pb2.ListFlowRunsResponse(
            flow_runs=[flow_run(int(request.page_token or 0) + i) for i in range(2)],
            next_page_token=""
            if request.page_token == "4"
            else str(int(request.page_token or 0) + 2),
        ),
    )
    with scripted_client(short_tmp_path, script) as client:
        first = list(islice(client.read_flow_runs(page_size=2), 2))
        assert len(script.requests[LIST]) == 1
        everything = list(client.read_flow_runs(page_size=2))
    assert [run.id.int & 0xFFFF for run in first] == [0, 1]
    assert [run.id.int & 0xFFFF for run in everything] == [0, 1, 2, 3, 4, 5]


def change(ordinal: int) -> watch_service_pb2.WatchResponse:
    return watch_service_pb2.WatchResponse(
        change=watch_service_pb2.Change(
            transition=transition_pb2.Transition(
                run_id=RUN_ID,
                ordinal=ordinal,
                attempt=1,
                state=state_pb2.State(type=state_pb2.STATE_TYPE_RUNNING, name="Running"),
            )
        ),
        resume_token=f"after-{ordinal}",
    )


def test_promise_a_watch_goes_on_where_it_broke_off(short_tmp_path):
    script = Scripted()
    breaks = iter((2, 3, 5))

    def watch(request, context):
        if request.resume_token:
            begin = int(request.resume_token.removeprefix("after-")) + 1
        else:
            yield watch_service_pb2.WatchResponse(flow_run=flow_run())
            yield watch_service_pb2.WatchResponse(
                snapshot_end=watch_service_pb2.SnapshotEnd(run_count=1), resume_token="after-0"
            )
            begin = 1
        end = next(breaks, 8)
        for ordinal in range(begin, end + 1):
            yield change(ordinal)
        if end < 8:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    with scripted_client(short_tmp_path, script) as client:
        items = list(client.watch(RUN_ID))
    assert isinstance(items[0], RunSnapshot)
    assert items[1] == SnapshotEnd(1, "after-0")
    changes = [item.transition.ordinal for item in items if isinstance(item, Change)]
    assert changes == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [request.resume_token for request in script.requests[WATCH]] == [
        "",
        "after-2",
        "after-3",
        "after-5",
    ]


def test_a_snapshot_that_breaks_off_is_asked_for_again(short_tmp_path):
    script = Scripted()
    is_first = iter((True, False))

    def watch(request, context):
        yield watch_service_pb2.WatchResponse(flow_run=flow_run(0))
        if next(is_first):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")
        yield watch_service_pb2.WatchResponse(
            snapshot_end=watch_service_pb2.SnapshotEnd(run_count=1), resume_token="t"
        )

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    with scripted_client(short_tmp_path, script) as client:
        items = list(client.watch(RUN_ID))
    assert [type(item) for item in items] == [RunSnapshot, RunSnapshot, SnapshotEnd]


def test_a_watch_of_nothing_fails_at_once(short_tmp_path):
    script = Scripted()

    def watch(_, context):
        fail(context, "NOT_FOUND", "no such run", reason="NOT_FOUND")
        yield

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    with (
        scripted_client(short_tmp_path, script) as client,
        pytest.raises(ApiError, match="no such run"),
    ):
        list(client.watch(RUN_ID))
    assert len(script.requests[WATCH]) == 1


def test_a_stream_that_stays_broken_is_given_up(short_tmp_path):
    script = Scripted()
    calls = iter(range(1000))

    def watch(_, context):
        if next(calls) == 0:
            yield change(1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    with (
        scripted_client(short_tmp_path, script, reconnect_s=0.2) as client,
        pytest.raises(ServiceUnavailableError),
    ):
        list(client.watch(RUN_ID))
    assert len(script.requests[WATCH]) > 1


def test_a_tail_joins_pieces_over_a_broken_connection(short_tmp_path):
    script = Scripted()

    def piece(position, index):
        return log_pb2.LogRecord(
            position=position, run_id=RUN_ID, message=f"<{index}>", chunk_index=index, chunk_count=3
        )

    def tail(request, context):
        if request.after_position == 0:
            yield log_service_pb2.TailLogsResponse(
                logs=[log_pb2.LogRecord(position=1, run_id=RUN_ID, message="whole"), piece(2, 0)]
            )
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")
        yield log_service_pb2.TailLogsResponse(logs=[piece(3, 1), piece(4, 2)])

    script.streams[TAIL] = (log_service_pb2.TailLogsRequest, tail)
    with scripted_client(short_tmp_path, script) as client:
        messages = [record.message for record in client.tail_logs(RUN_ID)]
    assert messages == ["whole", "<0><1><2>"]
    assert [request.after_position for request in script.requests[TAIL]] == [0, 2]


def test_leaving_a_stream_ends_the_call(short_tmp_path):
    script = Scripted()
    has_ended = threading.Event()

    def watch(_, context):
        context.add_callback(has_ended.set)
        yield change(1)
        has_ended.wait(30)

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    with scripted_client(short_tmp_path, script) as client:
        items = client.watch(RUN_ID)
        next(items)
        items.close()
        assert has_ended.wait(30)


def test_a_flow_is_asked_for_by_name_or_by_id(short_tmp_path):
    script = Scripted()
    path = "/flowspan.v1.FlowService/GetFlow"
    script.unary[path] = (
        flow_service_pb2.GetFlowRequest,
        lambda request, _: flow_service_pb2.GetFlowResponse(
            flow={"id": request.id or RUN_ID, "name": request.name or "by id"}
        ),
    )
    with scripted_client(short_tmp_path, script) as client:
        assert client.read_flow_by_name("etl").name == "etl"
        assert client.read_flow(RUN_ID).id == UUID(RUN_ID)


def test_the_states_of_a_run_that_is_waited_for_are_logged_if_wished(short_tmp_path, caplog):
    script = Scripted()
    ended = flow_run()
    ended.state.type = state_pb2.STATE_TYPE_COMPLETED
    answers = iter([flow_run(), ended])
    script.unary[GET] = (
        flow_run_service_pb2.GetFlowRunRequest,
        lambda *_: flow_run_service_pb2.GetFlowRunResponse(flow_run=next(answers)),
    )
    own, other = change(1), change(2)
    own.change.transition.run_id = flow_run().id
    other.change.transition.state.name = "Another's"
    script.streams[WATCH] = (watch_service_pb2.WatchRequest, lambda *_: iter([own, other]))
    caplog.set_level("INFO", "flowspan.client")
    with scripted_client(short_tmp_path, script) as client:
        run = client.wait_for_flow_run(RUN_ID, log_states=True)
    assert run.state.is_completed()
    (line,) = caplog.messages
    assert line.endswith("is Running")


def test_a_copy_with_other_options_shares_the_connection(short_tmp_path):
    script = Scripted()
    released = threading.Event()

    def sleepy(*_):
        released.wait(30)
        return flow_run_service_pb2.GetFlowRunResponse(flow_run=flow_run())

    script.unary[GET] = (flow_run_service_pb2.GetFlowRunRequest, sleepy)
    with scripted_client(short_tmp_path, script) as client:
        hasty = client.with_options(timeout_s=0.1)
        try:
            with pytest.raises(ServiceUnavailableError, match="in time"):
                hasty.read_flow_run(RUN_ID)
        finally:
            released.set()
        assert client.read_flow_run(RUN_ID).flow_name == "etl"
    with pytest.raises(FlowspanError, match="is closed"):
        hasty.read_flow_run(RUN_ID)


def test_an_error_shows_its_advice_in_the_traceback(short_tmp_path):
    script = Scripted()
    script.unary[GET] = (
        flow_run_service_pb2.GetFlowRunRequest,
        lambda _, context: fail(context, "NOT_FOUND", "gone", reason="NOT_FOUND", advice="look!"),
    )
    with scripted_client(short_tmp_path, script) as client, pytest.raises(ObjectNotFound) as caught:
        client.read_flow_run(RUN_ID)
    assert traceback.format_exception_only(caught.value)[-1] == "look!\n"


def keep_alive(token: str) -> watch_service_pb2.WatchResponse:
    return watch_service_pb2.WatchResponse(
        keep_alive=watch_service_pb2.KeepAlive(), resume_token=token
    )


def test_a_watch_resumes_after_its_last_keep_alive_and_passes_over_unknown_items(short_tmp_path):
    script = Scripted()
    unknown = watch_service_pb2.WatchResponse.FromString(b"\xba\x01\x02\x08\x01")  # field 23

    def watch(request, context):
        if request.resume_token:
            yield change(9)
            return
        yield change(1)
        yield unknown
        yield keep_alive("after-8")
        context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")

    script.streams[WATCH] = (watch_service_pb2.WatchRequest, watch)
    with scripted_client(short_tmp_path, script) as client:
        items = list(client.watch(RUN_ID))
    assert [item.transition.ordinal for item in items] == [1, 9]
    assert [request.resume_token for request in script.requests[WATCH]] == ["", "after-8"]


def with_capabilities(script: Scripted, *names: str) -> None:
    """Let the server say that it has these capabilities."""
    script.unary["/flowspan.v1.SystemService/GetInfo"] = (
        system_service_pb2.GetInfoRequest,
        lambda *_: system_service_pb2.GetInfoResponse(version="0.1.0", capabilities=names),
    )


def test_a_narrow_watch_asks_for_what_it_wants(short_tmp_path):
    script = Scripted()
    with_capabilities(script, "watch_filters.v1")
    script.streams[WATCH] = (watch_service_pb2.WatchRequest, lambda *_: iter([change(1)]))
    names = RunFilter(function_names=("etl",))
    with scripted_client(short_tmp_path, script) as client:
        assert len(list(client.watch(run_filter=names, active_only=True))) == 1
        with pytest.raises(ValueError, match="not both"):
            client.watch(active_only=True, changes_only=True)
    (request,) = script.requests[WATCH]
    assert list(request.filter.function_names) == ["etl"]
    assert request.snapshot == watch_service_pb2.SNAPSHOT_SCOPE_ACTIVE


@pytest.mark.parametrize(
    "narrow", [{"active_only": True}, {"run_filter": RunFilter(tags=("a",))}], ids=str
)
def test_a_service_that_cannot_filter_watches_is_not_asked(short_tmp_path, narrow):
    """It would ignore the filter and send everything."""
    script = Scripted()
    with_capabilities(script)
    script.streams[WATCH] = (watch_service_pb2.WatchRequest, lambda *_: iter([change(1)]))
    with scripted_client(short_tmp_path, script) as client:
        with pytest.raises(ApiError, match="cannot filter") as caught:
            list(client.watch(**narrow))
        assert WATCH not in script.requests
        assert caught.value.status == "UNIMPLEMENTED"
        assert len(list(client.watch())) == 1


def test_a_tail_resumes_after_the_position_of_the_last_frame(short_tmp_path):
    script = Scripted()
    record = log_pb2.LogRecord(run_id=RUN_ID, position=3, message="wanted")

    def tail(request, context):
        if request.after_position:
            return
        yield log_service_pb2.TailLogsResponse(logs=[record], position=7)
        yield log_service_pb2.TailLogsResponse(position=90)
        context.abort(grpc.StatusCode.UNAVAILABLE, "the connection breaks")

    script.streams[TAIL] = (log_service_pb2.TailLogsRequest, tail)
    with scripted_client(short_tmp_path, script) as client:
        assert [each.message for each in client.tail_logs(RUN_ID, pattern="wanted")] == ["wanted"]
    assert [request.after_position for request in script.requests[TAIL]] == [0, 90]


def test_a_run_of_any_kind_is_one_call(short_tmp_path):
    script = Scripted()
    task = task_run_pb2.TaskRun(id=RUN_ID, task_name="load", state=flow_run().state)
    answers = iter(
        [
            run_service_pb2.GetRunResponse(flow_run=flow_run()),
            run_service_pb2.GetRunResponse(task_run=task),
        ]
    )
    script.unary[GET_RUN] = (run_service_pb2.GetRunRequest, lambda *_: next(answers))
    with scripted_client(short_tmp_path, script) as client:
        assert isinstance(client.read_run(RUN_ID), FlowRun)
        found = client.read_run(UUID(RUN_ID))
    assert isinstance(found, TaskRun)
    assert found.task_name == "load"
    assert [request.id for request in script.requests[GET_RUN]] == [RUN_ID] * 2


def test_an_older_service_is_asked_for_each_kind_of_run(short_tmp_path):
    script = Scripted()
    task = task_run_pb2.TaskRun(id=RUN_ID, task_name="load", state=flow_run().state)

    def not_found(_, context):
        fail(context, "NOT_FOUND", "no such run", reason="NOT_FOUND")

    script.unary[GET] = (flow_run_service_pb2.GetFlowRunRequest, not_found)
    script.unary[GET_TASK] = (
        task_run_service_pb2.GetTaskRunRequest,
        lambda *_: task_run_service_pb2.GetTaskRunResponse(task_run=task),
    )
    with scripted_client(short_tmp_path, script) as client:
        assert isinstance(client.read_run(RUN_ID), TaskRun)
        script.unary[GET_TASK] = (task_run_service_pb2.GetTaskRunRequest, not_found)
        with pytest.raises(ObjectNotFound):
            client.read_run(RUN_ID)
        script.unary[GET] = (
            flow_run_service_pb2.GetFlowRunRequest,
            lambda *_: flow_run_service_pb2.GetFlowRunResponse(flow_run=flow_run()),
        )
        assert isinstance(client.read_run(RUN_ID), FlowRun)


def test_a_run_that_does_not_exist_is_not_looked_for_twice(short_tmp_path):
    script = Scripted()
    script.unary[GET_RUN] = (
        run_service_pb2.GetRunRequest,
        lambda _, context: fail(context, "NOT_FOUND", "no such run", reason="NOT_FOUND"),
    )
    with scripted_client(short_tmp_path, script) as client, pytest.raises(ObjectNotFound):
        client.read_run(RUN_ID)
    assert list(script.requests) == [GET_RUN]
