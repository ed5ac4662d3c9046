"""The compared engines, each set up as documented, in a temporary folder."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.memory import resident_bytes
from benchmarks.peers.environments import ROOT, bare_environment, last_json, python_of
from benchmarks.service import free_port, running_service, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRIPTS = Path(__file__).resolve().parent
_TIMEOUT_S = 300.0
_IDLE_S = 5.0
_FLOWSPAN_MODULES = {
    "task": "sequential_tasks",
    "mapped": "mapped_tasks",
    "subflow": "subflows",
    "flow": "top_level_flows",
    "fibonacci": "fibonacci",
}


@dataclass
class Engine:
    """An engine that is ready to be measured.

    Attributes:
        command: The command that runs a workload; the workload's name and --count are appended.
        hello: The command that runs the hello flow.
        imports: The command that imports what a flow needs.
        environment: The environment of all commands.
        figures: Figures of the server, measured before: start (s), memory (bytes).
    """

    command: list[str]
    hello: list[str]
    imports: list[str]
    environment: dict[str, str]
    figures: dict[str, float] = field(default_factory=dict)

    def run(self, workload: str, count: int) -> dict[str, float]:
        """Run a workload; return its figures in seconds.

        Raises:
            RuntimeError: The workload failed; the message has its output.
        """
        if workload == "hello":
            return {"hello": self._time(self.hello)}
        if workload == "import":
            return {"import": self._time(self.imports)}
        return last_json(self._run([*self.command, workload, "--count", str(count)]))

    def _time(self, command: list[str]) -> float:
        began = time.perf_counter()
        self._run(command)
        return time.perf_counter() - began

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=ROOT,
            timeout=_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"[-3000:])
        return done.stdout


class FlowspanEngine(Engine):
    """flowspan, with the workloads of the main table."""

    def run(self, workload: str, count: int) -> dict[str, float]:
        """Run a workload; see `Engine.run`.

        Raises:
            RuntimeError: The workload failed, or the service did not store all of its runs.
        """
        if workload in {"hello", "import"}:
            return super().run(workload, count)
        module = f"benchmarks.workloads.{_FLOWSPAN_MODULES[workload]}"
        outcome = last_json(self._run([*self.command, module, "--json", "--count", str(count)]))
        if outcome["void"]:
            raise RuntimeError(outcome["void"])
        figures = outcome["figures"]
        if workload == "mapped":
            figures["mapped"] = figures["task"]
        if workload == "task":
            figures["visible"] = outcome["notes"]["visible"] / count
        return figures


@contextlib.contextmanager
def flowspan() -> Iterator[Engine]:
    """Run flowspan with its own service on SQLite."""
    with running_service() as service, tempfile.TemporaryDirectory() as home:
        environment = bare_environment(
            Path(home),
            FLOWSPAN_ADDRESS=service.address,
            FLOWSPAN_HOME=home,
            FLOWSPAN_TRACING="false",
        )
        python = sys.executable
        time.sleep(_IDLE_S)
        figures = {"start": service.ready_s, "memory": resident_bytes(service.process_id)}
        yield FlowspanEngine(
            [python, "-m"],
            [python, str(ROOT / "benchmarks" / "workloads" / "hello.py")],
            [python, "-c", "from flowspan import flow, task"],
            environment,
            figures,
        )


@contextlib.contextmanager
def prefect(*, heartbeat: bool) -> Iterator[Engine]:
    """Run Prefect with `prefect server start` on SQLite, as its documentation recommends first.

    Args:
        heartbeat: True if flows send heartbeats, which is the default.
    """
    python = python_of("prefect")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environment = bare_environment(
            Path(folder),
            PREFECT_HOME=str(Path(folder) / ".prefect"),
            PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_LOGGING_LEVEL="WARNING",
        )
        command = [str(python.with_name("prefect")), "server", "start"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        log_path = Path(folder) / "server.log"
        with log_path.open("wb") as log:
            began = time.perf_counter()
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            _wait_for_http(server, f"http://127.0.0.1:{port}/api/health", log_path)
            ready_s = time.perf_counter() - began
            time.sleep(_IDLE_S)
            figures = {"start": ready_s, "memory": resident_bytes(server.pid)}
            script = [str(python), str(_SCRIPTS / "with_prefect.py")]
            yield Engine(
                script if heartbeat else [*script, "--no-heartbeat"],
                [str(python), str(_SCRIPTS / "hello_prefect.py")],
                [str(python), "-c", "from prefect import flow, task"],
                environment,
                figures,
            )
        finally:
            stop(server)


@contextlib.contextmanager
def dbos(url: str | None = None) -> Iterator[Engine]:
    """Run DBOS, a library with a database and without a server.

    Args:
        url: The URL of a PostgreSQL database; None for the default, SQLite.
    """
    python = python_of("dbos")
    with tempfile.TemporaryDirectory() as folder:
        environment = bare_environment(
            Path(folder), DBOS_SYSTEM_DATABASE_URL=url or f"sqlite:///{folder}/dbos.sqlite"
        )
        yield Engine(
            [str(python), str(_SCRIPTS / "with_dbos.py")],
            [str(python), str(_SCRIPTS / "hello_dbos.py")],
            [str(python), "-c", "from dbos import DBOS"],
            environment,
        )


def _wait_for_http(server: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(url, timeout=2).read()  # noqa: S310 - the server just started
            return
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log_path.read_text(errors='replace')[-3000:]}")
