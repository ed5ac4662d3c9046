"""Ingest rate of the store in transitions per second, without gRPC and the rules.

Runs come in batches, as clients send them: each run is created PENDING, then enters RUNNING and
COMPLETED. `--spread N` sends a run's three events in batches that are N apart, so that they
rarely share a transaction and runs must be updated instead of written once.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowspan_service.domain.runs import Run, RunKind, TraceContext
from flowspan_service.domain.states import State, StateType
from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from flowspan_service.app.ports import Store, UnitOfWork

TRANSITIONS_PER_RUN = 3
BATCHES_IN_FLIGHT = 64


class SystemClock:
    """The system clock."""

    def now_us(self) -> int:
        """Return the wall-clock time; see flowspan_service.app.ports.Clock."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """Return the monotonic time; see flowspan_service.app.ports.Clock."""
        return time.monotonic_ns() // 1000


class IdMaker:
    """Generator of ascending UUIDv7 ids."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        """Return the next id."""
        self._count += 1
        digits = f"{time.time_ns() // 1_000_000:012x}7{self._count:019x}"
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class Batch:
    """An operation that applies a client's batch to the store."""

    def __init__(self, events: list[tuple[int, str]], flow_run_id: str, session_id: str) -> None:
        self.run_ids = [run_id for _, run_id in events]
        self.weight = len(events)
        self._events = events
        self._flow_run_id = flow_run_id
        self._session_id = session_id

    def __call__(self, uow: UnitOfWork) -> None:
        """Apply the events."""
        now_us = uow.now_us
        for state_type, run_id in self._events:
            run = uow.runs.get(run_id)
            if run is None:
                uow.runs.add(self._new_run(run_id, now_us))
                continue
            if state_type == StateType.RUNNING:
                run.state = State(StateType.RUNNING, "Running", "", now_us)
                run.started_us = now_us
            else:
                run.state = State(StateType.COMPLETED, "Completed", "", now_us)
                run.ended_us = now_us
            run.transition_count += 1
            uow.runs.add_transition(run)

    def _new_run(self, run_id: str, now_us: int) -> Run:
        return Run(
            id=run_id,
            kind=RunKind.TASK,
            function_name="parse_file",
            run_name="parse_file-123",
            parent_run_id=self._flow_run_id,
            root_run_id=self._flow_run_id,
            flow_run_id=self._flow_run_id,
            tags=(),
            parameters=None,
            trace=TraceContext(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "", "00f067aa0ba902b7"
            ),
            version="",
            created_us=now_us,
            state=State(StateType.PENDING, "Pending", "", now_us),
            session_id=self._session_id,
        )


def make_batches(runs: int, batch_events: int, spread: int) -> Iterator[Batch]:
    """Yield the batches in order; a run's events are `spread` batches apart."""
    new_id = IdMaker()
    flow_run_id, session_id = new_id(), new_id()
    waiting: deque[list[tuple[int, str]]] = deque([] for _ in range(2 * spread + 1))
    per_batch = max(1, batch_events // TRANSITIONS_PER_RUN)
    made = 0
    while made < runs or any(waiting):
        for _ in range(min(per_batch, runs - made)):
            run_id = new_id()
            waiting[0].append((StateType.PENDING, run_id))
            waiting[spread].append((StateType.RUNNING, run_id))
            waiting[2 * spread].append((StateType.COMPLETED, run_id))
            made += 1
        events = waiting.popleft()
        waiting.append([])
        if events:
            yield Batch(events, flow_run_id, session_id)


def ingest(store: Store, batches: list[Batch]) -> float:
    """Submit the batches, some in flight at a time; return the seconds until all are committed."""
    in_flight: deque[Future[Any]] = deque()
    start = time.perf_counter()
    for batch in batches:
        in_flight.append(store.submit(batch))
        if len(in_flight) >= BATCHES_IN_FLIGHT:
            in_flight.popleft().result()
    for future in in_flight:
        future.result()
    return time.perf_counter() - start


def measure(url: str, *, runs: int, batch_events: int, spread: int, repeat: int) -> dict[str, Any]:
    """Open the store and measure; the rate is the median of the repetitions."""
    # As in the service's main: reference counting frees most objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    store = open_store(url, clock=SystemClock())
    try:
        rates = []
        for _ in range(repeat):
            batches = list(make_batches(runs, batch_events, spread))
            rates.append(runs * TRANSITIONS_PER_RUN / ingest(store, batches))
    finally:
        store.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "benchmark": "store_ingest",
        "database": url.partition(":")[0],
        "batch_events": batch_events,
        "spread": spread,
        "transitions_per_s": round(statistics.median(rates)),
        "all": [round(rate) for rate in rates],
        "peak_rss_mib": peak >> (20 if sys.platform == "darwin" else 10),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", help="URL of an empty database (default: a temporary SQLite file)")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--batch-events", type=int, default=1000)
    parser.add_argument("--spread", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.db or f"sqlite:///{Path(folder) / 'flowspan.db'}"
        result = measure(
            url,
            runs=arguments.runs,
            batch_events=arguments.batch_events,
            spread=arguments.spread,
            repeat=arguments.repeat,
        )
    if arguments.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.write(
            f"{result['database']}: {result['transitions_per_s']:,} transitions/s"
            f" (of {', '.join(f'{rate:,}' for rate in result['all'])}),"
            f" batches of {result['batch_events']}, spread {result['spread']},"
            f" peak {result['peak_rss_mib']} MiB\n"
        )


if __name__ == "__main__":
    main()
