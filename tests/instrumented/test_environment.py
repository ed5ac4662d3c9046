"""The environment of these tests."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path


def test_it_has_every_instrumentation_that_bootstrap_would_install() -> None:
    """If it has not, add it to requirements-instrumented.in, and run `make lock`."""
    program = Path(sys.executable).with_name("opentelemetry-bootstrap")
    listed = subprocess.run(
        [program, "-a", "requirements"], check=True, capture_output=True, text=True, timeout=120
    )
    wanted = {line.partition("=")[0] for line in listed.stdout.split()}
    assert "opentelemetry-instrumentation-grpc" in wanted
    assert wanted - {each.metadata["Name"] for each in distributions()} == set()
