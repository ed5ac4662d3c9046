"""Ingest rate of the service in acked transitions per second: gRPC, rules and database.

The batches are serialized beforehand, so that the sender uses little CPU. They resemble those
of a flow that calls tasks one after the other: each task is created PENDING, then enters
RUNNING and COMPLETED. With `--spread N`, these three events are N batches apart, as in a flow
with many concurrent tasks; runs are then updated instead of being written once. With `--joined`,
they are one event (RunCompleted), as the Python client sends it. The clock runs from the first
batch to the last ack. Afterwards a query verifies that everything is stored.

For a service that this program starts, the CPU time of its process for each task is printed, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import statistics
import sys
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.service import running_service
from flowspan.v1 import (
    report_pb2,
    report_service_pb2,
    run_filter_pb2,
    state_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PER_TASK = 3
METHOD = "/flowspan.v1.ReportService/Report"


class IdMaker:
    """Generator of ascending UUIDv7 ids."""

    def __init__(self) -> None:
        self._random = uuid.uuid4().hex[:8]
        self._count = 0

    def __call__(self) -> str:
        """Return the next id."""
        self._count += 1
        digits = f"{time.time_ns() // 1_000_000:012x}7{self._count >> 32:03x}8{self._random[1:]}"
        digits += f"{self._count & 0xFFFFFFFF:08x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Load:
    """The serialized frames of one session.

    Attributes:
        transitions: The number of transitions that they contain.
        flow_run_id: The flow run that all tasks belong to.
        batches: The frames, each with the sequence number of its last event.
    """

    def __init__(self, *, tasks: int, batch_size: int, spread: int, joined: bool) -> None:
        new_id = IdMaker()
        self.session_id = new_id()
        self.flow_run_id = new_id()
        self.transitions = 2 + PER_TASK * tasks
        events: list[report_pb2.Event] = [
            _created(self.flow_run_id, report_pb2.RUN_KIND_FLOW, "ingest", None),
            _entered(self.flow_run_id, state_pb2.STATE_TYPE_RUNNING),
        ]
        if joined:
            events += self._joined_events(new_id, tasks)
            batch_size //= PER_TASK
        else:
            events += self._task_events(new_id, tasks, spread * batch_size)
        self.batches: list[tuple[int, bytes]] = []
        last = 0
        for start in range(0, len(events), batch_size):
            some = events[start : start + batch_size]
            batch = report_pb2.Batch(first_sequence=last + 1, events=some)
            frame = report_service_pb2.ReportRequest(batch=batch)
            last += sum(PER_TASK if each.HasField("run_completed") else 1 for each in some)
            self.batches.append((last, frame.SerializeToString()))

    def _joined_events(self, new_id: IdMaker, tasks: int) -> Iterator[report_pb2.Event]:
        completed = state_pb2.STATE_TYPE_COMPLETED
        for number in range(tasks):
            run_id = new_id()
            created = _created(run_id, report_pb2.RUN_KIND_TASK, "work", self.flow_run_id, number)
            event = report_pb2.Event()
            event.run_completed.created.CopyFrom(created.run_created)
            event.run_completed.start_time.FromNanoseconds(time.time_ns())
            event.run_completed.ended.CopyFrom(_entered(run_id, completed).state_entered.state)
            yield event

    def _task_events(
        self, new_id: IdMaker, tasks: int, distance: int
    ) -> Iterator[report_pb2.Event]:
        """Yield the events of all tasks; those of one task are about `distance` events apart."""
        late: deque[tuple[int, str, int]] = deque()
        running, completed = state_pb2.STATE_TYPE_RUNNING, state_pb2.STATE_TYPE_COMPLETED
        place = 0
        for number in range(tasks):
            run_id = new_id()
            yield _created(run_id, report_pb2.RUN_KIND_TASK, "work", self.flow_run_id, number)
            place += 1
            late.append((place + distance, run_id, running))
            while late and late[0][0] <= place:
                _, entering, state_type = late.popleft()
                yield _entered(entering, state_type)
                place += 1
                if state_type == running:
                    late.append((place + distance, entering, completed))
        while late:
            _, entering, state_type = late.popleft()
            yield _entered(entering, state_type)
            if state_type == running:
                late.append((0, entering, completed))


def send(channel: grpc.Channel, load: Load) -> float:
    """Send everything over one stream; return the seconds from the first batch to the last ack."""
    frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    call = channel.stream_stream(
        METHOD, response_deserializer=report_service_pb2.ReportResponse.FromString
    )
    responses = call(iter(frames.get, None))
    hello = report_pb2.Hello(session_id=load.session_id, client_name="service_ingest")
    frames.put(report_service_pb2.ReportRequest(hello=hello).SerializeToString())
    window = next(responses).welcome.max_unacked_events
    waiting = deque(load.batches)
    last = load.batches[-1][0]
    acked = 0
    began = time.perf_counter()
    while True:
        while waiting and waiting[0][0] - acked <= window:
            frames.put(waiting.popleft()[1])
        if acked >= last:
            break
        response = next(responses)
        assert not response.ack.verdicts, response
        acked = max(acked, response.ack.up_to_sequence)
    taken_s = time.perf_counter() - began
    goodbye = report_service_pb2.ReportRequest(goodbye=report_pb2.Goodbye())
    frames.put(goodbye.SerializeToString())
    frames.put(None)
    for _ in responses:
        pass
    return taken_s


def stored_tasks(channel: grpc.Channel, load: Load) -> int:
    """Return the number of tasks stored as COMPLETED."""
    stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    wanted = run_filter_pb2.RunFilter(
        root_run_id=load.flow_run_id, state_types=[state_pb2.STATE_TYPE_COMPLETED]
    )
    counts = stub.CountTaskRuns(task_run_service_pb2.CountTaskRunsRequest(filter=wanted)).counts
    return sum(each.count for each in counts)


def _created(
    run_id: str, kind: int, name: str, parent_id: str | None, number: int = 0
) -> report_pb2.Event:
    state = state_pb2.State(type=state_pb2.STATE_TYPE_PENDING)
    state.time.FromNanoseconds(time.time_ns())
    created = report_pb2.RunCreated(
        run_id=run_id,
        kind=kind,
        function_name=name,
        run_name=f"{name}-{number}",
        parent_run_id=parent_id or "",
        root_run_id=parent_id or run_id,
        flow_run_id=parent_id or "",
        state=state,
    )
    return report_pb2.Event(run_created=created)


def _entered(run_id: str, state_type: int) -> report_pb2.Event:
    state = state_pb2.State(type=state_type)
    state.time.FromNanoseconds(time.time_ns())
    return report_pb2.Event(
        state_entered=report_pb2.StateEntered(run_id=run_id, attempt=1, state=state)
    )


def measure(
    address: str, *, tasks: int, batch_size: int, spread: int, joined: bool = False
) -> float:
    """Return the transitions per second over one stream of a new session."""
    load = Load(tasks=tasks, batch_size=batch_size, spread=spread, joined=joined)
    with grpc.insecure_channel(address) as channel:
        taken_s = send(channel, load)
        found = stored_tasks(channel, load)
        assert found == tasks, f"{found} of {tasks} tasks are stored"
    return load.transitions / taken_s


def _cpu_s(process_id: int) -> float:
    """Return the CPU time of a process in seconds; 0 where /proc does not tell."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="address of a running service (default: start one)")
    parser.add_argument("--db", help="database URL of the service to start")
    parser.add_argument("--tasks", type=int, default=50_000)
    parser.add_argument("--batch-size", type=int, default=1_000)
    parser.add_argument("--spread", type=int, default=0, help="batches between a task's events")
    parser.add_argument("--joined", action="store_true", help="one event for each task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    cpu_us = None
    with contextlib.ExitStack() as stack:
        service = None if flags.address else stack.enter_context(running_service(flags.db))
        address = flags.address or service.address
        began_s = _cpu_s(service.process_id) if service is not None else 0.0
        rates = [
            measure(
                address,
                tasks=flags.tasks,
                batch_size=flags.batch_size,
                spread=flags.spread,
                joined=flags.joined,
            )
            for _ in range(flags.rounds)
        ]
        if service is not None and (ended_s := _cpu_s(service.process_id)):
            cpu_us = (ended_s - began_s) / (flags.rounds * flags.tasks) * 1e6
    median = statistics.median(rates)
    if flags.json:
        print(json.dumps({"transitions_per_s": median, "rates": rates, "cpu_us_per_task": cpu_us}))
    else:
        print(f"{median:,.0f} transitions/s (of {', '.join(f'{rate:,.0f}' for rate in rates)})")
        if cpu_us is not None:
            print(f"{cpu_us:.1f} µs of the service's CPU for each task")
    return 0


if __name__ == "__main__":
    sys.exit(main())
