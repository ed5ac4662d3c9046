"""Common parts of the workloads: command line, service, and verification of stored runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import grpc

from benchmarks.counting import completed_runs
from benchmarks.service import running_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Maximum wait for states that should have been visible when their flow returned.
LATE_STATES_S = 30.0

_PROCESS_BEGAN_S = time.time()


@dataclass
class Outcome:
    """The outcome of a workload.

    Attributes:
        figures: Figures by name, in seconds, bytes or 1/s.
        notes: Additional figures by name.
        void: The reason why the figures are invalid; None if they are valid.
    """

    figures: dict[str, float]
    notes: dict[str, float] = field(default_factory=dict)
    void: str | None = None


def main(measure: Callable[[int], Outcome], *, count: int, traced: bool = False) -> None:
    """Run a workload with the service at FLOWSPAN_ADDRESS, or with a new one.

    Args:
        measure: Runs the given number of operations and returns the outcome.
        count: The default number of operations.
        traced: True if the workload turns tracing on itself; it is off otherwise.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--count", type=int, default=count, help=f"number of operations (default: {count})"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args()
    if not traced:
        os.environ["FLOWSPAN_TRACING"] = "false"
    with _service():
        outcome = measure(arguments.count)
    if arguments.json:
        print(json.dumps(asdict(outcome)))
        return
    for name, value in {**outcome.figures, **outcome.notes}.items():
        print(f"{name:32} {value:.6g}")
    if outcome.void:
        raise SystemExit(f"void: {outcome.void}")


@contextlib.contextmanager
def _service() -> Iterator[None]:
    if os.environ.get("FLOWSPAN_ADDRESS"):
        yield
        return
    with running_service() as service:
        # Set before the first flow is called, when the client reads its settings.
        os.environ["FLOWSPAN_ADDRESS"] = service.address
        os.environ["FLOWSPAN_HOME"] = str(service.home)
        yield


def checked(outcome: Outcome, *, flow_runs: int, task_runs: int) -> Outcome:
    """Verify, right after a flow returned, that the service has stored all runs of this process.

    A top-level flow returns when all its states are acknowledged, that is, committed. The first
    answer must therefore be complete, or the figures are void.

    Args:
        outcome: Receives the note, and becomes void if states are missing.
        flow_runs: The expected number of Completed flow runs, including the warm-up.
        task_runs: The expected number of Completed task runs, including the warm-up.
    """
    wanted = (flow_runs, task_runs)
    began = time.perf_counter()
    with grpc.insecure_channel(os.environ["FLOWSPAN_ADDRESS"]) as channel:
        first_look = seen = completed_runs(channel, since_s=_PROCESS_BEGAN_S)
        while seen != wanted and time.perf_counter() - began < LATE_STATES_S:
            time.sleep(0.01)
            seen = completed_runs(channel, since_s=_PROCESS_BEGAN_S)
    outcome.notes["visible"] = time.perf_counter() - began
    if first_look != wanted:
        outcome.void = (
            "expected Completed (flow runs, task runs): "
            f"{wanted} when the flow returned, but got {first_look}, and "
            f"{outcome.notes['visible']:.1f} s later {seen}"
        )
    return outcome
