"""The names, types, units and attributes of all figures.

docs/metrics.md repeats them, and a test compares the two. Names and units are those of
OpenTelemetry. The name for Prometheus follows from them by OpenTelemetry's own rule, so a figure
has one name whichever way it takes.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

_UNIT_SUFFIXES = {"s": "seconds", "By": "bytes"}


class FamilyType(Enum):
    """The types of figures."""

    COUNTER = "counter"
    """A sum since the start of the process that never falls."""
    GAUGE = "gauge"
    """A current value."""
    HISTOGRAM = "histogram"
    """The distribution of values since the start of the process."""
    INFO = "info"
    """Facts as attributes; the value is 1."""


class Family(NamedTuple):
    """A figure, with one value for each combination of its attributes."""

    name: str
    """The name in OpenTelemetry: "flowspan.commit.duration"."""
    type: FamilyType
    unit: str
    """The unit in UCUM: "s", "By", or an annotation such as "{run}"; empty for none."""
    help: str
    """The meaning, in one sentence."""
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """The upper bounds of the buckets of a histogram, ascending."""

    @property
    def prometheus_unit(self) -> str:
        """The unit in the name for Prometheus; empty for none."""
        return _UNIT_SUFFIXES.get(self.unit, "")

    @property
    def prometheus_name(self) -> str:
        """The name for Prometheus, without the suffix "_total" of counters."""
        name, unit = self.name.replace(".", "_"), self.prometheus_unit
        return f"{name}_{unit}" if unit else name


RUN_SECONDS = (
    *(0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    *(300.0, 900.0, 3_600.0, 14_400.0, 86_400.0),
)
WAIT_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0)
COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
GROUP_SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0)
TRANSITION_COUNTS = (0.0, 1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 20_000.0)

_COUNTER, _GAUGE, _HISTOGRAM = FamilyType.COUNTER, FamilyType.GAUGE, FamilyType.HISTOGRAM

INFO = Family("flowspan", FamilyType.INFO, "", "The service.", ("version", "database"))
START_TIME = Family(
    "flowspan.start_time", _GAUGE, "s", "The start of the service, in seconds since 1970."
)

FLOW_RUNS_ENDED = Family(
    "flowspan.flow_runs.ended",
    _COUNTER,
    "{run}",
    "Flow runs that entered a terminal state.",
    ("flow", "state"),
)
TASK_RUNS_ENDED = Family(
    "flowspan.task_runs.ended",
    _COUNTER,
    "{run}",
    "Task runs that entered a terminal state.",
    ("state",),
)
FLOW_RUN_DURATION = Family(
    "flowspan.flow_run.duration",
    _HISTOGRAM,
    "s",
    "The time that the code of ended flow runs ran, all attempts together.",
    ("flow",),
    RUN_SECONDS,
)
TASK_RUN_DURATION = Family(
    "flowspan.task_run.duration",
    _HISTOGRAM,
    "s",
    "The time that the code of ended task runs ran, all attempts together.",
    (),
    RUN_SECONDS,
)
FLOW_RUN_QUEUE_WAIT = Family(
    "flowspan.flow_run.queue_wait",
    _HISTOGRAM,
    "s",
    "The time from the creation of ended flow runs until their code began.",
    ("flow",),
    WAIT_SECONDS,
)
TASK_RUN_QUEUE_WAIT = Family(
    "flowspan.task_run.queue_wait",
    _HISTOGRAM,
    "s",
    "The time from the creation of ended task runs until their code began.",
    (),
    WAIT_SECONDS,
)
OPEN_RUNS = Family(
    "flowspan.open_runs",
    _GAUGE,
    "{run}",
    "Runs in the database that have not ended.",
    ("kind", "state"),
)

SESSIONS = Family("flowspan.sessions", _GAUGE, "{session}", "Connected sessions.")
WATCHERS = Family("flowspan.watchers", _GAUGE, "{stream}", "Streams of Watch.")
OPEN_CALLS = Family("flowspan.open_calls", _GAUGE, "{call}", "Calls and streams in progress.")
OPEN_FILES = Family("flowspan.open_files", _GAUGE, "{file}", "Open files, as last counted.")
OPEN_FILES_LIMIT = Family("flowspan.open_files_limit", _GAUGE, "{file}", "The limit of open files.")
CALLS = Family(
    "flowspan.calls",
    _COUNTER,
    "{call}",
    "Calls that ended, over gRPC and HTTP, by method and code.",
    ("method", "code"),
)
CALL_SECONDS = Family(
    "flowspan.call", _COUNTER, "s", "Time that ended calls took, by method.", ("method",)
)

BATCHES = Family(
    "flowspan.batches",
    _COUNTER,
    "{batch}",
    "Batches of events that arrived, also those that were sent again.",
)
COMMITTED_TRANSITIONS = Family(
    "flowspan.committed_transitions",
    _COUNTER,
    "{transition}",
    "Transitions committed since the start.",
)
QUEUED_EVENTS = Family(
    "flowspan.queued_events", _GAUGE, "{event}", "Events to be stored, with their rows."
)
QUEUED_OPERATIONS = Family(
    "flowspan.queued_operations", _GAUGE, "{operation}", "Operations that wait for the writer."
)
QUEUED_BYTES = Family("flowspan.queued", _GAUGE, "By", "Reported bytes that wait for their commit.")
COMMIT_DURATION = Family(
    "flowspan.commit.duration",
    _HISTOGRAM,
    "s",
    "The time of a transaction, with its commit.",
    (),
    COMMIT_SECONDS,
)
COMMIT_WAIT = Family(
    "flowspan.commit.wait",
    _HISTOGRAM,
    "s",
    "The longest time that an operation of a transaction waited for its begin.",
    (),
    COMMIT_SECONDS,
)
COMMIT_OPERATIONS = Family(
    "flowspan.commit.operations",
    _HISTOGRAM,
    "{operation}",
    "The operations, such as batches, that a transaction committed together.",
    (),
    GROUP_SIZES,
)
COMMIT_TRANSITIONS = Family(
    "flowspan.commit.transitions",
    _HISTOGRAM,
    "{transition}",
    "The transitions that a transaction committed together.",
    (),
    TRANSITION_COUNTS,
)
LONGEST_WRITE = Family(
    "flowspan.longest_write", _GAUGE, "s", "The longest transaction since the start."
)
LONGEST_RECENT_WRITE = Family(
    "flowspan.longest_recent_write", _GAUGE, "s", "The longest transaction of the last minute."
)

DATABASE_PROBLEM = Family(
    "flowspan.database_problem", _GAUGE, "", "1 if the database cannot be used."
)
DATABASE_SIZE = Family("flowspan.database.size", _GAUGE, "By", "The size of the database.")
DATABASE_DISK_FREE = Family(
    "flowspan.database.disk_free",
    _GAUGE,
    "By",
    "Free space on the disk of the database (SQLite only).",
)
SPANS_WAITING = Family(
    "flowspan.spans_waiting",
    _GAUGE,
    "{run}",
    "Ended runs whose spans wait for their receiver, as far as this process knows.",
)

FAMILIES = (
    *(INFO, START_TIME),
    *(FLOW_RUNS_ENDED, TASK_RUNS_ENDED, FLOW_RUN_DURATION, TASK_RUN_DURATION),
    *(FLOW_RUN_QUEUE_WAIT, TASK_RUN_QUEUE_WAIT, OPEN_RUNS),
    *(SESSIONS, WATCHERS, OPEN_CALLS, OPEN_FILES, OPEN_FILES_LIMIT, CALLS, CALL_SECONDS),
    *(BATCHES, COMMITTED_TRANSITIONS, QUEUED_EVENTS, QUEUED_OPERATIONS, QUEUED_BYTES),
    *(COMMIT_DURATION, COMMIT_WAIT, COMMIT_OPERATIONS, COMMIT_TRANSITIONS),
    *(LONGEST_WRITE, LONGEST_RECENT_WRITE),
    *(DATABASE_PROBLEM, DATABASE_SIZE, DATABASE_DISK_FREE, SPANS_WAITING),
)
"""All figures, in the order in which they are shown."""
