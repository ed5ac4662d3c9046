"""Latency and cost of watchers, with the real gRPC server over SQLite in one process.

It measures the latency of a state with few and many watchers of one tree, the share of the
ingest rate that idle watchers cost, the duration of a tree's snapshot by size, and how long the
deletion of a large tree holds the writer and delays others.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from flowspan.core.ids import IdMaker
from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    report_pb2,
    report_service_pb2,
    report_service_pb2_grpc,
    state_pb2,
    system_service_pb2,
    system_service_pb2_grpc,
    watch_service_pb2,
    watch_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS_PER_BATCH = 500
new_id = IdMaker(time.time_ns, random.getrandbits, threading.Lock())


class Service:
    """A service in a separate process."""

    def __init__(self, folder: str) -> None:
        self.socket = Path(folder) / "service.sock"
        command = [sys.executable, "-m", "flowspan_service", "--home", folder, "--port", "0"]
        command += ["--host", "127.0.0.1", "--socket", str(self.socket), "--log-level", "warning"]
        environment = {**os.environ, "FLOWSPAN_HOME": folder}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self.channel = self.connect()
        grpc.channel_ready_future(self.channel).result(60)

    def connect(self) -> grpc.Channel:
        """Return a new connection."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        return grpc.insecure_channel(f"unix:{self.socket}", options=options)

    def cpu_s(self) -> float:
        """Return the CPU time used so far; 0 if the system does not report it (not Linux)."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def info(self) -> Any:
        """Return the state and settings of the service."""
        stub = system_service_pb2_grpc.SystemServiceStub(self.channel)
        return stub.GetInfo(system_service_pb2.GetInfoRequest())

    def stop(self) -> None:
        """Stop the service."""
        self.channel.close()
        self.process.terminate()
        self.process.wait()


class Session:
    """A session that reports over ReportBatch."""

    def __init__(self, channel: Any) -> None:
        self._stub = report_service_pb2_grpc.ReportServiceStub(channel)
        self._hello = report_pb2.Hello(session_id=str(uuid.uuid4()))
        self._sequence = 1

    def report(self, events: list[report_pb2.Event]) -> Any:
        """Report events; return when they are committed, or an awaitable for that."""
        batch = report_pb2.Batch(first_sequence=self._sequence, events=events)
        request = report_service_pb2.ReportBatchRequest(hello=self._hello, batch=batch)
        self._sequence += len(events)
        return self._stub.ReportBatch(request)


def created(run_id: str, kind: str = "FLOW", **fields: Any) -> report_pb2.Event:
    """Return the creation of a run as an event."""
    state = _state("PENDING")
    run = report_pb2.RunCreated(
        run_id=run_id, kind=f"RUN_KIND_{kind}", function_name="f", state=state, **fields
    )
    return report_pb2.Event(run_created=run)


def entered(run_id: str, kind: str) -> report_pb2.Event:
    """Return the entry of a run into a state as an event."""
    state = report_pb2.StateEntered(run_id=run_id, attempt=1, state=_state(kind))
    return report_pb2.Event(state_entered=state)


def _state(kind: str) -> state_pb2.State:
    state = state_pb2.State(type=f"STATE_TYPE_{kind}")
    state.time.FromNanoseconds(time.time_ns() // 1000 * 1000)
    return state


def report_tree(session: Session, tasks: int) -> str:
    """Report a completed flow run with this many completed task runs; return its id."""
    root = new_id()
    session.report([created(root), entered(root, "RUNNING")])
    events: list[report_pb2.Event] = []
    for _ in range(tasks):
        run_id = new_id()
        events += [
            created(run_id, "TASK", parent_run_id=root, root_run_id=root, flow_run_id=root),
            entered(run_id, "RUNNING"),
            entered(run_id, "COMPLETED"),
        ]
        if len(events) >= EVENTS_PER_BATCH:
            session.report(events)
            events = []
    session.report([*events, entered(root, "COMPLETED")])
    return root


def snapshots(service: Service, sizes: list[int]) -> Iterator[str]:
    """Measure the snapshots of trees of these sizes."""
    stub = watch_service_pb2_grpc.WatchServiceStub(service.channel)
    for size in sizes:
        root = report_tree(Session(service.channel), size)
        begin = time.perf_counter()
        count = sum(1 for _ in stub.Watch(watch_service_pb2.WatchRequest(run_id=root)))
        taken_s = time.perf_counter() - begin
        each_us = taken_s / count * 1e6
        yield f"snapshot of {count - 2:7,} tasks: {taken_s:6.2f} s, {each_us:.0f} µs each"


def latencies(service: Service, watchers: int, states: int) -> str:
    """Measure the latency of a state to all watchers of its tree."""
    session = Session(service.channel)
    root = new_id()
    session.report([created(root), entered(root, "RUNNING")])
    sent: dict[int, float] = {}
    found: list[float] = []
    ready = threading.Semaphore(0)

    def watch(channel: grpc.Channel) -> None:
        stub = watch_service_pb2_grpc.WatchServiceStub(channel)
        for answer in stub.Watch(watch_service_pb2.WatchRequest(run_id=root)):
            if answer.HasField("snapshot_end"):
                ready.release()
            elif answer.HasField("change"):
                found.append(time.perf_counter() - sent[answer.change.transition.ordinal])

    channels = [service.connect() for _ in range(watchers)]
    threads = [threading.Thread(target=watch, args=(channel,)) for channel in channels]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    for ordinal in range(3, states + 3):
        time.sleep(0.05)
        event = entered(root, "RUNNING")
        sent[ordinal] = time.perf_counter()
        session.report([event])
    sent[states + 3] = time.perf_counter()
    session.report([entered(root, "COMPLETED")])
    for thread in threads:
        thread.join()
    for channel in channels:
        channel.close()
    cut = statistics.quantiles(found, n=20)
    p50_ms, p95_ms = cut[9] * 1e3, cut[18] * 1e3
    return f"{watchers:3} watchers of one tree: p50 {p50_ms:5.1f} ms, p95 {p95_ms:5.1f} ms"


def ingest(address: str, seconds: float, counts: Any) -> None:
    """Report runs for some seconds, and put the transitions per second into the queue."""
    channel = grpc.insecure_channel(address)
    session, end, count = Session(channel), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        events = []
        for _ in range(EVENTS_PER_BATCH // 3):
            run_id = new_id()
            events += [created(run_id), entered(run_id, "RUNNING"), entered(run_id, "COMPLETED")]
        session.report(events)
        count += len(events)
    counts.put(count / seconds)


def ingest_rate(service: Service, seconds: float) -> tuple[float, float]:
    """Return the transitions per second of a client process, and the service's µs for each."""
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    client = context.Process(target=ingest, args=(f"unix:{service.socket}", seconds, counts))
    begin_s = service.cpu_s()
    client.start()
    rate: float = counts.get()
    client.join()
    return rate, (service.cpu_s() - begin_s) / (rate * seconds) * 1e6


def idle_watchers(service: Service, watchers: int, seconds: float, repeat: int) -> Iterator[str]:
    """Measure the share of the ingest rate that watchers of idle runs cost."""
    session = Session(service.channel)
    roots = [new_id() for _ in range(watchers)]
    session.report([created(root) for root in roots])
    stub = watch_service_pb2_grpc.WatchServiceStub(service.channel)

    def with_watchers() -> tuple[float, float]:
        calls = [stub.Watch(watch_service_pb2.WatchRequest(run_id=root)) for root in roots]
        for call in calls:
            while not next(call).HasField("snapshot_end"):
                pass
        measured = ingest_rate(service, seconds)
        for call in calls:
            call.cancel()
        time.sleep(0.5)
        return measured

    ingest_rate(service, seconds)  # warm-up
    without, with_them = [], []
    for number in range(2 * repeat):
        # Alternate a b b a, so that the growing database does not always penalize the second.
        if number % 4 in {0, 3}:
            without.append(ingest_rate(service, seconds))
        else:
            with_them.append(with_watchers())
    (rate, cost_us), (watched_rate, watched_cost_us) = (
        map(statistics.median, zip(*measured, strict=True)) for measured in (without, with_them)
    )
    yield (
        f"ingest: {rate:,.0f}/s; with {watchers} idle watchers {watched_rate:,.0f}/s"
        f" ({watched_rate / rate - 1:+.1%})"
    )
    yield (
        f"CPU time of the service per transition: {cost_us:.1f} µs; with watchers"
        f" {watched_cost_us:.1f} µs ({watched_cost_us / cost_us - 1:+.1%})"
    )


def deletion(service: Service, tasks: int) -> Iterator[str]:
    """Measure the deletion of a tree, and how long other sessions wait for commits meanwhile."""
    root = report_tree(Session(service.channel), tasks)
    other, waits, is_done = Session(service.connect()), [], threading.Event()

    def report() -> None:
        while not is_done.is_set():
            run_id, begin = new_id(), time.perf_counter()
            other.report([created(run_id)])
            waits.append(time.perf_counter() - begin)

    reporting = threading.Thread(target=report)
    reporting.start()
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
    begin = time.perf_counter()
    stub.DeleteFlowRun(flow_run_service_pb2.DeleteFlowRunRequest(id=root))
    taken_s = time.perf_counter() - begin
    is_done.set()
    reporting.join()
    yield (
        f"deletion of {tasks:,} tasks: {taken_s:.1f} s; others were acked {len(waits)} times, in"
        f" p50 {statistics.median(waits) * 1e3:.0f} ms, at most {max(waits) * 1e3:.0f} ms"
    )
    info = service.info()
    if info.HasField("longest_write"):
        yield f"the longest write took {info.longest_write.ToMicroseconds() / 1e3:.0f} ms"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 12_500, 100_000])
    parser.add_argument("--watchers", type=int, nargs="*", default=[1, 8, 50])
    parser.add_argument("--idle", type=int, default=50, help="number of idle watchers; 0 to skip")
    parser.add_argument(
        "--delete", type=int, default=50_000, help="number of tasks to delete; 0 to skip"
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeat", type=int, default=4, help="repetitions with idle watchers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(folder)
        try:
            for count in arguments.watchers:
                print(latencies(service, count, states=100), flush=True)
            if arguments.idle:
                lines = idle_watchers(service, arguments.idle, arguments.seconds, arguments.repeat)
                print(*lines, sep="\n", flush=True)
            if arguments.delete:
                print(*deletion(service, arguments.delete), sep="\n", flush=True)
            for line in snapshots(service, arguments.sizes):
                print(line, flush=True)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
