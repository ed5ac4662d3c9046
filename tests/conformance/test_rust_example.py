"""examples/rust: a client that is generated, and not one of ours, reports a run and lists runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.conformance.languages import BUILT, ROOT, SELECTION
from tests.support.run_queries import flow_history, flow_runs, logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

FOLDER = ROOT / "examples" / "rust"
BUILD_TIMEOUT_S = 1800
RUN_TIMEOUT_S = 60
PRIMES_BELOW_100000 = 9592


def problem() -> str:
    """Return the reason why the example cannot be built here; empty if it can."""
    if os.environ.get(SELECTION) != "all":
        return "the Rust example is built by `make test-clients`"
    cargo = shutil.which("cargo")
    if cargo is None:
        return "the Rust example is left out: cargo is not installed"
    said = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=True).stdout
    needed = re.search(r'rust-version = "(\d+)\.(\d+)"', (FOLDER / "Cargo.toml").read_text())
    found = re.search(r"(\d+)\.(\d+)", said)
    assert needed is not None
    assert found is not None, said
    if tuple(map(int, found.groups())) < tuple(map(int, needed.groups())):
        return f"the Rust example is left out: it needs Rust {'.'.join(needed.groups())}"
    return ""


@pytest.fixture
def program() -> Path:
    """The built example."""
    if reason := problem():
        pytest.skip(reason)
    folder = BUILT / "rust"
    done = subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--target-dir", str(folder)],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder / "debug" / "flowspan-example"


def test_generated_client_reports_a_run_and_lists_runs(
    program: Path, start_service: Callable[..., ServiceProcess]
) -> None:
    service = start_service()
    env = {**os.environ, "FLOWSPAN_ADDRESS": service.address}
    for name in ("FLOWSPAN_RUN", "FLOWSPAN_TOKEN"):
        env.pop(name, None)
    output = subprocess.run(
        [str(program)], env=env, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=True
    ).stdout
    (run,) = flow_runs(service.channel)
    assert output == f"{run.id} count-primes Completed\n"
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Completed"]
    assert json.loads(run.state.result.data) == PRIMES_BELOW_100000
    assert [record.message for record in logs(service.channel, run.id)] == [
        f"There are {PRIMES_BELOW_100000} primes."
    ]


def test_page_quotes_the_example() -> None:
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    program = (FOLDER / "src" / "main.rs").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"```rust\n(.*?)```", page, re.DOTALL)
    lines = [line for line in quoted.splitlines() if line != "…"]
    assert len(lines) > 2
    assert [line for line in lines if f"\n    {line}\n" not in program] == []
