"""Messages about a missing service: immediate when the cause is known, and never omitted."""

from __future__ import annotations

import http.server
import re
import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.small_disks import make_read_only, small_disk

from flowspan.config import Config
from flowspan.reporter import list_spools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess

# The flush would wait for ten minutes, twice the time limit of the tests.
PATIENT = {"FLOWSPAN_FLUSH_TIMEOUT_S": "600", "FLOWSPAN_CONSOLE_LOG": "false"}
PLAIN = """
    from flowspan import flow

    @flow
    def hello():
        print("hello", flush=True)

    hello()
    print("ended", flush=True)
"""
ASYNC = """
    import asyncio
    from flowspan import flow

    @flow
    async def hello():
        print("hello", flush=True)

    asyncio.run(hello())
    print("ended", flush=True)
"""
GENERATOR = """
    from flowspan import flow

    @flow
    def hello():
        yield print("hello", flush=True)

    list(hello())
    print("ended", flush=True)
"""
TASK = """
    from flowspan import task

    @task
    def hello():
        print("hello", flush=True)

    hello()
    print("ended", flush=True)
"""
PROGRAMS = {"flow": PLAIN, "async flow": ASYNC, "generator": GENERATOR, "task": TASK}


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Yield the address of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def wait_for_word(process: FlowProcess, text: str) -> None:
    """Wait until the program has written the text to standard error."""
    assert process._reader.is_alive()
    for _ in iter(lambda: text in process.errors, True):
        process._reader.join(0.02)
        assert process.process.poll() is None, process.errors


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_wait_for_a_service_that_is_down_is_said_and_ctrl_c_ends_it(
    kind: str, flowspan_home: Path
) -> None:
    code = PROGRAMS[kind]
    address = "127.0.0.1:1"
    with FlowProcess(code, home=flowspan_home, address=address, env=PATIENT) as process:
        process.wait_for_line("hello")
        wait_for_word(process, "Waiting for the service at 127.0.0.1:1")
        process.process.send_signal(signal.SIGINT)
        # There is no further wait, neither at exit nor for threads of the loop.
        output = process.finish(expected_code=None)
        errors = process.errors
    assert "ended" not in output
    assert "KeyboardInterrupt" in errors
    assert errors.count("Waiting for the service") == 1
    assert "nothing listens there" in errors
    assert "Ctrl-C" in errors
    (spool,) = list_spools(Config(home=flowspan_home))
    assert f"kept in {spool.path}" in errors
    assert "lost" not in errors


def test_a_service_that_says_nothing_is_waited_for_with_a_word(
    silent_address: str, flowspan_home: Path
) -> None:
    with FlowProcess(PLAIN, home=flowspan_home, address=silent_address, env=PATIENT) as process:
        wait_for_word(process, f"Waiting for the service at {silent_address}")
        process.process.send_signal(signal.SIGINT)
        process.finish(expected_code=None)


def test_a_service_that_stops_answering_is_waited_for_with_a_word(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        from flowspan import flow

        @flow
        def hello():
            print("hello", flush=True)
            input()

        hello()
        print("ended", flush=True)
    """
    with FlowProcess(code, home=flowspan_home, address=service.address, env=PATIENT) as process:
        process.wait_for_line("hello")
        service.pause()
        process.say("")
        wait_for_word(process, "Waiting for the service")
        service.go_on()
        assert "ended" in process.finish()


def test_a_service_that_comes_late_is_waited_for(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    service.kill()
    with FlowProcess(PLAIN, home=flowspan_home, address=service.address, env=PATIENT) as process:
        wait_for_word(process, "Waiting for the service")
        service.restart()
        assert "ended" in process.finish()
        assert f"the flowspan service at {service.address} answers" in process.errors
        assert "has not stored" not in process.errors


@pytest.fixture(
    params=[
        "a file in the way",
        "a folder that takes none",
        "a read-only disk",
        "an address of something else",
    ]
)
def hopeless(request: pytest.FixtureRequest, flowspan_home: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a program that can never report, however long it waits."""
    flowspan_home.mkdir()
    if request.param == "a file in the way":
        (flowspan_home / "file").write_text("")
        yield {"FLOWSPAN_HOME": str(flowspan_home / "file" / "home")}
    elif request.param == "a folder that takes none":
        if not Path("/proc/self").is_dir():
            pytest.skip("no such folder here")
        yield {"FLOWSPAN_HOME": "/proc/flowspan-home"}
    elif request.param == "a read-only disk":
        folder = flowspan_home / "disk"
        folder.mkdir()
        with small_disk(folder, read_only=False):
            make_read_only(folder)
            yield {"FLOWSPAN_HOME": str(folder / "home")}
    else:
        with http_server() as address:
            yield {"FLOWSPAN_ADDRESS": address}


@contextmanager
def http_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign, assignment] # silent
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_can_never_work_is_said_at_once_and_not_waited_for(
    kind: str, hopeless: dict[str, str], flowspan_home: Path
) -> None:
    env = {**PATIENT, **hopeless}
    with FlowProcess(PROGRAMS[kind], home=flowspan_home, env=env) as process:
        assert "ended" in process.finish()
        errors = process.errors
    assert "Waiting for" not in errors
    assert "FLOWSPAN_" in errors
    check_consistent(errors)
    if "FLOWSPAN_HOME" in hopeless:
        assert "kept in memory only" in errors
        assert re.search(r"\d+ events are lost", errors)


def check_consistent(errors: str) -> None:
    """Check that the messages name either a file or memory as the place of events, not both."""
    is_in_file = bool(re.search(r"kept in /", errors))
    is_in_memory = "memory only" in errors or "are lost" in errors
    assert is_in_file != is_in_memory, errors
    assert ("cannot be written" in errors) <= is_in_memory, errors


def test_a_full_disk_is_told_with_what_to_do(flowspan_home: Path) -> None:
    flowspan_home.mkdir()
    disk = flowspan_home / "disk"
    disk.mkdir()
    code = """
        import os
        from flowspan import flow, get_run_logger

        @flow
        def hello():
            for _ in range(20):
                get_run_logger().info("x" * 20_000)

        hello()
    """
    with small_disk(disk, size_kib=100):
        env = {"FLOWSPAN_HOME": str(disk), "FLOWSPAN_FLUSH_TIMEOUT_S": "0.3"}
        env["FLOWSPAN_CONSOLE_LOG"] = "false"
        with FlowProcess(code, home=flowspan_home, address="127.0.0.1:1", env=env) as process:
            process.finish()
            errors = process.errors
    assert "Free some space" in errors or "free some space" in errors
    assert "make it writable" not in errors
    check_consistent(errors)


def test_a_spool_at_its_limit_is_told_with_the_limit(flowspan_home: Path) -> None:
    env = {"FLOWSPAN_SPOOL_MAX_BYTES": "10", "FLOWSPAN_FLUSH_TIMEOUT_S": "0.3"}
    env["FLOWSPAN_CONSOLE_LOG"] = "false"
    with FlowProcess(PLAIN, home=flowspan_home, address="127.0.0.1:1", env=env) as process:
        process.finish()
        errors = process.errors
    assert "FLOWSPAN_SPOOL_MAX_BYTES is 10" in errors
    assert "partly in memory only" in errors
    check_consistent(errors)
