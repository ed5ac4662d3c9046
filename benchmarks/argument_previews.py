"""Cost of the previews of task arguments: CPU time for each task run, in the caller's thread.

    python -m benchmarks.argument_previews

For the whole way to the disk, compare the mapped tasks with and without previews:

    python -m benchmarks.workloads.mapped_tasks
    FLOWSPAN_TASK_PARAMETERS_PREVIEW=false python -m benchmarks.workloads.mapped_tasks
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from flowspan import task
from flowspan.config import DEFAULT_PREVIEW_BYTES
from flowspan.core.events import CREATED, RunRecord
from flowspan.drivers.calls.run_inputs import preview_of
from flowspan.reporter.encoding.events import Encoder

RUN_ID = "0190a8a0-0000-7000-8000-000000000001"
ROUNDS = 7
ROW = {"id": 17, "name": "a file", "path": "s3://lake/2026/01/rows.parquet", "ok": True}


@dataclass
class Row:
    number: int
    name: str


@task
def step(row: Any, source: str = "", *, attempts: int = 3) -> None:
    del row, source, attempts


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "a number": ((17,), {}),
    "a number, a text and a keyword": ((17, "s3://lake/2026/01/02"), {"attempts": 3}),
    "a dictionary of four": ((ROW,), {}),
    "a dataclass": ((Row(17, "a file"),), {}),
    "an object of an unknown class": ((object(),), {}),
    "a list of a million numbers": ((list(range(1_000_000)),), {}),
    "a text of ten megabytes": (("x" * 10_000_000,), {}),
}


def main() -> None:
    for name, (args, kwargs) in CALLS.items():
        us = _each_us(lambda a=args, k=kwargs: preview_of(step, a, k, DEFAULT_PREVIEW_BYTES))
        print(f"preview: {name:40} {us:8.2f} µs")
    encoder = Encoder()
    for name, fields in {
        "without details": {},
        "with the details of its task": {"details": step.details},
        "with details and a preview": {"details": step.details, "parameters": b'{"row":17}'},
    }.items():
        event = CREATED, _record(**fields), "Pending", time.time_ns()
        us = _each_us(lambda e=event: encoder.created(e))
        print(f"encode a created run: {name:27} {us:8.2f} µs")


def _record(**fields: Any) -> RunRecord:
    return RunRecord(
        RUN_ID,
        is_flow=False,
        function_name="step",
        run_name="step-17",
        parent_run_id=RUN_ID,
        root_run_id=RUN_ID,
        flow_run_id=RUN_ID,
        **fields,
    )


def _each_us(call: Any, count: int = 5_000) -> float:
    """Return the CPU time of a call in microseconds, the minimum of several rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(count):
            call()
        times.append((time.process_time() - start) / count * 1e6)
    return min(times)


if __name__ == "__main__":
    main()
