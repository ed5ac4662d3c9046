"""Cost of reporting without a stream: the service's CPU time and the latency per ReportBatch.

It measures heartbeats, calls that report a whole run, and sessions of a single call that ends with
`goodbye`, one call after the other, with the real service over SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from typing import TYPE_CHECKING, Any

from benchmarks.watching import Service, created, entered, new_id
from flowspan.v1 import report_pb2, report_service_pb2, report_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP_CALLS = 200


class Client:
    """One session after another, over one connection."""

    def __init__(self, channel: Any) -> None:
        self._stub = report_service_pb2_grpc.ReportServiceStub(channel)
        self.begin()

    def begin(self) -> None:
        """Begin another session."""
        self._hello = report_pb2.Hello(session_id=str(uuid.uuid4()), secret=os.urandom(16))
        self._sequence = 1

    def heartbeat(self) -> None:
        """Send an empty batch."""
        self._call([])

    def run(self) -> None:
        """Report a whole run."""
        run_id = new_id()
        self._call([created(run_id), entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")])

    def session(self) -> None:
        """Report a whole run, and end the session."""
        run_id = new_id()
        events = [created(run_id), entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")]
        self._call(events, goodbye=True)
        self.begin()

    def _call(self, events: list[report_pb2.Event], *, goodbye: bool = False) -> None:
        batch = report_pb2.Batch(first_sequence=self._sequence, events=events) if events else None
        request = report_service_pb2.ReportBatchRequest(
            hello=self._hello, batch=batch, goodbye=goodbye
        )
        answer = self._stub.ReportBatch(request)
        assert not answer.ack.verdicts, answer
        self._sequence += len(events)


def measure(service: Service, call: Callable[[], None], calls: int) -> tuple[float, float]:
    """Return the service's CPU time per call and the median latency, in milliseconds."""
    for _ in range(WARM_UP_CALLS):
        call()
    took_s = []
    cpu_s = service.cpu_s()
    for _ in range(calls):
        began = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - began)
    return (service.cpu_s() - cpu_s) / calls * 1e3, statistics.median(took_s) * 1e3


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="flowspan-bench-") as folder:
        service = Service(folder)
        try:
            client = Client(service.channel)
            for name in ("heartbeat", "run", "session"):
                client.begin()
                cpu_ms, latency_ms = measure(service, getattr(client, name), flags.calls)
                found[name] = {"cpu_ms": cpu_ms, "latency_ms": latency_ms}
        finally:
            service.stop()
    if flags.json:
        print(json.dumps(found))
        return 0
    for name, figures in found.items():
        cpu_ms, latency_ms = figures.values()
        print(f"{name:10} {cpu_ms:.2f} ms CPU of the service per call, {latency_ms:.2f} ms latency")
    return 0


if __name__ == "__main__":
    sys.exit(main())
