"""A client process of the soak: random flows, and a journal of their progress.

`client.py SEED JOURNAL` runs flows until its standard input ends. The journal has a line of JSON
for each event, and survives any end of the process.

- begin: A run has begun; with its kind, its parent and its planned log messages.
- end: A run has ended in this state type, as its caller saw it.
- acked: The service has stored everything above this line.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import threading
import time
from typing import Any

from flowspan import flow, get_run_logger, runtime, task
from flowspan.reporter import get_reporter

FLUSH_S = 5.0


class PlannedError(Exception):
    """An intentional failure."""


class Journal:
    """Appends lines to a file, each in one write."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **line: Any) -> None:
        """Append a line."""
        os.write(self._file, json.dumps(line).encode() + b"\n")


seed, journal = int(sys.argv[1]), Journal(sys.argv[2])
chance = random.Random(seed)
is_over = threading.Event()


def begin(kind: str, log_count: int) -> None:
    """Record the start of a run, and emit its logs."""
    run = runtime.flow_run if kind == "flow" else runtime.task_run
    journal.write(what="begin", id=str(run.id), kind=kind, logs=log_count)
    logger = get_run_logger()
    for number in range(log_count):
        logger.info("line %d", number)


@task(retries=1)
def work(seconds: float, log_count: int, *, fails: bool = False) -> int:
    """Sleep briefly; fail if asked to."""
    begin("task", log_count)
    if seconds:
        time.sleep(seconds)
    if fails:
        raise PlannedError
    return log_count


@flow
def inner(plan: list[tuple[float, int, bool]]) -> int:
    """Call some tasks one after another."""
    begin("flow", 1)
    total = 0
    for seconds, log_count, fails in plan:
        state = work(seconds, log_count, fails=fails, return_state=True)
        note_end(state)
        total += state.is_completed()
    return total


@flow
def outer(plans: list[list[tuple[float, int, bool]]], mapped: int, *, fails: bool = False) -> int:
    """Call subflows, map a task, and fail if asked to."""
    begin("flow", 2)
    futures = work.map([0.0] * mapped, 0)
    for plan in plans:
        note_end(inner(plan, return_state=True))
    for future in futures:
        future.wait()
        note_end(future.state)
    if fails:
        raise PlannedError
    return mapped


def note_end(state: Any) -> None:
    """Record the end of a run."""
    journal.write(what="end", id=str(state.run_id), type=state.type.name)


def make_plan() -> list[tuple[float, int, bool]]:
    """Plan a subflow: the time, the log records and the failure of each task."""
    return [
        (chance.choice([0, 0, 0.01, 0.2]), chance.choice([0, 1, 5]), chance.random() < 0.1)
        for _ in range(chance.randint(0, 12))
    ]


def wait_for_the_end() -> None:
    """Return when standard input ends."""
    sys.stdin.read()
    is_over.set()


def main() -> None:
    """Run flows until standard input ends."""
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    logging.getLogger("flowspan").setLevel(logging.ERROR)
    while not is_over.is_set():
        plans = [make_plan() for _ in range(chance.randint(0, 4))]
        state = outer(plans, chance.randint(0, 30), fails=chance.random() < 0.1, return_state=True)
        note_end(state)
        if get_reporter().flush(FLUSH_S).acked:
            journal.write(what="acked")
        time.sleep(chance.choice([0, 0.05, 0.5]))


if __name__ == "__main__":
    main()
