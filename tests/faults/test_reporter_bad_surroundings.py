"""Promise 13 of the reporter: wrong addresses, full disks, floods: clear errors, nothing lost."""

from __future__ import annotations

import http.server
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.engine_events import COMPLETED, Journal, entered, logged
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, logs, wait_until
from tests.support.small_disks import small_disk

from flowspan.config import Config, load
from flowspan.connection.local_service import ensure_local_service, find_local_service
from flowspan.exceptions import ConfigError, LocalServiceError
from flowspan.reporter import Reporter, list_spools
from flowspan.reporter.loop import STALL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0
# The programs below use the tests' own helpers.
ENV = {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def other_grpc_server() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def http_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign, assignment] # silent
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["other_grpc_server", "http_server"])
def test_a_service_that_is_not_flowspan_is_named_as_such(
    kind: str,
    request: pytest.FixtureRequest,
    flowspan_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = request.getfixturevalue(kind)
    reporter = Reporter(Config(address=address, home=flowspan_home))
    Journal(reporter).run()
    wait_until(lambda: "not a flowspan service" in caplog.text, "a message about it")
    outcome = reporter.close(0.2)
    assert not outcome.acked
    assert outcome.spooled
    assert address in caplog.text
    assert "FLOWSPAN_ADDRESS" in caplog.text
    assert len(list_spools(Config(home=flowspan_home))) == 1


@pytest.mark.parametrize(
    "address",
    ["nonsense", "http://127.0.0.1:4600", "host:", "host:99999", "unix:relative", ":4600", "a b:1"],
)
def test_an_address_that_is_none_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"FLOWSPAN_ADDRESS": address, "FLOWSPAN_HOME": "/nowhere"})
    assert repr(address) in str(caught.value)
    assert "127.0.0.1:4600" in str(caught.value)


def test_a_local_service_that_does_not_start_shows_its_log(
    flowspan_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowspan_home.mkdir()
    broken = flowspan_home / "broken"
    broken.write_text("#!/bin/sh\necho 'the dog ate it' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(LocalServiceError) as caught:
        ensure_local_service(Config(home=flowspan_home))
    text = str(caught.value)
    assert "the dog ate it" in text
    assert "code 3" in text
    assert "flowspan server start" in text
    assert str(flowspan_home / "service.log") in text


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalServiceError, match="FLOWSPAN_HOME"):
        ensure_local_service(Config(home=tmp_path / "file" / "home"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"addresses": ["unix:/nowhere/at.all", "127.0.0.1:1", 7, "x"]}']
)
def test_a_stale_or_damaged_service_file_is_ignored(text: str, flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    path = flowspan_home / "service.json"
    path.write_text(text)
    assert find_local_service(flowspan_home) is None
    path.unlink()


def test_a_local_service_that_was_killed_is_started_again(flowspan_home: Path) -> None:
    code = """
        import json, os, signal
        from flowspan.config import get_config
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import Journal

        def pid():
            return json.loads((get_config().home / "service.json").read_text())["pid"]

        journal = Journal(get_reporter())
        journal.run()
        assert get_reporter().flush(60).acked
        first = pid()
        os.kill(first, signal.SIGKILL)
        journal.run()
        assert get_reporter().flush(60).acked
        assert pid() != first
        print("fine")
    """
    assert "fine" in run_code(code, home=flowspan_home, env=ENV)


def test_a_full_disk_loses_nothing_when_the_service_comes_back(
    service: ServiceProcess, flowspan_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flowspan_home.mkdir()
    with small_disk(flowspan_home, size_kib=256):
        service.kill()
        reporter = Reporter(Config(address=service.address, home=flowspan_home))
        journal = Journal(reporter)
        try:
            run_ids = [journal.begin() for _ in range(3)]
            texts = [f"{number} " + "x" * 20_000 for number in range(50)]
            for text in texts:
                reporter.emit(logged(run_ids[0], text))
            for run_id in run_ids:
                reporter.emit(entered(run_id, COMPLETED, "Completed"))
            outcome = reporter.flush(0.3)
            assert not outcome.acked
            assert not outcome.spooled
            assert "cannot be written" in caplog.text
            assert "in memory only" in caplog.text
            service.restart()
            wait_until(lambda: reporter.flush(TIMEOUT_S).acked, "all to be acked")
        finally:
            reporter.close()
    for run_id in run_ids:
        assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]
    assert [record.message for record in logs(service.channel, run_ids[0])] == texts


def test_a_log_line_of_100_mb_arrives_whole(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import COMPLETED, Journal, entered, logged
        from tests.support.memory import peak_mib

        reporter = get_reporter()
        run_id = Journal(reporter).begin()
        line = "0123456789" * 10_000_000
        reporter.flush(60)
        before = peak_mib()
        reporter.emit(logged(run_id, line))
        reporter.emit(entered(run_id, COMPLETED, "Completed"))
        assert reporter.flush(60).acked
        print(run_id, peak_mib() - before)
    """
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    run_id, grown_mib = output.split()
    assert int(grown_mib) < 60, "the line itself is 100 MB, so it was copied"
    assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]
    size = 0
    for index, record in enumerate(logs(service.channel, run_id)):
        assert (record.chunk_index, record.chunk_count) == (index, -(-(10**8) // (256 << 10)))
        start = size % 10
        assert record.message.startswith("0123456789"[start:])
        size += len(record.message)
    assert size == 10**8


FLOOD = """
    from flowspan.reporter import get_reporter
    from tests.support.engine_events import COMPLETED, Journal, entered, logged
    from tests.support.memory import peak_mib

    reporter = get_reporter()
    run_id = Journal(reporter).begin()
    for number in range({count}):
        reporter.emit(logged(run_id, f"line {{number}}"))
    reporter.emit(entered(run_id, COMPLETED, "Completed"))
    print("emitted", flush=True)
    outcome = reporter.flush({timeout})
    print(run_id, peak_mib(), outcome.acked)
"""
LINES = 100_000


def check_flood(service: ServiceProcess, run_id: str) -> None:
    assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]
    count = 0
    for record in logs(service.channel, run_id):
        assert record.message == f"line {count}"
        count += 1
    assert count == LINES


@pytest.mark.slow
def test_a_flood_of_logs_is_stored_with_bounded_memory(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = FLOOD.format(count=LINES, timeout=60)
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    run_id, peak_mib, acked = output.split()[1:]
    assert acked == "True"
    assert int(peak_mib) < 200
    check_flood(service, run_id)


@pytest.mark.slow
def test_a_flood_of_logs_without_a_service_is_spooled_with_bounded_memory(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    service.kill()
    code = FLOOD.format(count=LINES, timeout=0.2)
    with FlowProcess(code, home=flowspan_home, address=service.address, env=ENV) as process:
        output = process.finish()
    run_id, peak_mib, acked = output.split()[1:]
    assert acked == "False"
    assert int(peak_mib) < 200
    service.restart()
    code = """
        from flowspan.reporter import get_reporter
        from flowspan.reporter import list_spools
        from flowspan.config import get_config
        import time
        assert get_reporter().wait_welcome(60) is not None
        while list_spools(get_config()):
            time.sleep(0.05)
    """
    run_code(code, home=flowspan_home, address=service.address, env=ENV)
    check_flood(service, run_id)


@contextmanager
def flooding(reporter: Reporter, run_id: str) -> Iterator[list[int]]:
    """Log as fast as possible in a thread; yield the growing number of records."""
    is_over = threading.Event()
    counts = [0]

    def flood() -> None:
        while not is_over.is_set():
            reporter.emit(logged(run_id, "x" * 500))
            counts[0] += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait_until(lambda: counts[0] > 20_000, "a flood")
        yield counts
    finally:
        is_over.set()
        thread.join()


def has_completed(service: ServiceProcess, run_id: str) -> bool:
    return run_id in {each.id for each in flow_runs(service.channel)} and (
        flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]
    )


def test_a_state_is_not_delayed_by_a_flood_of_logs(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    reporter = Reporter(Config(address=service.address, home=flowspan_home))
    journal = Journal(reporter)
    flooded = journal.begin()
    with flooding(reporter, flooded) as counts:
        other = journal.run(log_count=0)
        # The events must arrive although the flood continues.
        wait_until(lambda: has_completed(service, other), "the states of another run")
    reporter.emit(entered(flooded, COMPLETED, "Completed"))
    wait_until(lambda: reporter.flush(TIMEOUT_S).acked, "all to be acked")
    reporter.close()
    assert sum(1 for _ in logs(service.channel, flooded)) == counts[0]


@pytest.mark.slow
def test_promise_a_flood_while_the_service_stalls_ends_no_session(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=6.0)
    reporter = Reporter(Config(address=service.address, home=flowspan_home))
    journal = Journal(reporter)
    flooded = journal.begin()
    with flooding(reporter, flooded) as counts:
        service.pause()
        time.sleep(STALL_S + 0.5)  # From here on, queued events go to the disk.
        service.go_on()
        other = journal.run(log_count=0)
        wait_until(lambda: has_completed(service, other), "the states of another run")
    reporter.emit(entered(flooded, COMPLETED, "Completed"))
    wait_until(lambda: reporter.flush(TIMEOUT_S).acked, "all to be acked")
    reporter.close()
    assert "session lost" not in service.log
    assert flow_history(service.channel, flooded) == ["Pending", "Running", "Completed"]
    assert sum(1 for _ in logs(service.channel, flooded)) == counts[0]
