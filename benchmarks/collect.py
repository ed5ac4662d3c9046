"""Run the workloads, each in a fresh process, and collect their figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.counting import completed_runs
from benchmarks.environment import clean_environment
from benchmarks.memory import resident_bytes, watch_peak
from benchmarks.service import running_service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.figures import Results
    from benchmarks.service import Service

ROOT = Path(__file__).resolve().parent.parent
WORKLOAD_TIMEOUT_S = 300.0
# Delay after the start of a service before its memory is read.
IDLE_S = 3.0
LISTED_RUNS = 1_000_000
INGEST_TASKS = 100_000
# Distance between the states of a run in the harder half of the load, in batches of 1000
# events.
INGEST_SPREAD = 3


class WorkloadError(Exception):
    """A workload produced no figures; the message has the reason."""


@dataclass(frozen=True)
class Workload:
    """A module of benchmarks.workloads, and the rows that its figures belong to.

    Attributes:
        module: The name of the module.
        rows: The name of the figure and its factor, by row.
        count: The number of operations of a full run.
        quick_count: The number of operations of a trial run.
        needs_own_service: True if it stores so much that it would slow down other workloads, or
            needs other settings.
        http_port: The HTTP port of its own service, or off.
    """

    module: str
    rows: dict[str, tuple[str, float]]
    count: int
    quick_count: int
    needs_own_service: bool = False
    http_port: str = "off"


WORKLOADS = (
    Workload("sequential_tasks", {"task": ("task", 1)}, 10_000, 1_000),
    Workload("traced_tasks", {"traced-task": ("task", 1)}, 10_000, 1_000),
    Workload(
        "mapped_tasks", {"mapped": ("task", 10_000), "visible": ("visible", 1)}, 10_000, 1_000
    ),
    Workload("subflows", {"subflow": ("subflow", 1)}, 1_000, 100),
    Workload("top_level_flows", {"flow": ("flow", 1)}, 200, 30),
    Workload(
        "reads",
        {
            "get": ("get, 1 caller", 1),
            "get-32": ("get, 32 callers", 1),
            "page": ("page, 1 caller", 1),
            "page-32": ("page, 32 callers", 1),
        },
        3_000,
        300,
    ),
    Workload(
        "watches",
        {
            "watch": ("1, p50", 1),
            "watch-p95": ("1, p95", 1),
            "watch-50": ("50, p50", 1),
            "watch-50-p95": ("50, p95", 1),
            "watch-idle": ("idle", 1),
        },
        100,
        20,
        needs_own_service=True,
    ),
    Workload(
        "transports",
        {
            "list-grpc": ("grpc", 1),
            "list-grpc-cpu": ("grpc, CPU", 1),
            "list-connect": ("connect", 1),
            "list-connect-cpu": ("connect, CPU", 1),
            "list-json": ("json", 1),
            "list-json-cpu": ("json, CPU", 1),
        },
        2_000,
        200,
        needs_own_service=True,
        http_port="0",
    ),
)


class Collector:
    """Measures with one kind of database.

    Args:
        results: Receives the figures.
        database: The name of the database.
        new_database: Returns a context manager for an empty database; it yields the URL.
        rows: The rows to measure.
        quick: True to use small numbers.
    """

    def __init__(
        self,
        results: Results,
        database: str,
        new_database: Callable[[], AbstractContextManager[str | None]],
        rows: Sequence[str],
        *,
        quick: bool,
    ) -> None:
        self._results = results
        self.database = database
        self._new_database = new_database
        self._rows = set(rows)
        self._quick = quick

    def measure_round(self, round_number: int) -> None:
        """Run one round of the measurements.

        The order of the workloads rotates from round to round, so that none always runs on the
        fresh database or after the heaviest workload.
        """
        every = [w for w in WORKLOADS if self._rows & w.rows.keys()]
        wanted = [w for w in every if not w.needs_own_service]
        shift = round_number % len(wanted) if wanted else 0
        if wanted or "hello" in self._rows:
            with self._new_database() as url, running_service(url) as service:
                for workload in wanted[shift:] + wanted[:shift]:
                    self._measure(workload, service)
                if "hello" in self._rows:
                    self._attempt(("hello",), lambda: self._hello(service))
        for workload in every:
            if workload.needs_own_service:
                with (
                    self._new_database() as url,
                    running_service(url, http_port=workload.http_port) as service,
                ):
                    self._measure(workload, service)
        if "memory-idle-http" in self._rows:
            self._attempt(("memory-idle-http",), self._idle_with_http)
        if self._rows & {"start", "memory-idle", "ingest", "memory-ingest"}:
            self._attempt(("start", "memory-idle", "ingest", "memory-ingest"), self._service)

    def measure_listing(self) -> None:
        """Measure listing once: it fills a database with a million runs, then reads pages."""
        if "listing" in self._rows:
            self._attempt(("listing",), self._listing)

    def _attempt(self, rows: Sequence[str], measure: Callable[[], None]) -> None:
        try:
            measure()
        except (WorkloadError, RuntimeError, OSError, grpc.RpcError) as error:
            for row in self._rows.intersection(rows):
                self._results.void(row, self.database, str(error))

    def _measure(self, workload: Workload, service: Service) -> None:
        def measure() -> None:
            count = workload.quick_count if self._quick else workload.count
            outcome = run_workload(workload.module, "--count", str(count), address=service.address)
            if outcome["void"]:
                raise WorkloadError(outcome["void"])
            figures = {**outcome["notes"], **outcome["figures"]}
            for row, (name, factor) in workload.rows.items():
                if row in self._rows:
                    self._results.add(row, self.database, figures.pop(name) * factor)
            for name, value in figures.items():
                self._results.note(f"{self.database}, {workload.module}: {name}", value)

        self._attempt(tuple(workload.rows), measure)

    def _hello(self, service: Service) -> None:
        script = str(ROOT / "benchmarks" / "workloads" / "hello.py")
        began_at_s = time.time()
        began = time.perf_counter()
        run_process([sys.executable, script], address=service.address)
        taken_s = time.perf_counter() - began
        with grpc.insecure_channel(service.address) as channel:
            seen = completed_runs(channel, since_s=began_at_s)
        if seen != (1, 2):
            raise WorkloadError(f"expected (1, 2) Completed (flow runs, task runs), got {seen}")
        self._results.add("hello", self.database, taken_s)

    def _service(self) -> None:
        with self._new_database() as url, running_service(url) as service:
            self._add("start", service.ready_s)
            if self._rows & {"memory-idle"}:
                time.sleep(IDLE_S)
                self._add("memory-idle", resident_bytes(service.process_id))
            if self._rows & {"ingest", "memory-ingest"}:
                self._ingest(service)

    def _idle_with_http(self) -> None:
        with (
            self._new_database() as url,
            running_service(url, http_port="0") as service,
        ):
            time.sleep(IDLE_S)
            self._add("memory-idle-http", resident_bytes(service.process_id))

    def _listing(self) -> None:
        runs = LISTED_RUNS // 20 if self._quick else LISTED_RUNS
        with self._new_database() as server_url, tempfile.TemporaryDirectory() as folder:
            url = server_url or f"sqlite:///{Path(folder) / 'flowspan.db'}"
            fill = [sys.executable, "-m", "benchmarks.listing", "--json", "--db", url]
            fill += ["--runs", str(runs), "--pages", "100"]
            filled = json.loads(run_process(fill).splitlines()[-1])
            for listed in filled["lists"]:
                name = f"{self.database}, listing, store alone: {listed['filter']}, p99"
                self._results.note(name, listed["p99_ms"] / 1000)
            with running_service(url) as service:
                outcome = run_workload("list_pages", address=service.address)
                self._add("listing", outcome["figures"]["page"])
                for name, value in outcome["notes"].items():
                    self._results.note(f"{self.database}, list_pages: {name}", value)

    def _add(self, row: str, value: float) -> None:
        if row in self._rows:
            self._results.add(row, self.database, value)

    def _ingest(self, service: Service) -> None:
        """Measure ingest and peak memory, with runs written once and with runs updated later."""
        tasks = INGEST_TASKS // 10 if self._quick else INGEST_TASKS
        rates = {}
        with watch_peak(service.process_id) as peak:
            for spread in (0, INGEST_SPREAD):
                command = [sys.executable, "-m", "benchmarks.service_ingest", "--json"]
                command += ["--address", service.address, "--rounds", "1"]
                command += ["--tasks", str(tasks), "--spread", str(spread)]
                printed = run_process(command).splitlines()[-1]
                rates[spread] = json.loads(printed)["transitions_per_s"]
        self._add("ingest", rates[0])
        self._add("memory-ingest", peak.size_bytes)
        self._results.note(
            f"{self.database}, service_ingest: transitions/s, {INGEST_SPREAD} batches apart",
            rates[INGEST_SPREAD],
        )


def run_workload(module: str, *arguments: str, address: str | None = None) -> dict:
    """Run a workload in a fresh process and home; return its outcome.

    Raises:
        WorkloadError: The workload failed.
    """
    command = [sys.executable, "-m", f"benchmarks.workloads.{module}", "--json", *arguments]
    return json.loads(run_process(command, address=address).splitlines()[-1])


def run_process(command: Sequence[str], *, address: str | None = None) -> str:
    """Run a program with a fresh FLOWSPAN_HOME; return its output.

    Raises:
        WorkloadError: The program failed or timed out.
    """
    with tempfile.TemporaryDirectory(prefix="flowspan-bench-home-") as home:
        environment = clean_environment(FLOWSPAN_HOME=home)
        if address is not None:
            environment["FLOWSPAN_ADDRESS"] = address
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=environment,
                timeout=WORKLOAD_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise WorkloadError(f"timed out after {WORKLOAD_TIMEOUT_S} s: {command}") from error
    if done.returncode != 0:
        ending = (done.stdout + done.stderr)[-500:].strip()
        raise WorkloadError(f"{' '.join(command)} exited with code {done.returncode}: … {ending}")
    return done.stdout
