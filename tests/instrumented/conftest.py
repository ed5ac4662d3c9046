"""Programs under `opentelemetry-instrument`, with every instrumentation that fits flowspan.

`make test-instrumented` runs these tests in an environment with the instrumentations. Elsewhere
they are left out.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.otlp import OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

collect_ignore_glob: list[str] = []
if "FLOWSPAN_TEST_INSTRUMENTED" not in os.environ and find_spec("opentelemetry.distro") is None:
    collect_ignore_glob.append("test_*.py")

WRAPPER = (str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable)
"""The arguments between Python and an instrumented program."""


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Yield a receiver of spans over gRPC."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def environment(receiver: OtlpReceiver) -> dict[str, str]:
    """Return the variables with which a program sends only spans, and only to the receiver."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "program",
    }


@pytest.fixture
def wrapper() -> tuple[str, ...]:
    """Return the arguments between Python and an instrumented program."""
    return WRAPPER


@pytest.fixture
def run_instrumented(
    flowspan_home: Path, environment: dict[str, str]
) -> Callable[..., FlowProcess]:
    """Run an instrumented program to its end: `run_instrumented(code, address=…)`.

    Without an address, it starts a local service. The result has its output and its errors.
    """
    make = partial(FlowProcess, home=flowspan_home, launcher=WRAPPER)

    def run(
        code: str, *, address: str | None = None, env: dict[str, str] | None = None
    ) -> FlowProcess:
        with make(code, address=address, env={**environment, **(env or {})}) as process:
            process.finish()
        return process

    return run
