"""LogService."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.harness import refused
from tests.support.report_client import ReportStream, created, entered, new_id, now, whole_run

from flowspan.v1 import log_pb2, log_service_pb2, report_pb2
from flowspan_service.api.calls import keep_alives

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.harness import Harness, Stubs

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def line(run_id: str, message: str, **fields: Any) -> report_pb2.Event:
    record = log_pb2.LogRecord(run_id=run_id, message=message, time=now(), **fields)
    return report_pb2.Event(log=record)


def list_all(stubs: Stubs, run_id: str, **fields: Any) -> list[log_pb2.LogRecord]:
    """Return the records of all pages."""
    records, token = [], ""
    while True:
        page = stubs.logs.ListLogs(
            log_service_pb2.ListLogsRequest(run_id=run_id, page_token=token, **fields)
        )
        records += page.logs
        token = page.next_page_token
        if not token:
            return records


def texts(records: list[log_pb2.LogRecord]) -> list[str]:
    return [record.message for record in records]


def test_record_comes_back_as_reported(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    asked = log_pb2.LogRecord(
        run_id=run_id,
        level=log_pb2.LOG_LEVEL_WARNING,
        time=now(),
        logger="my.module",
        message="zwei Zeilen\nö",
        trace_id="a" * 32,
        span_id="b" * 16,
        chunk_index=1,
        chunk_count=3,
        attempt=1,
    )
    stream = ReportStream(harness.channel)
    stream.report(created(run_id), report_pb2.Event(log=asked), line(run_id, "plain"))
    stream.goodbye()
    found, plain = list_all(stubs, run_id)
    assert found.position > 0
    asked.position = found.position
    assert found == asked
    assert plain.level == log_pb2.LOG_LEVEL_INFO
    assert plain.position > found.position


@pytest.mark.parametrize("page_size", [0, 1, 7])
def test_pages_have_every_record_once_and_in_order(
    harness: Harness, stubs: Stubs, page_size: int
) -> None:
    run_id, other = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(created(run_id), created(other))
    for number in range(20):
        stream.report(line(run_id, str(number)), line(other, "not asked for"))
    stream.goodbye()
    found = list_all(stubs, run_id, page_size=page_size)
    assert texts(found) == [str(number) for number in range(20)]


def test_large_records_come_in_several_pages(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.report(created(run_id))
    for _ in range(40):
        stream.report(line(run_id, "x" * (256 << 10)))
    stream.goodbye()
    page = stubs.logs.ListLogs(log_service_pb2.ListLogsRequest(run_id=run_id))
    assert page.next_page_token
    assert page.ByteSize() < 4 << 20
    assert len(list_all(stubs, run_id)) == 40


def test_descendants_and_levels_are_selected(harness: Harness, stubs: Stubs) -> None:
    parent, child = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(
        created(parent),
        created(child, kind="TASK", parent_run_id=parent, root_run_id=parent),
        line(parent, "own"),
        line(child, "below", level=40),
    )
    stream.goodbye()
    assert texts(list_all(stubs, parent)) == ["own"]
    assert texts(list_all(stubs, parent, include_descendants=True)) == ["own", "below"]
    assert texts(list_all(stubs, child)) == ["below"]
    found = list_all(stubs, parent, include_descendants=True, min_level=30)
    assert texts(found) == ["below"]


def test_tail_follows_until_the_run_ends(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(
        stream.report(created(run_id), entered(run_id, "RUNNING"), line(run_id, "0"))
    )
    tail = stubs.logs.TailLogs(log_service_pb2.TailLogsRequest(run_id=run_id))
    found = list(next(tail).logs)
    assert texts(found) == ["0"]

    def go_on() -> None:
        for number in range(1, 30):
            stream.wait_for_ack(stream.report(line(run_id, str(number))))
        stream.report(line(run_id, "last"), entered(run_id, "COMPLETED"))

    reporting = threading.Thread(target=go_on)
    reporting.start()
    for response in tail:
        found += response.logs
    reporting.join()
    stream.goodbye()
    assert texts(found) == [*map(str, range(30)), "last"]

    middle = found[10].position
    rest = stubs.logs.TailLogs(
        log_service_pb2.TailLogsRequest(run_id=run_id, after_position=middle)
    )
    assert [record.message for each in rest for record in each.logs] == texts(found[11:])


def test_tail_of_a_run_that_ended_ends(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.report(*whole_run(run_id))
    stream.goodbye()
    assert list(stubs.logs.TailLogs(log_service_pb2.TailLogsRequest(run_id=run_id))) == []


def test_bad_requests_are_refused(harness: Harness, stubs: Stubs) -> None:
    List, Tail = log_service_pb2.ListLogsRequest, log_service_pb2.TailLogsRequest  # noqa: N806
    missing = new_id()
    not_found = grpc.StatusCode.NOT_FOUND
    refused(lambda: list_all(stubs, missing), not_found, "NOT_FOUND")
    refused(lambda: list(stubs.logs.TailLogs(Tail(run_id=missing))), not_found, "NOT_FOUND")
    for request in (List(), List(run_id="x"), List(run_id=missing, page_size=10_001)):
        refused(lambda r=request: stubs.logs.ListLogs(r), INVALID, "INVALID_FIELD")
    bad: tuple[dict[str, Any], ...] = (
        {"loggers": [""]},
        {"logged_after": Timestamp(seconds=-1)},
        {"message_contains": "a\0b"},
    )
    for fields in (*bad, {"order": 3}):
        request = List(run_id=missing, **fields)
        refused(lambda r=request: stubs.logs.ListLogs(r), INVALID, "INVALID_FIELD")
    for fields in bad:
        tail = Tail(run_id=missing, **fields)
        refused(lambda r=tail: list(stubs.logs.TailLogs(r)), INVALID, "INVALID_FIELD")
    for request in (
        List(run_id=missing, loggers=["a"] * 101),
        List(run_id=missing, message_contains="x" * 257),
    ):
        with pytest.raises(grpc.RpcError, match=r"loggers: more|message_contains: 257"):
            stubs.logs.ListLogs(request)
    for request in (Tail(), Tail(run_id=missing, after_position=-1)):
        refused(lambda r=request: list(stubs.logs.TailLogs(r)), INVALID, "INVALID_FIELD")


def test_page_token_belongs_to_its_run(harness: Harness, stubs: Stubs) -> None:
    one, two = new_id(), new_id()
    stream = ReportStream(harness.channel)
    stream.report(created(one), created(two), line(one, "a"), line(one, "b"))
    stream.goodbye()
    request = log_service_pb2.ListLogsRequest(run_id=one, page_size=1)
    request.page_token = stubs.logs.ListLogs(request).next_page_token
    refused(lambda: stubs.logs.ListLogs(changed(request, order=2)), INVALID, "BAD_TOKEN")
    refused(lambda: stubs.logs.ListLogs(changed(request, loggers=["a"])), INVALID, "BAD_TOKEN")
    request.run_id = two
    refused(lambda: stubs.logs.ListLogs(request), INVALID, "BAD_TOKEN")


def changed(request: Any, **fields: Any) -> Any:
    """Return the request with other fields."""
    other = type(request)()
    other.CopyFrom(request)
    other.MergeFrom(type(request)(**fields))
    return other


@pytest.mark.parametrize("page_size", [0, 1, 3])
def test_filters_select_in_lists_and_tails(
    harness: Harness, stubs: Stubs, monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    monkeypatch.setattr("flowspan_service.stores.logs.SCAN_LIMIT", 4)
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.report(created(run_id), entered(run_id, "RUNNING"))
    for number in range(20):
        logger = ("app", "app.db", "apple", "flow")[number % 4]
        stream.report(line(run_id, f"line {number % 5}", logger=logger, level=10 * (number % 3)))
    early = now()
    stream.report(line(run_id, "late piece", logger="app", chunk_count=2))
    stream.report(line(run_id, "late line 4", logger="app"), entered(run_id, "COMPLETED"))
    stream.goodbye()
    lines = list_all(stubs, run_id)

    def expected(fits: Callable[[log_pb2.LogRecord], bool]) -> list[str]:
        return [record.message for record in lines if fits(record)]

    cases: list[tuple[dict[str, Any], Callable[[log_pb2.LogRecord], bool]]] = [
        ({"loggers": ["app"]}, lambda r: r.logger in {"app", "app.db"}),
        ({"loggers": ["apple", "app.db"]}, lambda r: r.logger in {"apple", "app.db"}),
        ({"message_contains": "line 4"}, lambda r: "line 4" in r.message or r.chunk_count > 1),
        ({"logged_after": early}, lambda r: "late" in r.message),
        ({"loggers": ["flow"], "min_level": 20}, lambda r: r.logger == "flow" and r.level >= 20),
        ({"loggers": ["nothing"]}, lambda _: False),
    ]
    for fields, fits in cases:
        found = list_all(stubs, run_id, page_size=page_size, **fields)
        assert texts(found) == expected(fits)
        newest = list_all(stubs, run_id, page_size=page_size, order=2, **fields)
        assert newest == found[::-1]
        tail = stubs.logs.TailLogs(log_service_pb2.TailLogsRequest(run_id=run_id, **fields))
        assert [record for each in tail for record in each.logs] == found
    answer = stubs.logs.ListLogs(log_service_pb2.ListLogsRequest(run_id=run_id, order=2))
    assert answer.order == log_service_pb2.LOG_ORDER_NEWEST_FIRST


def test_a_filtered_tail_follows(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id), entered(run_id, "RUNNING")))
    tail = stubs.logs.TailLogs(
        log_service_pb2.TailLogsRequest(run_id=run_id, message_contains="wanted")
    )
    found = []
    for number in range(3):
        stream.wait_for_ack(stream.report(*(line(run_id, "other") for _ in range(50))))
        stream.wait_for_ack(stream.report(line(run_id, f"wanted {number}")))
        found += texts(next(tail).logs)
    stream.report(entered(run_id, "COMPLETED"))
    stream.goodbye()
    assert list(tail) == []
    assert found == ["wanted 0", "wanted 1", "wanted 2"]


def test_a_filtered_tail_says_where_to_resume(
    harness: Harness, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keep-alive has a position after the records that the filter left out."""
    monkeypatch.setattr(keep_alives, "INTERVAL_S", 0.05)
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(
        stream.report(
            created(run_id), line(run_id, "wanted 1"), *(line(run_id, "no") for _ in range(9))
        )
    )
    request = log_service_pb2.TailLogsRequest(run_id=run_id, message_contains="wanted")
    tail = stubs.logs.TailLogs(request)
    first, alive = next(tail), next(tail)
    tail.cancel()
    assert texts(list(first.logs)) == ["wanted 1"]
    assert list(alive.logs) == []
    assert first.position == alive.position == harness.store.log_position()
    stream.wait_for_ack(stream.report(line(run_id, "no"), line(run_id, "wanted 2")))
    request.after_position = alive.position
    again = stubs.logs.TailLogs(request)
    frame = next(again)
    again.cancel()
    stream.goodbye()
    assert texts(list(frame.logs)) == ["wanted 2"]
    assert frame.position == frame.logs[-1].position


def test_headers_of_a_tail_come_before_any_record(harness: Harness, stubs: Stubs) -> None:
    run_id = new_id()
    stream = ReportStream(harness.channel)
    stream.wait_for_ack(stream.report(created(run_id)))
    tail = stubs.logs.TailLogs(log_service_pb2.TailLogsRequest(run_id=run_id))
    waiting = threading.Thread(target=tail.initial_metadata, daemon=True)
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()
    tail.cancel()
    stream.goodbye()
