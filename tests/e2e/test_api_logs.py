"""Reading and following logs with the client, filtered and from the end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import flowspan
from tests.support.report_client import Reporter

from flowspan import get_client
from flowspan.v1 import log_pb2, log_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess

    from flowspan.api.client import SyncFlowspanClient


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[SyncFlowspanClient]:
    with get_client(sync_client=True, address=service.address) as made:
        yield made


def long_record(
    reporter: Reporter, run: str, pieces: list[str], *, upto: int | None = None
) -> None:
    """Report a record in chunks, or only the first ones, with a short record between every two."""
    start_ns = reporter._now_ns
    for index, piece in enumerate(pieces[:upto]):
        reporter._now_ns = start_ns
        reporter.log(run, piece, chunk_index=index, chunk_count=len(pieces), logger="app.long")
        reporter._now_ns = start_ns + 2_000_000 * (index + 1)
        reporter.log(run, f"between {index}", logger="app")


def messages(records: Any) -> list[str]:
    return [record.message for record in records]


def test_the_end_of_a_log(service: ServiceProcess, client: SyncFlowspanClient) -> None:
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING")
    for number in range(250):
        reporter.log(run, f"line {number}", logger="app.db" if number % 3 else "apple")
    long_record(reporter, run, ["first nee", "dle ", "last"])
    reporter.state(run, "COMPLETED")
    reporter.finish()
    everything = list(client.read_logs(run))
    assert len(everything) == 254
    assert everything[-2].message == "first needle last"
    filters: list[dict[str, Any]] = [
        {},
        {"loggers": ["app"]},
        {"loggers": ["apple"]},
        {"pattern": "line 1"},
        {"pattern": "needle"},
        {"pattern": r"line \d+5$", "loggers": ["app"]},
        {"logged_after": everything[200].logged_at},
        {"pattern": "nothing"},
    ]
    for each in filters:
        wanted = list(client.read_logs(run, **each))
        assert list(client.tail_logs(run, **each)) == wanted
        for last in (1, 2, 3, 100, 10**30):
            assert list(client.read_logs(run, last=last, **each)) == wanted[-last:]
            assert list(client.tail_logs(run, last=last, **each)) == wanted[-last:]
            assert list(client.read_logs(run, last=last, page_size=7, **each)) == wanted[-last:]
    assert messages(client.read_logs(run, pattern="needle")) == ["first needle last"]
    assert len(list(client.read_logs(run, loggers=["app"]))) == 170


def test_a_tail_from_the_end_goes_on_without_a_gap(
    service: ServiceProcess, client: SyncFlowspanClient
) -> None:
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING")
    for number in range(10):
        reporter.log(run, f"old {number}")
    pieces = ["one ", "two ", "three"]
    long_record(reporter, run, pieces, upto=2)  # Its last chunk comes later.
    reporter.send()
    tail = client.tail_logs(run, last=2, pattern="old|between|three|new")
    assert messages([next(tail), next(tail)]) == ["between 0", "between 1"]
    reporter._now_ns -= 5_000_000  # The chunks of a record share its time.
    reporter.log(run, pieces[2], chunk_index=2, chunk_count=3, logger="app.long")
    reporter._now_ns += 5_000_000
    reporter.log(run, "new")
    reporter.state(run, "COMPLETED")
    reporter.finish()
    assert messages(tail) == ["one two three", "new"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"last": 0},
        {"last": -1},
        {"last": 3, "limit": 3},
        {"pattern": ""},
        {"loggers": [" "]},
        {"logged_after": datetime(2026, 1, 1)},  # noqa: DTZ001 - on purpose
    ],
)
def test_what_cannot_be_asked(client: SyncFlowspanClient, arguments: dict[str, Any]) -> None:
    run = client.create_flow_run("etl")
    with pytest.raises(ValueError, match=r"last|empty|time zone"):
        list(client.read_logs(run.id, **arguments))


def test_run_logs(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING")
    begun_s = reporter._now_ns / 1e9
    for number in range(30):
        level = log_pb2.LOG_LEVEL_WARNING if number % 10 == 0 else log_pb2.LOG_LEVEL_INFO
        reporter.log(run, f"line {number}", logger="app.db" if number % 2 else "web", level=level)
    reporter.state(run, "COMPLETED")
    reporter.finish()

    def shown(*options: str) -> list[str]:
        found = [
            [record["message"] for record in flowspan("run", "logs", run, "--json", *how).objects]
            for how in (options, (*options, "--follow"))
        ]
        plain = [line.partition(" | ")[2] for line in flowspan("run", "logs", run, *options).lines]
        assert found == [plain, plain]
        return plain

    everything = [f"line {number}" for number in range(30)]
    assert shown() == shown("-n", "0") == everything
    assert shown("-n", "2") == shown("--limit", "2") == everything[-2:]
    assert shown("-n", "9" * 30) == everything
    assert shown("--grep", "line 2") == [line for line in everything if "line 2" in line]
    assert shown("--grep", "[13]$", "-n", "1") == ["line 23"]
    assert shown("--grep", "LINE") == []
    assert shown("--grep", "(?i)LINE 3$") == ["line 3"]
    assert shown("--grep", "[[l]ine 3$") == ["line 3"]  # Python warns about it.
    assert shown("--logger", "app") == everything[1::2]
    assert shown("--logger", "app.db", "--logger", "web") == everything
    assert shown("--logger", "ap") == []
    assert shown("--level", "warning", "--logger", "web", "-n", "2") == ["line 10", "line 20"]
    middle = datetime.fromtimestamp(begun_s, UTC) + timedelta(milliseconds=10.5)
    assert shown("--since", middle.isoformat()) == everything[10:]
    assert shown("--since", middle.isoformat(), "--grep", "0", "-n", "1") == ["line 20"]
    assert shown("--since", "1h", "--level", "error") == []
    for wrong in ("(", "[", "*", "a{99999999999}", "\\"):
        refused = flowspan("run", "logs", run, "--grep", wrong, code=2)
        assert "--grep" in refused.err
        assert "regular expression" in refused.err


def test_an_older_service_knows_no_filter_and_one_order(tmp_path: Any) -> None:
    """An old service ignores unknown fields and answers with all records, oldest first."""
    from tests.support.scripted_server import (  # noqa: PLC0415 - used only here
        Scripted,
        scripted_client,
    )

    records = [
        log_pb2.LogRecord(
            position=number,
            run_id="01a202d9-d289-7000-80f1-12b060cb7443",
            message=f"line {number}",
            logger="app" if number % 2 else "web",
        )
        for number in range(1, 8)
    ]

    def answer(request: Any, _: object) -> Any:
        start = int(request.page_token or 0)
        rest = start + 3
        token = str(rest) if rest < len(records) else ""
        return log_service_pb2.ListLogsResponse(logs=records[start:rest], next_page_token=token)

    def tail(request: Any, _: object) -> Any:
        new = [record for record in records if record.position > request.after_position]
        yield log_service_pb2.TailLogsResponse(logs=new)

    script = Scripted()
    script.unary["/flowspan.v1.LogService/ListLogs"] = (log_service_pb2.ListLogsRequest, answer)
    script.streams["/flowspan.v1.LogService/TailLogs"] = (log_service_pb2.TailLogsRequest, tail)
    with scripted_client(tmp_path, script) as client:
        run = records[0].run_id
        assert messages(client.read_logs(run, last=2)) == ["line 6", "line 7"]
        found = client.read_logs(run, loggers=["app"], pattern="[1-5]", last=2)
        assert messages(found) == ["line 3", "line 5"]
        last = client.tail_logs(run, last=1, pattern="[1-5]")
        assert messages(last) == ["line 5"]
