"""Cost of reporting: the caller's side, the reporter's thread, and the round trip to the ack.

    python -m benchmarks.reporter_cost

The first part needs no service and measures CPU time. The second part starts a service in a
temporary home (SQLite, synchronous=FULL) and emits the engine's events without the engine, so
it measures the transport and the service.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowspan.api.ids import new_id
from flowspan.config import Config
from flowspan.connection.local_service import ensure_local_service, published
from flowspan.core.events import CREATED, LOG, STATE, RunRecord
from flowspan.reporter.encoding.events import Encoder
from flowspan.reporter.intake import Builder, Intake
from flowspan.reporter.reporter import Reporter, get_reporter
from flowspan.v1 import report_pb2, state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.events import Event

COUNT = 20_000
RUNNING, COMPLETED = 3, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = {**encoding(arguments.runs), **emitting(arguments.runs)}
    with tempfile.TemporaryDirectory(prefix="flowspan-", dir=_short_folder()) as folder:
        config = Config(home=Path(folder))
        ensure_local_service(config)
        try:
            figures |= acked(config, arguments.runs)
            figures |= process(folder, arguments.runs)
        finally:
            _end_service(Path(folder))
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:58} {value:12,.2f}")


def encoding(runs: int) -> dict[str, float]:
    """Measure the encoding of one event: by hand, by new messages and by a reused message."""
    created, running, log = (
        _created("task", flow_id=_id()),
        _entered(_id(), RUNNING, "Running"),
        _log(_id()),
    )
    encoder = Encoder()
    shapes: list[tuple[str, Callable[[Event], Any], Any, Event]] = [
        ("created", encoder.created, _upb_created, created),
        ("state", encoder.state, _upb_state, running),
        ("log", lambda event: list(encoder.log(event)), _upb_log, log),
    ]
    figures = {}
    for name, by_hand, generated, event in shapes:
        reused = report_pb2.Event()
        for way, call in (
            ("by hand", lambda f=by_hand, e=event: f(e)),
            ("generated classes", lambda f=generated, e=event: f(e, report_pb2.Event())),
            ("a reused message", lambda f=generated, e=event, m=reused: f(e, m)),
        ):
            figures[f"encode: {name}, {way} (µs)"] = _each_us(call, runs)
    return figures


def emitting(runs: int) -> dict[str, float]:
    """Measure one event for the caller, and a task of three events for the reporter's thread."""
    emit_us: list[float] = []
    build_us: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(runs):
        reporter = Reporter(Config(home=Path("/nowhere")))
        # Pretend that the thread is busy, so that only the caller's cost is measured.
        reporter._loop = type("Busy", (), {"idle": False, "is_current": True})()  # type: ignore[assignment] # noqa: SLF001 - no thread wanted
        event = _entered(_id(), RUNNING, "Running")
        emit = reporter.emit
        start = time.thread_time()
        for _ in range(COUNT):
            emit(event)
        emit_us.append((time.thread_time() - start) / COUNT * 1e6)
        for joins, times in build_us.items():
            times.append(_built_us(joins=joins))
    return {
        "emit, caller's side (µs)": statistics.median(emit_us),
        "build, reporter's side, a task of three events (µs)": statistics.median(build_us[False]),
        "build, reporter's side, the same as one event (µs)": statistics.median(build_us[True]),
    }


def _built_us(*, joins: bool) -> float:
    """Return the time to build the batches of tasks, for each task."""
    intake = Intake()
    for number in range(COUNT // 3):
        intake.states.extend(_task(number, "flow"))
    builder = Builder(intake, lambda event, error: None)
    start = time.thread_time()
    after = 0
    while builder:
        batch, _ = builder.build(after, joins=joins)
        after = batch.last if batch is not None else after
    return (time.thread_time() - start) / (COUNT // 3) * 1e6


def acked(config: Config, runs: int) -> dict[str, float]:
    """Measure the round trip to the service's disk."""
    reporter = Reporter(config)
    start = time.perf_counter()
    assert reporter.wait_welcome(30) is not None
    figures = {"connect: first event to welcome (ms)": (time.perf_counter() - start) * 1e3}
    flows = []
    for _ in range(20 * runs):
        start = time.perf_counter()
        _emit_flow(reporter, task_count=1)
        assert reporter.flush(30).acked
        flows.append((time.perf_counter() - start) * 1e3)
    figures["flow of one task, emitted and acked, median (ms)"] = statistics.median(flows)
    figures["flow of one task, emitted and acked, 95 % (ms)"] = sorted(flows)[
        len(flows) * 95 // 100
    ]
    big = []
    for _ in range(runs):
        start = time.perf_counter()
        _emit_flow(reporter, task_count=10_000)
        assert reporter.flush(60).acked
        big.append(time.perf_counter() - start)
    figures["10,000 tasks, emitted and acked (s)"] = statistics.median(big)
    figures["transitions acked in a second"] = 30_000 / statistics.median(big)
    start = time.perf_counter()
    reporter.close()
    figures["goodbye and close (ms)"] = (time.perf_counter() - start) * 1e3
    return figures


def process(home: str, runs: int) -> dict[str, float]:
    """Measure a process that emits a flow of one task, and one that does nothing."""
    code = "from benchmarks.reporter_cost import *; reporter_in_a_process()"
    bare, reporting = [], []
    for _ in range(runs):
        for program, times in (("pass", bare), (code, reporting)):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", program],
                check=True,
                cwd=Path(__file__).parents[1],
                env={"FLOWSPAN_HOME": home, "PATH": "/usr/bin:/bin"},
            )
            times.append((time.perf_counter() - start) * 1e3)
    return {
        "process that does nothing (ms)": statistics.median(bare),
        "process that reports a flow, acked (ms)": statistics.median(reporting),
    }


def reporter_in_a_process() -> None:
    _emit_flow(get_reporter(), task_count=1)
    assert get_reporter().flush(30).acked


def _emit_flow(reporter: Reporter, *, task_count: int) -> None:
    flow = _created("flow")
    flow_id = flow[1].id
    emit = reporter.emit
    emit(flow)
    emit(_entered(flow_id, RUNNING, "Running"))
    for number in range(task_count):
        for event in _task(number, flow_id):
            emit(event)
    emit(_entered(flow_id, COMPLETED, "Completed"))


def _task(number: int, flow_id: str) -> tuple[Event, ...]:
    created = _created("task", flow_id=flow_id, number=number)
    run_id = created[1].id
    return created, _entered(run_id, RUNNING, "Running"), _entered(run_id, COMPLETED, "Completed")


def _id() -> str:
    return new_id()


def _created(kind: str, *, flow_id: str | None = None, number: int = 0) -> Event:
    run_id = _id()
    record = RunRecord(
        run_id,
        is_flow=kind == "flow",
        function_name="census",
        run_name=f"census-{number}",
        parent_run_id=flow_id,
        root_run_id=flow_id or run_id,
        flow_run_id=flow_id or run_id,
    )
    return (CREATED, record, "Pending", time.time_ns())


def _entered(run_id: str, state_type: int, name: str) -> Event:
    return (STATE, run_id, 1, state_type, name, "", time.time_ns(), None, None)


def _log(run_id: str) -> Event:
    return (
        LOG,
        run_id,
        1,
        20,
        time.time_ns(),
        "flowspan.runs",
        "a log line of typical length",
        "",
        "",
    )


def _upb_created(event: Event, message: report_pb2.Event) -> bytes:
    _, run, name, time_ns = event
    created = message.run_created
    created.run_id = run.id
    created.kind = 1 if run.is_flow else 2
    created.function_name = run.function_name
    created.run_name = run.run_name
    created.parent_run_id = run.parent_run_id
    created.root_run_id = run.root_run_id
    created.flow_run_id = run.flow_run_id
    created.state.type = state_pb2.STATE_TYPE_PENDING
    created.state.name = name
    created.state.time.seconds, created.state.time.nanos = divmod(time_ns, 1_000_000_000)
    return message.SerializeToString()


def _upb_state(event: Event, message: report_pb2.Event) -> bytes:
    _, run_id, attempt, state_type, name, _, time_ns, _, _ = event
    entered = message.state_entered
    entered.run_id = run_id
    entered.attempt = attempt
    entered.state.type = state_type
    entered.state.name = name
    entered.state.time.seconds, entered.state.time.nanos = divmod(time_ns, 1_000_000_000)
    return message.SerializeToString()


def _upb_log(event: Event, message: report_pb2.Event) -> bytes:
    _, run_id, attempt, level, time_ns, logger, text, _, _ = event
    record = message.log
    record.run_id = run_id
    record.attempt = attempt
    record.level = level
    record.logger = logger
    record.message = text
    record.time.seconds, record.time.nanos = divmod(time_ns, 1_000_000_000)
    return message.SerializeToString()


def _each_us(call: Callable[[], Any], runs: int) -> float:
    """Return the CPU time of a call: the minimum, which other load on the machine affects least."""
    times = []
    for _ in range(runs):
        start = time.thread_time()
        for _ in range(COUNT):
            call()
        times.append((time.thread_time() - start) / COUNT * 1e6)
    return min(times)


def _short_folder() -> str | None:
    """Return a folder with a short path, as Unix sockets require."""
    return "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - used with TemporaryDirectory


def _end_service(home: Path) -> None:
    info = published(home)
    if info is not None:
        os.kill(info["pid"], signal.SIGTERM)
        while (home / "service.json").exists():
            time.sleep(0.05)


if __name__ == "__main__":
    main()
