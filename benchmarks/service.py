"""A service for benchmarks: started in its own folder, stopped by process id."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.environment import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


@dataclass
class Service:
    """A running service.

    Attributes:
        address: Its gRPC address, "host:port".
        home: Its folder.
        process_id: Its process id.
        ready_s: The time from the start of the process to the first SERVING, in seconds.
    """

    address: str
    home: Path
    process_id: int
    ready_s: float


@contextlib.contextmanager
def running_service(db: str | None = None, *, http_port: str = "off") -> Iterator[Service]:
    """Run a service during the block, started like `flowspan server start`.

    Args:
        db: The URL of its database; None for SQLite in its folder.
        http_port: Its HTTP port, or off.
    """
    with tempfile.TemporaryDirectory(prefix="flowspan-bench-") as folder:
        home = Path(folder)
        port = free_port()
        command = [str(Path(sys.executable).with_name("flowspan")), "server", "start"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--http-port", http_port]
        command += ["--db", db] if db else []
        environment = clean_environment(FLOWSPAN_HOME=folder)
        log_path = home / "bench-service.log"
        with log_path.open("wb") as log:
            began = time.perf_counter()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            _wait_until_serving(process, port, log_path)
            ready_s = time.perf_counter() - began
            yield Service(f"127.0.0.1:{port}", home, process.pid, ready_s)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, then SIGKILL if the process does not exit in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a free TCP port on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for_port(
    process: subprocess.Popen[bytes], port: int, log_path: Path, within_s: float
) -> None:
    """Wait until the process accepts connections.

    Raises:
        RuntimeError: The process exited or timed out; the message has its log.
    """
    deadline = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(
                f"the service did not start:\n{log_path.read_text(errors='replace')[-4000:]}"
            )
        time.sleep(0.002)


def _wait_until_serving(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    # Check the port first: a gRPC channel that finds it closed waits for its backoff.
    wait_for_port(process, port, log_path, READY_TIMEOUT_S)
    deadline = time.monotonic() + READY_TIMEOUT_S
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            with contextlib.suppress(grpc.RpcError):
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.002)
    raise RuntimeError(
        f"the service is not SERVING:\n{log_path.read_text(errors='replace')[-4000:]}"
    )
