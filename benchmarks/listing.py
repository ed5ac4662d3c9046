"""Time to list a page of 100 among a million task runs, at any place, with common filters.

The database is filled first, unless it holds runs already. Half of the task runs belong to one
flow run, the rest to others of different sizes, some nested. Then pages are read at random
places, each timed separately.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.store_ingest import IdMaker, SystemClock
from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import DEFAULT_NAMES, State, StateType
from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from flowspan_service.app.ports import Store, UnitOfWork

BATCH = 2000
PAGE = 100
FLOW_RUNS = 200
STATES = (StateType.COMPLETED,) * 90 + (StateType.FAILED,) * 6 + (StateType.RUNNING,) * 4


class AddRuns:
    """An operation that adds runs."""

    run_ids: tuple[str, ...] = ()

    def __init__(self, runs: list[Run]) -> None:
        self.weight = len(runs)
        self._runs = runs

    def __call__(self, uow: UnitOfWork) -> None:
        """Add the runs."""
        for run in self._runs:
            uow.runs.add(run)


def make_runs(count: int, chance: random.Random) -> Iterator[Run]:
    """Yield flow runs and their task runs, in order of id."""
    new_id = IdMaker()
    now_us = SystemClock().now_us()

    def make(kind: RunKind, parent: Run | None) -> Run:
        run_id = new_id()
        state_type = chance.choice(STATES)
        flow_run_id = None
        if kind == RunKind.TASK and parent is not None:
            flow_run_id = parent.id if parent.kind == RunKind.FLOW else parent.flow_run_id
        return Run(
            id=run_id,
            kind=kind,
            function_name=f"{kind.name.lower()}-{chance.randrange(20)}",
            run_name="parse-123",
            parent_run_id=parent.id if parent else None,
            root_run_id=parent.root_run_id if parent else run_id,
            flow_run_id=flow_run_id,
            tags=("nightly",) if chance.random() < 0.01 else (),
            parameters=None,
            trace=None,
            version="",
            created_us=now_us,
            state=State(state_type, DEFAULT_NAMES[state_type], "", now_us),
        )

    flows: list[Run] = []
    for _ in range(FLOW_RUNS):
        parent = chance.choice(flows) if flows and chance.random() < 0.3 else None
        flows.append(make(RunKind.FLOW, parent))
        yield flows[-1]
    last: Run | None = None
    for _ in range(count):
        parent = flows[0] if chance.random() < 0.5 else chance.choice(flows)
        if last is not None and chance.random() < 0.05:
            parent = last
        last = make(RunKind.TASK, parent)
        yield last


def fill(store: Store, count: int) -> None:
    """Add the runs, unless the store has some."""
    if store.position() > 0:
        return
    chance = random.Random(1)
    in_flight: deque[Future[Any]] = deque()
    batch: list[Run] = []
    for run in make_runs(count, chance):
        batch.append(run)
        if len(batch) == BATCH:
            in_flight.append(store.submit(AddRuns(batch)))
            batch = []
            if len(in_flight) > 20:
                in_flight.popleft().result()
    in_flight.append(store.submit(AddRuns(batch)))
    for future in in_flight:
        future.result()


def filters(store: Store) -> dict[str, Callable[[Run], RunFilter]]:
    """Filters by name; each made for the run at which the page begins."""
    flows = store.runs.list(RunQuery(RunKind.FLOW, oldest_first=True, limit=1)).items
    biggest = flows[0].id
    return {
        "none": lambda _: RunFilter(),
        "state COMPLETED": lambda _: RunFilter(state_types=(StateType.COMPLETED,)),
        "state FAILED": lambda _: RunFilter(state_types=(StateType.FAILED,)),
        "states RUNNING, FAILED": lambda _: RunFilter(
            state_types=(StateType.RUNNING, StateType.FAILED)
        ),
        "state PENDING (none is)": lambda _: RunFilter(state_types=(StateType.PENDING,)),
        "task name": lambda run: RunFilter(function_names=(run.function_name,)),
        "biggest flow run": lambda _: RunFilter(flow_run_id=biggest),
        "biggest flow run, FAILED": lambda _: RunFilter(
            flow_run_id=biggest, state_types=(StateType.FAILED,)
        ),
        "biggest root": lambda _: RunFilter(root_run_id=biggest),
        "biggest root, FAILED": lambda _: RunFilter(
            root_run_id=biggest, state_types=(StateType.FAILED,)
        ),
        "its flow run": lambda run: RunFilter(flow_run_id=run.flow_run_id),
        "its root, PENDING (none is)": lambda run: RunFilter(
            root_run_id=run.root_run_id, state_types=(StateType.PENDING,)
        ),
        "parent": lambda run: RunFilter(parent_run_id=run.parent_run_id),
        "tag": lambda _: RunFilter(tags=("nightly",)),
    }


def sample(store: Store, count: int, chance: random.Random) -> list[Run]:
    """Task runs from anywhere: the first after a random id between the oldest and the newest."""
    oldest = store.runs.list(RunQuery(RunKind.TASK, oldest_first=True, limit=1)).items[0].id
    newest = store.runs.list(RunQuery(RunKind.TASK, limit=1)).items[0].id
    low, high = (int(one.replace("-", ""), 16) for one in (oldest, newest))
    runs: list[Run] = []
    for _ in range(count):
        digits = f"{chance.randrange(low, high):032x}"
        start = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        query = RunQuery(RunKind.TASK, oldest_first=True, after_id=start, limit=1)
        runs += store.runs.list(query).items
    return runs


def measure(store: Store, pages: int) -> list[dict[str, Any]]:
    """Time pages; return one figure per filter."""
    chance = random.Random(2)
    places = sample(store, pages, chance)
    results = []
    for name, make_filter in filters(store).items():
        times_ms = []
        listed = 0
        for run in places:
            query = RunQuery(
                RunKind.TASK,
                make_filter(run),
                oldest_first=chance.random() < 0.5,
                after_id=run.id,
                limit=PAGE,
            )
            start = time.perf_counter()
            page = store.runs.list(query)
            times_ms.append((time.perf_counter() - start) * 1000)
            listed += len(page.items)
        times_ms.sort()
        results.append(
            {
                "filter": name,
                "p50_ms": round(times_ms[len(times_ms) // 2], 2),
                "p99_ms": round(times_ms[math.ceil(len(times_ms) * 0.99) - 1], 2),
                "max_ms": round(times_ms[-1], 2),
                "mean_page": round(listed / len(times_ms), 1),
            }
        )
    return results


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--db", help="database URL (default: a temporary SQLite file)")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.db or f"sqlite:///{Path(folder) / 'flowspan.db'}"
        store = open_store(url, clock=SystemClock())
        try:
            start = time.perf_counter()
            fill(store, arguments.runs)
            filled_s = time.perf_counter() - start
            results = measure(store, arguments.pages)
        finally:
            store.close()
    database = url.partition(":")[0]
    if arguments.json:
        answer = {"benchmark": "listing", "database": database, "lists": results}
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    sys.stdout.write(f"{database}, {arguments.runs:,} task runs (filled in {filled_s:.0f} s)\n")
    for result in results:
        sys.stdout.write(
            f"  {result['filter']:28} p50 {result['p50_ms']:6.2f} ms"
            f"   p99 {result['p99_ms']:6.2f} ms   max {result['max_ms']:6.2f} ms"
            f"   (mean page {result['mean_page']})\n"
        )


if __name__ == "__main__":
    main()
