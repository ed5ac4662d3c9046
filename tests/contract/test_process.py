"""The service as a process: start, replacement, discovery and end."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support import raw_http
from tests.support.child_processes import dying_with_us
from tests.support.http_channel import HttpChannel
from tests.support.report_client import ReportStream, created, new_id, whole_run
from tests.support.run_queries import flow_history
from tests.support.service import read_service_file

from flowspan.v1 import system_service_pb2, system_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0
EMBEDDED = ("--embedded", "--no-tcp")


@contextmanager
def started(home: Path, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Start a service process; kill it at the end if it still runs."""
    process = subprocess.Popen(
        [
            *dying_with_us(),
            sys.executable,
            "-m",
            "flowspan_service",
            "--home",
            str(home),
            *arguments,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.02)


def published(home: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until the process is ready; return the contents of its service file."""

    def mine() -> dict[str, Any] | None:
        assert process.poll() is None, process.communicate()
        found = read_service_file(home)
        return found if found and found["pid"] == process.pid else None

    return wait_for(mine, "the service to publish itself")


def process_id_at(address: str) -> int:
    """Return the id of the process that answers there."""
    with grpc.insecure_channel(address) as channel:
        stub = system_service_pb2_grpc.SystemServiceStub(channel)
        return stub.GetInfo(system_service_pb2.GetInfoRequest(), timeout=TIMEOUT_S).process_id


def test_it_is_found_says_so_and_ends_with_a_signal(flowspan_home: Path) -> None:
    with started(flowspan_home, "--port", "0", "--log-format", "json") as process:
        info = published(flowspan_home, process)
        unix, tcp = info["addresses"]
        assert unix == f"unix:{flowspan_home / 'service.sock'}"
        assert tcp.startswith("127.0.0.1:")
        assert not info["embedded"]
        assert info["version"]
        assert info["started_at"]
        assert process_id_at(unix) == process_id_at(tcp) == process.pid
        assert stat.S_IMODE(flowspan_home.stat().st_mode) == 0o700
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    first, *how_to_reach_it = output.splitlines()
    assert tcp in first
    assert any(f"FLOWSPAN_ADDRESS={tcp}" in line for line in how_to_reach_it)
    assert "flowspan.db" in output
    assert "Ctrl-C" in output
    lines = [json.loads(line) for line in errors.splitlines()]
    events = [line["event"] for line in lines]
    assert "ready" in events
    assert events[-1] == "stopping"
    assert read_service_file(flowspan_home) is None


def test_http_is_announced_and_ends_with_the_service(flowspan_home: Path) -> None:
    with started(flowspan_home, "--port", "0", "--http-port", "0") as process:
        info = published(flowspan_home, process)
        address = info["http_address"]
        assert address.startswith("http://127.0.0.1:")
        port = int(address.rpartition(":")[2])
        with grpc.insecure_channel(info["addresses"][-1]) as channel:
            stub = system_service_pb2_grpc.SystemServiceStub(channel)
            request = system_service_pb2.GetInfoRequest()
            assert stub.GetInfo(request, timeout=TIMEOUT_S).http_address == address
        assert raw_http.send(port, raw_http.LIST).content == {}
        watch = HttpChannel(port).unary_stream(raw_http.WATCH, bytes, bytes)(b"")
        assert next(watch)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as ended:
            list(watch)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert f"{address}/" in output
    assert "Traceback" not in errors
    assert "ERROR" not in errors.upper()


def test_a_local_service_serves_no_http_unless_asked(flowspan_home: Path) -> None:
    with started(flowspan_home, *EMBEDDED) as process:
        assert published(flowspan_home, process)["http_address"] == ""
        loaded = Path(f"/proc/{process.pid}/maps")
        assert not loaded.exists() or "httptools" not in loaded.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started(flowspan_home, *EMBEDDED, "--http-port", port) as process:
            # Its port is taken, and it starts all the same: a flow waits for it.
            assert published(flowspan_home, process)["http_address"] == ""


def test_it_listens_on_a_short_socket_where_the_homes_path_is_long(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    with started(home, *EMBEDDED) as process:
        (address,) = published(home, process)["addresses"]
        assert len(address) < 100
        folder = os.path.dirname(address.removeprefix("unix:"))
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert process_id_at(address) == process.pid


def test_local_service_makes_room_for_a_persons(flowspan_home: Path) -> None:
    run_id = new_id()
    with started(flowspan_home, *EMBEDDED) as embedded:
        (address,) = published(flowspan_home, embedded)["addresses"]
        with grpc.insecure_channel(address) as channel:
            stream = ReportStream(channel)
            stream.wait_for_ack(stream.report(*whole_run(run_id)))
            with started(flowspan_home, "--port", "0") as persons:
                info = published(flowspan_home, persons)
                assert not info["embedded"]
                assert stream.receive("command").HasField("drain")
                assert embedded.wait(TIMEOUT_S) == 0
                for each in info["addresses"]:
                    assert process_id_at(each) == persons.pid
                with grpc.insecure_channel(info["addresses"][0]) as again:
                    assert flow_history(again, run_id)[-1] == "Completed"


def test_of_two_local_services_one_ends_quietly(flowspan_home: Path) -> None:
    with (
        started(flowspan_home, *EMBEDDED) as one,
        started(flowspan_home, *EMBEDDED) as two,
    ):
        loser = wait_for(
            lambda: next((each for each in (one, two) if each.poll() is not None), None),
            "one of them to end",
        )
        winner = two if loser is one else one
        assert loser.returncode == 0
        (address,) = published(flowspan_home, winner)["addresses"]
        assert process_id_at(address) == winner.pid


def test_local_service_does_not_push_a_persons_aside(service: ServiceProcess) -> None:
    with started(service.home, *EMBEDDED) as process:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 3
    assert not output
    assert str(service.pid) in errors
    assert "Traceback" not in errors
    assert service.is_running


def test_local_service_ends_when_nobody_needs_it(flowspan_home: Path) -> None:
    with started(flowspan_home, *EMBEDDED, "--idle-timeout", "1.5") as process:
        (address,) = published(flowspan_home, process)["addresses"]
        with grpc.insecure_channel(address) as channel:
            stream = ReportStream(channel)
            stream.wait_for_ack(stream.report(created(new_id())))
            # Longer than the timeout: a connected session keeps it alive.
            time.sleep(2.5)
            assert process.poll() is None
            stream.goodbye()
            assert process.wait(TIMEOUT_S) == 0
    assert read_service_file(flowspan_home) is None


def test_second_signal_ends_it_at_once(start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(check_history=False)
    # A call that its client does not end: the first signal gives it some time.
    requests: queue.SimpleQueue[reflection_pb2.ServerReflectionRequest | None]
    requests = queue.SimpleQueue()
    requests.put(reflection_pb2.ServerReflectionRequest(list_services=""))
    stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    call = stub.ServerReflectionInfo(iter(requests.get, None))
    next(call)
    os.kill(service.pid, signal.SIGTERM)
    wait_for(lambda: "stopping" in service.log, "the service to begin to stop")
    os.kill(service.pid, signal.SIGTERM)
    assert service.wait() == 128 + signal.SIGTERM
    requests.put(None)


EVERYWHERE = "0.0.0.0"  # noqa: S104 - tests say who may listen there


def test_an_address_that_others_reach_needs_tokens(flowspan_home: Path) -> None:
    with started(flowspan_home, "--host", EVERYWHERE, "--port", "0") as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 4
    for advice in ("flowspan token create", "--require-tokens", "--insecure"):
        assert advice in errors


@pytest.mark.parametrize(
    ("flag", "warning"),
    [("--insecure", "can read and change everything"), ("--require-tokens", "unencrypted")],
)
def test_an_address_that_others_reach_is_warned_about(
    flowspan_home: Path, flag: str, warning: str
) -> None:
    with started(flowspan_home, "--host", EVERYWHERE, "--port", "0", flag) as process:
        published(flowspan_home, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert warning in errors


def test_a_service_in_which_nobody_could_create_a_token_does_not_start(
    flowspan_home: Path,
) -> None:
    db = f"sqlite:///{flowspan_home}/other.db"
    flags = ("--host", EVERYWHERE, "--port", "0", "--require-tokens", "--db", db)
    with started(flowspan_home, *flags) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 4
    assert "--socket" in errors


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--tls-key", "/x"), 2, "need --tls-cert"),
        (("--require-tokens", "--insecure"), 2, "exclude each other"),
        (("--tls-cert", "/does/not/exist"), 4, "Cannot read /does/not/exist"),
        (("--tls-cert", __file__), 4, "cannot be used with the key"),
        (("--no-tcp", "--http-port", "0", "--host", EVERYWHERE), 4, "flowspan token create"),
    ],
)
def test_flags_about_access_are_checked(
    flowspan_home: Path, flags: tuple[str, ...], code: int, message: str
) -> None:
    with started(flowspan_home, "--port", "0", *flags) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    assert message in errors


def test_restarted_service_takes_the_socket_of_one_that_was_killed(flowspan_home: Path) -> None:
    for _ in range(2):
        with started(flowspan_home, *EMBEDDED) as process:
            (address,) = published(flowspan_home, process)["addresses"]
            assert process_id_at(address) == process.pid


def test_socket_that_another_service_answers_is_not_taken(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    socket = service.home / "service.sock"
    with started(flowspan_home, "--no-tcp", "--socket", str(socket)) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 4
    assert str(socket) in errors
    assert "--socket" in errors
    assert process_id_at(f"unix:{socket}") == service.pid
