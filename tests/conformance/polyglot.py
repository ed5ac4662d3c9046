"""The polyglot example, built and started for tests: an order through four languages."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.conformance.languages import BUILD_TIMEOUT_S, BUILT, LANGUAGES, ROOT, build
from tests.support import run_queries
from tests.support.child_processes import dying_with_us
from tests.support.history import type_name
from tests.support.otlp import without_chance

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import grpc

EXAMPLE = ROOT / "examples" / "polyglot"
BUILT_BY_EXAMPLE = ROOT / ".build" / "polyglot"
PROGRAMS = BUILT_BY_EXAMPLE / "bin"
"""The folder of the programs that the script of the example builds."""
PROGRAMS_WITH_SDK = BUILT / "polyglot-sdk"
"""The folder of the same programs, each with an OpenTelemetry SDK that makes its spans."""
BUILD_WITH_SDK = ROOT / "tests" / "conformance" / "polyglot_sdk" / "build.sh"
WAIT_S = 120.0

SERVICE_OF = {
    **dict.fromkeys(("order", "read_order", "call_price", "read_receipt"), "order"),
    **dict.fromkeys(("price", "price_line", "call_render", "rate"), "price"),
    **dict.fromkeys(("render", "lay_out", "call_archive"), "render"),
    **dict.fromkeys(("archive", "compress", "store"), "archive"),
}
"""The program that runs each flow and task: Python, Go, TypeScript and Java."""
TREE = """\
order
  call_price
    price
      call_render
        render
          call_archive
            archive
              compress
              store
          lay_out
            rate
      price_line
      price_line
      price_line
    read_receipt
  read_order
"""
"""The runs of an order, those of a parent by name."""


@functools.cache
def build_example() -> None:
    """Build the programs of the example with the clients of this repository.

    Raises:
        RuntimeError: A build failed; the message has its output.
    """
    for language in LANGUAGES:
        # The same build of the clients as for the other programs here, which may be running.
        build(language)
    _build(EXAMPLE / "build.sh")


@functools.cache
def build_with_sdk() -> None:
    """Build the programs of the example with an OpenTelemetry SDK each, which writes to SPANS.

    Raises:
        RuntimeError: A build failed; the message has its output.
    """
    build_example()
    _build(BUILD_WITH_SDK, BUILT_BY_EXAMPLE, BUILT / "java" / "classpath", PROGRAMS_WITH_SDK)


def _build(*command: Path) -> None:
    with (BUILT / "polyglot.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    if done.returncode:
        msg = f"{command[0]} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        raise RuntimeError(msg)


class Order:
    """The process of an order; use it as a context manager: leaving it ends all its programs.

    Args:
        folder: The folder for the home and the archive.
        address: The address of the service.
        arguments: The arguments of order.py.
        env: Further environment variables.
        programs: The folder of the other programs.
        command: The command before the arguments.
    """

    def __init__(
        self,
        folder: Path,
        *,
        address: str,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        programs: Path = PROGRAMS,
        command: Sequence[str] = (sys.executable, str(EXAMPLE / "order.py")),
    ) -> None:
        self.archive = folder / "archive"
        variables = {
            **os.environ,
            "FLOWSPAN_ADDRESS": address,
            "FLOWSPAN_HOME": str(folder / "home"),
            "ARCHIVE_FOLDER": str(self.archive),
            "OTEL_SERVICE_NAME": "order",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUTF8": "1",
            **(env or {}),
        }
        self._process = subprocess.Popen(
            [*dying_with_us(), *command, *arguments],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def __enter__(self) -> Order:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.communicate(timeout=WAIT_S)

    def has_processes(self) -> bool:
        """Return True if a program of the order is still there."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit code, the output and the errors of all programs."""
        out, err = self._process.communicate(timeout=WAIT_S)
        return self._process.returncode, out, err


@dataclass(frozen=True)
class Span:
    """A span of a run, received from the Python program or the service, or written by a program.

    Attributes:
        run_id: The run.
        name: The name of the span.
        trace_id: The trace: 32 hex digits.
        span_id: The span: 16 hex digits.
        parent_id: The span above it; empty at the top.
    """

    run_id: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str


def spans_in(file: Path) -> list[Span]:
    """Return the spans that programs with an SDK have written, but those of waits."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return without_chance(Span(**json.loads(line)) for line in lines)


@dataclass(frozen=True)
class RunOfOrder:
    """A flow or task run of an order.

    Attributes:
        name: The name of the flow or task.
        run: The run, as the service answers.
        positions: The names of its states, and their positions among those of all runs.
    """

    name: str
    run: Any
    positions: tuple[tuple[str, int], ...]

    @property
    def state(self) -> str:
        """The type of its state."""
        return type_name(self.run)

    @property
    def span_id(self) -> str:
        """The id of its span."""
        return str(self.run.trace.traceparent.split("-")[2])

    @property
    def trace_id(self) -> str:
        """The id of its trace."""
        return str(self.run.trace.traceparent.split("-")[1])


def runs_of_order(channel: grpc.Channel) -> list[RunOfOrder]:
    """Return all runs of the service with their histories, oldest first."""
    flows, tasks = run_queries.flow_runs(channel), run_queries.task_runs(channel)
    found = [RunOfOrder(run.flow_name, run, _of_flow(channel, run.id)) for run in flows]
    found += [RunOfOrder(run.task_name, run, _of_task(channel, run.id)) for run in tasks]
    return sorted(found, key=lambda each: str(each.run.id))


def _of_flow(channel: grpc.Channel, run_id: str) -> tuple[tuple[str, int], ...]:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    answer = stub.ListFlowRunTransitions(
        flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run_id)
    )
    return tuple((each.state.name, each.position) for each in answer.transitions)


def _of_task(channel: grpc.Channel, run_id: str) -> tuple[tuple[str, int], ...]:
    stub = task_run_service_pb2_grpc.TaskRunServiceStub(channel)
    answer = stub.ListTaskRunTransitions(
        task_run_service_pb2.ListTaskRunTransitionsRequest(id=run_id)
    )
    return tuple((each.state.name, each.position) for each in answer.transitions)


def drawn(runs: Sequence[RunOfOrder]) -> str:
    """Return the tree of runs as TREE shows it."""

    def lines(parent: str, indent: str) -> Iterator[str]:
        below = [each for each in runs if each.run.parent_run_id == parent]
        for each in sorted(below, key=lambda each: each.name):
            yield f"{indent}{each.name}\n"
            yield from lines(each.run.id, indent + "  ")

    return "".join(lines("", ""))
