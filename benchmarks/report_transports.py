"""The report stream over h2, over blocking grpcio and over grpcio's asyncio API.

`python -m benchmarks.report_transports [--json]`. The peer is a process that only acks, so the
figures contain no store. Each transport is measured in a process of its own, several times in turn;
the figures are medians:

- the import of its library, and the time from the connection to the Welcome
- the wall time of a batch and its ack, alone and next to a thread of pure Python
- the CPU time of a batch and its ack in the reporting process
- ten forks in the middle of reporting: the children that could report, too, and the lines that the
  library wrote to stderr
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

METHOD = "/flowspan.v1.ReportService/Report"
ROUNDS = 5
BATCHES = 300
BUSY_BATCHES = 50
FORKS = 10
BATCH = bytes(1_000)
ACK = bytes(8)
WAIT_S = 5.0


class Exchange(Protocol):
    """One open stream."""

    def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer."""


class OverH2:
    """The transport in use."""

    library = "h2.connection"

    def __init__(self, port: int) -> None:
        from flowspan.connection.address import Address  # noqa: PLC0415 - the import is measured
        from flowspan.reporter.transport.stream import H2Transport  # noqa: PLC0415 - the import is measured

        address = Address(f"127.0.0.1:{port}", host="127.0.0.1", port=port)
        self._link = H2Transport.connect(address, timeout_s=WAIT_S)

    def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer."""
        self._link.send(message)
        (answer,) = self._link.wait(WAIT_S)
        return answer


class OverGrpcio:
    """The blocking API of grpcio, with its threads."""

    library = "grpc"

    def __init__(self, port: int) -> None:
        from tests.support.grpcio_transport import GrpcioTransport  # noqa: PLC0415 - the same

        from flowspan.connection.address import Address  # noqa: PLC0415 - the import is measured

        address = Address(f"127.0.0.1:{port}", host="127.0.0.1", port=port)
        self._transport = GrpcioTransport.connect(address, timeout_s=WAIT_S)

    def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer."""
        self._transport.send(message)
        (answer,) = self._transport.wait(WAIT_S)
        return answer


class OverAsyncio:
    """The asyncio API of grpcio, in an event loop of the reporting thread."""

    library = "grpc.aio"

    def __init__(self, port: int) -> None:
        import grpc.aio  # noqa: PLC0415 - the import is measured

        self._loop = asyncio.new_event_loop()

        async def connect() -> None:
            options = [("grpc.use_local_subchannel_pool", 1)]
            self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
            self._call = self._channel.stream_stream(METHOD)()

        self._loop.run_until_complete(connect())

    def ask(self, message: bytes) -> bytes:
        """Send a message and wait for the answer."""

        async def exchange() -> bytes:
            await self._call.write(message)
            return await self._call.read()

        return self._loop.run_until_complete(asyncio.wait_for(exchange(), WAIT_S))


KINDS: dict[str, Any] = {
    "h2": OverH2,
    "grpcio, blocking": OverGrpcio,
    "grpcio, asyncio": OverAsyncio,
}


def serve() -> None:
    """Ack every message until the standard input ends."""
    import grpc  # noqa: PLC0415 - not in the measured processes

    class Acks(grpc.GenericRpcHandler):
        def service(self, _: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(self.answers)

        def answers(self, requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
            for _ in requests:
                yield ACK

    server = grpc.server(ThreadPoolExecutor(4 * FORKS))
    server.add_generic_rpc_handlers((Acks(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(grace=None)


def measure(name: str, port: int) -> dict[str, float]:
    """Measure one transport in this process."""
    kind = KINDS[name]
    began = time.perf_counter()
    __import__(kind.library)
    imported = time.perf_counter()
    kind(port).ask(BATCH)  # the first one imports the rest
    connecting = time.perf_counter()
    exchange: Exchange = kind(port)
    exchange.ask(BATCH)
    connected = time.perf_counter()
    cpu_began = time.process_time()
    alone = rounds(exchange, BATCHES)
    cpu_s = time.process_time() - cpu_began
    figures = {
        "import (ms)": (imported - began) * 1e3,
        "connect and first answer (ms)": (connected - connecting) * 1e3,
        "threads of the process": len(os.listdir("/proc/self/task")),
        "a batch and its ack, median (µs)": statistics.median(alone) * 1e6,
        "a batch and its ack, CPU time (µs)": cpu_s / BATCHES * 1e6,
    }
    threading.Thread(target=compute, daemon=True).start()
    busy = sorted(rounds(exchange, BUSY_BATCHES))
    figures["the same next to a busy thread, 95 % (ms)"] = busy[len(busy) * 95 // 100] * 1e3
    return figures


def rounds(exchange: Exchange, count: int) -> list[float]:
    """Return the wall times of batches with their acks, in seconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        exchange.ask(BATCH)
        times.append(time.perf_counter() - began)
    return times


def compute() -> None:
    """Hold the interpreter lock whenever it is available."""
    while True:
        sum(range(1000))


def fork(name: str, port: int) -> dict[str, float]:
    """Fork while a thread reports; count the children that can report as well."""
    kind = KINDS[name]
    reported = [0]

    def report() -> None:
        exchange: Exchange = kind(port)
        while True:
            exchange.ask(BATCH)
            reported[0] += 1

    threading.Thread(target=report, daemon=True).start()
    while not reported[0]:
        time.sleep(0.01)
    children = sum(child_reports(kind, port) for _ in range(FORKS))
    before = reported[0]
    time.sleep(1.0)
    return {
        f"children of {FORKS} forks that reported": children,
        "the parent reports after the forks": float(reported[0] > before),
    }


def child_reports(kind: Any, port: int) -> bool:
    """Fork a process that reports; return True if it succeeded in time."""
    child = os.fork()
    if not child:
        with suppress(BaseException):
            threading.Timer(2 * WAIT_S, os._exit, (1,)).start()
            kind(port).ask(BATCH)
            os._exit(0)
        os._exit(1)
    deadline = time.monotonic() + 3 * WAIT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def measured(part: str, name: str, port: int) -> dict[str, float]:
    """Measure a part in a new process."""
    command = [sys.executable, "-m", "benchmarks.report_transports", "--part", part]
    ended = subprocess.run(
        [*command, "--kind", name, "--port", str(port)],
        capture_output=True,
        timeout=600,
        check=False,
    )
    if ended.returncode:
        return {f"{part}: failed": 1.0}
    figures: dict[str, float] = json.loads(ended.stdout)
    if part == "fork":
        figures["lines on stderr"] = len(ended.stderr.splitlines())
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--part", choices=["serve", "measure", "fork"], help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "serve":
        serve()
        return
    if arguments.part:
        part = measure if arguments.part == "measure" else fork
        print(json.dumps(part(arguments.kind, arguments.port)), flush=True)
        os._exit(0)  # some of these transports hang at exit after a fork
    figures = all_figures()
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    names = {name for of_kind in figures.values() for name in of_kind}
    print(" " * 46 + "".join(f"{kind:>18}" for kind in figures))
    for name in sorted(names):
        row = (of_kind.get(name) for of_kind in figures.values())
        cells = (f"{value:18,.1f}" if value is not None else f"{'-':>18}" for value in row)
        print(f"{name:46}" + "".join(cells))


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def all_figures() -> dict[str, dict[str, float]]:
    """Return the figures of each transport."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.report_transports", "--part", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        rounds_of: dict[str, list[dict[str, float]]] = {name: [] for name in KINDS}
        for _ in range(ROUNDS):
            for name, found in rounds_of.items():
                found.append(measured("measure", name, port))
        figures = {
            name: medians(found) | measured("fork", name, port) for name, found in rounds_of.items()
        }
        server.stdin.close()
    return figures


if __name__ == "__main__":
    main()
