"""What the workloads share: their command line, their service, and the check of what it holds."""

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

# How long a workload waits for states that should have been there when its flow returned.
LATE_STATES_S = 30.0

_PROCESS_BEGAN_S = time.time()


@dataclass
class Outcome:
    """What a workload measured.

    Attributes:
        figures: By name; seconds, bytes or 1/s.
        notes: More numbers of interest, by name.
        void: Why the figures do not count; None if they do.
    """

    figures: dict[str, float]
    notes: dict[str, float] = field(default_factory=dict)
    void: str | None = None


def main(measure: Callable[[int], Outcome], *, count: int, traced: bool = False) -> None:
    """Runs a workload with the service at FLOWSPAN_ADDRESS, or with one of its own.

    Args:
        measure: Takes how many, gives the outcome.
        count: How many unless the command line says otherwise.
        traced: Whether the workload itself turns tracing on; it is off otherwise.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=count, help=f"how many (default: {count})")
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
        # Before the first flow is called: the client reads its settings then.
        os.environ["FLOWSPAN_ADDRESS"] = service.address
        os.environ["FLOWSPAN_HOME"] = str(service.home)
        yield


def checked(outcome: Outcome, *, flow_runs: int, task_runs: int) -> Outcome:
    """Asks the service at once, after a flow returned, whether it holds all that this process did.

    A top-level flow returns when all its states are acknowledged, and that means committed; so the
    first answer has to be complete, and the figures are void if it is not.

    Args:
        outcome: Gets the note, and becomes void if states are missing.
        flow_runs: How many of them are to be Completed, the warm-up's included.
        task_runs: The same of the task runs.
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
            "(flow runs, task runs) Completed should have been "
            f"{wanted} when the flow returned, but were {first_look}; "
            f"{outcome.notes['visible']:.1f} s later {seen}"
        )
    return outcome
