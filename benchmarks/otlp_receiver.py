"""OTLP receiver that counts spans, in a separate process like a collector."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Counter(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.spans = 0

    def Export(  # noqa: N802 - the stub's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        spans = sum(
            len(scope.spans)
            for resource in request.resource_spans
            for scope in resource.scope_spans
        )
        with self._lock:
            self.spans += spans
        return trace_service_pb2.ExportTraceServiceResponse()


@dataclass
class Receiver:
    """A running receiver.

    Attributes:
        endpoint: The URL of its OTLP endpoint over gRPC.
    """

    endpoint: str
    _process: subprocess.Popen[str]

    def count(self) -> int:
        """Return the number of received spans."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Run a receiver during the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.otlp_receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield Receiver(f"http://127.0.0.1:{port}", process)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def main() -> None:
    """Print the port, then the count for each input line; exit at the end of the input."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    counter = _Counter()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(counter, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    for _ in sys.stdin:
        print(counter.spans, flush=True)
    server.stop(None)


if __name__ == "__main__":
    main()
