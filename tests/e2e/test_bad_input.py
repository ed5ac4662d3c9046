"""Wrong addresses, odd parameters, huge logs: clear errors, and nothing is lost."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.command_process import run_cli
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

HELLO = """
    from flowspan import flow

    @flow
    def hello():
        return "hello"

    print(hello())
"""


@contextmanager
def closed_port() -> Iterator[str]:
    """Yield an address with a closed port, which stays closed meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound, but never listening.
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def web_server() -> Iterator[str]:
    """Yield a server that is not flowspan and speaks HTTP/1.1."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def other_grpc_server() -> Iterator[str]:
    """Yield a gRPC server that is not flowspan and has none of its methods."""
    server = grpc.server(ThreadPoolExecutor(4))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


STRANGERS = pytest.mark.parametrize(
    "stranger", [closed_port, web_server, other_grpc_server], ids=lambda each: each.__name__
)


@STRANGERS
def test_command_with_a_wrong_address(stranger) -> None:
    with stranger() as address:
        complaint = run_cli("run", "ls", address=address, expected_code=1)
    assert address in complaint
    assert "FLOWSPAN_ADDRESS" in complaint or "flowspan server" in complaint


def test_command_with_an_unknown_host() -> None:
    complaint = run_cli("run", "ls", address="no-such-host.invalid:4600", expected_code=1)
    assert "no-such-host.invalid" in complaint


@pytest.mark.parametrize("address", ["http://127.0.0.1:4600", "127.0.0.1", "127.0.0.1:99999"])
def test_address_that_is_none(address: str, flowspan_home: Path) -> None:
    with FlowProcess(HELLO, home=flowspan_home, address=address) as process:
        process.finish(expected_code=1)
        assert f"FLOWSPAN_ADDRESS={address!r}" in process.errors
        assert "127.0.0.1:4600" in process.errors, "the message does not say which values are valid"


@STRANGERS
def test_flow_with_a_wrong_address_runs_and_is_delivered_later(
    stranger, service: ServiceProcess, flowspan_home: Path
) -> None:
    env = {"FLOWSPAN_FLUSH_TIMEOUT_S": "1"}
    with (
        stranger() as address,
        FlowProcess(HELLO, home=flowspan_home, address=address, env=env) as process,
    ):
        assert process.finish() == "hello\n"
        assert address in process.errors
        assert "Traceback" not in process.errors
        # Printed once or twice, not with every attempt to connect.
        assert process.errors.count(address) <= 3, process.errors
    assert run_cli("spool", "push", "--any-address", address=service.address)
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]


def test_parameter_that_cannot_be_serialized(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        import threading
        from typing import Any

        from flowspan import flow, task

        class Odd:
            def __repr__(self):
                raise ZeroDivisionError("not even this")

        @task
        def use(lock, odd):
            with lock:
                return 1

        @flow
        def odd_parameters(lock: Any, text: str, odd: Any, number: float):
            return use(lock, odd)

        print(odd_parameters(threading.Lock(), "\\ud800 half a character", Odd(), float("nan")))
    """
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output == "1\n"
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]
    parameters = json.loads(flow_run.parameters.data)
    assert set(parameters) == {"lock", "text", "odd", "number"}
    assert "lock" in str(parameters["lock"])


def test_parameters_that_are_too_large(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan import flow

        @flow
        def large(text: str, number: int):
            return len(text)

        print(large("x" * 5_000_000, 7))
    """
    assert run_code(code, home=flowspan_home, address=service.address) == "5000000\n"
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]
    assert json.loads(flow_run.parameters.data)["number"] == 7


def test_error_that_is_too_large(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan import flow

        @flow
        def fails():
            raise ValueError("\\ud800" + "x" * 5_000_000)

        try:
            fails()
        except ValueError as error:
            print(len(str(error)))
    """
    assert run_code(code, home=flowspan_home, address=service.address) == "5000001\n"
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Failed"]
    assert "xxx" in flow_run.state.message


@pytest.mark.slow
def test_log_line_of_100_megabytes(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan import flow, get_run_logger

        @flow
        def talkative():
            get_run_logger().info("".join(f"{number:09d}\\n" for number in range(10_000_000)))
            get_run_logger().info("after it")

        talkative()
    """
    run_code(code, home=flowspan_home, address=service.address)
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]
    expected = hashlib.sha256()
    for first in range(0, 10_000_000, 100_000):
        expected.update(b"".join(b"%09d\n" % n for n in range(first, first + 100_000)))
    found, size, chunks = hashlib.sha256(), 0, 0
    for record in logs(service.channel, flow_run.id):
        if record.chunk_count > 1:
            assert record.chunk_index == chunks
            chunks += 1
            size += len(record.message)
            found.update(record.message.encode())
    assert size == 100_000_000
    assert found.digest() == expected.digest()
    assert "after it" in [record.message for record in logs(service.channel, flow_run.id)]


@pytest.mark.slow
def test_log_of_a_million_lines(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan import flow, get_run_logger

        @flow
        def talkative():
            log = get_run_logger()
            for number in range(1_000_000):
                log.info("line %d", number)

        talkative()
    """
    env = {"FLOWSPAN_CONSOLE_LOG": "false"}
    run_code(code, home=flowspan_home, address=service.address, env=env)
    (flow_run,) = flow_runs(service.channel)
    assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]
    lines = (record.message for record in logs(service.channel, flow_run.id))
    numbers = (int(line.removeprefix("line ")) for line in lines if line.startswith("line "))
    expected = iter(range(1_000_000))
    assert all(number == next(expected, None) for number in numbers)
    assert next(expected, None) is None, "the last lines are missing"
