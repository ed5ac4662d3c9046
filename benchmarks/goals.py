"""Rows of the table, with their goals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """Display unit of figures.

    Attributes:
        name: The suffix after the number.
        factor: The divisor of a figure in seconds, bytes or 1/s.
        digits: The number of decimal places.
    """

    name: str
    factor: float
    digits: int

    def show(self, figure: float) -> str:
        """Return a figure for people."""
        return f"{figure / self.factor:,.{self.digits}f}"


MICROSECONDS = Unit("µs", 1e-6, 0)
MILLISECONDS = Unit("ms", 1e-3, 2)
SECONDS = Unit("s", 1, 2)
MEGABYTES = Unit("MB", 1e6, 0)
PER_SECOND = Unit("/s", 1, 0)
PERCENT = Unit("%", 0.01, 1)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: The name for --only and programs.
        title: The title for people.
        unit: The display unit.
        goals: The goal by database, in seconds, bytes or 1/s; empty for no goal.
        more_is_better: True for rates.
        any_database: True if the row does not depend on a database and is measured once.
    """

    name: str
    title: str
    unit: Unit
    goals: dict[str, float]
    more_is_better: bool = False
    any_database: bool = False

    def ratio(self, database: str, figure: float) -> float | None:
        """Return figure over goal, at most 1 if the goal is reached; None without a goal."""
        goal = self.goals.get(database)
        if goal is None:
            return None
        return goal / figure if self.more_is_better else figure / goal


def _both(goal: float) -> dict[str, float]:
    return {"sqlite": goal, "postgresql": goal}


ROWS = (
    Row("task", "sequential no-op task, tracing off", MICROSECONDS, _both(80e-6)),
    Row("traced-task", "sequential no-op task, tracing on", MICROSECONDS, _both(130e-6)),
    Row("mapped", "10,000 mapped no-op tasks on threads", SECONDS, _both(1.5)),
    Row("subflow", "subflow", MILLISECONDS, _both(1e-3)),
    Row("flow", "top-level flow of one task", MILLISECONDS, _both(5e-3)),
    Row("visible", "states visible after a flow's return", MILLISECONDS, {}),
    Row("import", "`import flowspan`", SECONDS, _both(0.25), any_database=True),
    Row(
        "import-names",
        "`from flowspan import flow, task`",
        SECONDS,
        {},
        any_database=True,
    ),
    Row("hello", "a hello flow as a process, service running", SECONDS, _both(0.7)),
    Row("start", "service from start to ready", SECONDS, _both(0.4)),
    Row(
        "ingest",
        "service ingest, batched: transitions",
        PER_SECOND,
        {"sqlite": 100_000, "postgresql": 50_000},
        more_is_better=True,
    ),
    Row("get", "GetFlowRun, one caller: calls", PER_SECOND, _both(2000), more_is_better=True),
    Row("get-32", "GetFlowRun, 32 callers: calls", PER_SECOND, _both(2000), more_is_better=True),
    Row("page", "ListFlowRuns(100), one caller", PER_SECOND, _both(700), more_is_better=True),
    Row("page-32", "ListFlowRuns(100), 32 callers", PER_SECOND, _both(700), more_is_better=True),
    Row("list-grpc", "ListFlowRuns(10) over gRPC", MILLISECONDS, {}),
    Row("list-grpc-cpu", "the same, CPU time of the service", MILLISECONDS, {}),
    Row("list-connect", "ListFlowRuns(10) over Connect, binary", MILLISECONDS, {}),
    Row("list-connect-cpu", "the same, CPU time of the service", MILLISECONDS, {}),
    Row("list-json", "ListFlowRuns(10) over Connect, JSON", MILLISECONDS, {}),
    Row("list-json-cpu", "the same, CPU time of the service", MILLISECONDS, {}),
    Row("watch", "a state until it is seen, one watcher", MILLISECONDS, _both(8e-3)),
    Row("watch-p95", "the same, p95", MILLISECONDS, _both(20e-3)),
    Row("watch-50", "the same, 50 watchers of one tree", MILLISECONDS, _both(8e-3)),
    Row("watch-50-p95", "the same, p95", MILLISECONDS, _both(20e-3)),
    Row("watch-idle", "ingest that 50 watchers at rest cost", PERCENT, _both(0.05)),
    Row("listing", "a page among 1,000,000 task runs, p99", MILLISECONDS, _both(10e-3)),
    Row("memory-idle", "service memory, idle", MEGABYTES, _both(100e6)),
    Row("memory-idle-http", "service memory, idle, with HTTP", MEGABYTES, _both(100e6)),
    Row("memory-ingest", "service memory, peak under full ingest", MEGABYTES, _both(300e6)),
)


def row(name: str) -> Row:
    """Return the row of that name."""
    return next(row for row in ROWS if row.name == name)
