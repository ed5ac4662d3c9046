"""Every example, run as its readers run it; `EXAMPLES` has the expected outcome of each.

`stdlib_census.py` has tests of its own in test_demo.py.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.run_queries import flow_history, flow_runs, logs, task_history, task_runs
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 120
ELSEWHERE = {"stdlib_census.py"}
"""Examples that other tests run."""

RETRIED = ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


@dataclass(frozen=True)
class Example:
    """The expected outcome of an example.

    Attributes:
        runs: The number of runs by function name and state: "fetch Completed".
        output: Regular expressions for lines of its output, in order.
        arguments: The arguments on the command line.
        histories: All states of some of its runs, by the names of the runs.
        logged: Parts of log records.
    """

    runs: dict[str, int]
    output: list[str]
    arguments: tuple[str, ...] = ()
    histories: dict[str, list[str]] = field(default_factory=dict)
    logged: list[str] = field(default_factory=list)


EXAMPLES = {
    "hello.py": Example(
        arguments=("Ada",),
        output=["11 letters", "HELLO, ADA!"],
        runs={"hello Completed": 1, "compose Completed": 1, "emphasize Completed": 1},
        logged=["emphasizing 'Hello, Ada!'", "11 letters"],
    ),
    "artifacts.py": Example(
        output=[r"\d modules, 3 of more than 300 lines: __init__, decoder, encoder"],
        runs={"report Completed": 1, "measure Completed": 1},
    ),
    "async_flow.py": Example(
        output=[r"328350 after \d+\.\d s"],
        runs={"squares Completed": 1, "ask Completed": 100, "add_up Completed": 1},
    ),
    "caching.py": Example(
        output=[r"counting hello\.py", r"Cached: \d+ words in caching\.py, \d\d\.\d% of all"],
        runs={
            "census Completed": 2,
            "count_words Completed": 3,
            "count_words Cached": 4,
            "share Completed": 3,
            "share Cached": 3,
        },
    ),
    "transactions.py": Example(
        output=[
            "sent the bill: Ada owes 10",
            "put back 1 lamp",
            "struck out: Ben owes 30",
            "Failed: OutOfStockError: not enough in stock: chair",
            r"left: {'lamp': 2, 'chair': 1}",
        ],
        runs={
            "order Completed": 1,
            "order Failed": 1,
            "charge Completed": 1,
            "charge RolledBack": 1,
            "reserve Completed": 1,
            "reserve RolledBack": 1,
            "reserve Failed": 1,
        },
    ),
    "mapping.py": Example(
        output=["1 of 12 failed: ZeroDivisionError: division by zero", r"the mean is 32\.94"],
        runs={
            "quotients Completed": 1,
            "divide Completed": 11,
            "divide Failed": 1,
            "mean Completed": 1,
        },
    ),
    "process_pool.py": Example(
        output=[r"TimedOut\(.*exceeded its timeout of 1 s\..*, type=FAILED\)", "33860 primes"],
        runs={"numbers Completed": 1, "count_primes Completed": 8, "matches TimedOut": 1},
    ),
    "retries.py": Example(
        output=[f"page {page} after {page + 1} attempts" for page in range(4)],
        # The flow runs twice; the second time, its tasks reuse their results.
        runs={
            "crawl Completed": 1,
            "fetch Completed": 4,
            "fetch Cached": 4,
            "check Failed": 1,
        },
        histories={"fetch-1": RETRIED, "check-0": ["Pending", "Running", "Failed"]},
        logged=["the check ended as Failed: ValueError: 'page 0 after 1 attempts' is not what"],
    ),
    "subflows.py": Example(
        output=[r"Ulm +\d+\.\d", r"Kiel +\d+\.\d", r"Rostock +\d+\.\d"],
        runs={"report-country Completed": 1, "report-city Completed": 3, "measure Completed": 9},
        histories={"Ulm": ["Pending", "Running", "Completed"]},
    ),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all examples; it checks the histories of all their runs at the end."""
    service = ServiceProcess(home=tmp_path_factory.mktemp("service"))
    service.start()
    try:
        yield service
        service.check_histories()
    finally:
        service.end()


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str, service: ServiceProcess) -> None:
    expected = EXAMPLES[name]
    before = {run.id for run in all_runs(service)}
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *expected.arguments],
        env={**os.environ, "FLOWSPAN_ADDRESS": service.address},
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    lines = iter(done.stdout.splitlines())
    for pattern in expected.output:
        assert any(re.fullmatch(pattern, line) for line in lines), (pattern, done.stdout)

    runs = [run for run in all_runs(service) if run.id not in before]
    assert Counter(f"{function_name(run)} {run.state.name}" for run in runs) == expected.runs
    for run_name, history in expected.histories.items():
        assert history_of(service, runs, run_name) == history
    tops = {run.root_run_id or run.id for run in runs}
    records = [log for top in tops for log in logs(service.channel, top, descendants=True)]
    messages = [record.message for record in records]
    for part in expected.logged:
        assert any(part in message for message in messages), (part, messages)


def all_runs(service: ServiceProcess) -> list[Any]:
    return [*flow_runs(service.channel), *task_runs(service.channel)]


def function_name(run: Any) -> str:
    return str(run.flow_name if hasattr(run, "flow_name") else run.task_name)


def history_of(service: ServiceProcess, runs: list[Any], name: str) -> list[str]:
    """Return the states of the first run of this name."""
    run = next(run for run in runs if run.name == name)
    history = flow_history if hasattr(run, "flow_name") else task_history
    return history(service.channel, run.id)


def test_every_example_is_tested() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} == {*EXAMPLES, *ELSEWHERE}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_every_example_says_what_it_shows_and_how_it_is_run(path: Path) -> None:
    description = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert description is not None
    assert f"python examples/{path.name}" in description
    overview = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"[{path.name}]({path.name})" in overview
