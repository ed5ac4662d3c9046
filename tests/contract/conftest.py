"""Fixtures of the contract tests: the real gRPC server over a real SQLite store."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pytest
import structlog
from tests.support.harness import Harness, Stubs
from tests.support.history import check_all_histories, watch_from_here
from tests.support.http_channel import HttpChannel
from tests.support.postgres import postgres_server, postgres_url

from flowspan_service.process.clock import SystemClock
from flowspan_service.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """Silence the service's log, which the tests of processes check instead."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database without runs, to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "flowspan.db"
    open_store(f"sqlite:///{path}", clock=SystemClock()).close()
    return path


@pytest.fixture
def harness(tmp_path: Path, empty_database: Path) -> Iterator[Harness]:
    """Yield a server; at the end of the test, check the history of every run in it."""
    shutil.copy(empty_database, tmp_path)
    harness = Harness(tmp_path)
    try:
        token = watch_from_here(harness.channel)
        yield harness
        if harness.is_running:
            check_all_histories(harness.channel, token=token)
    finally:
        harness.close()


OVER_HTTP = (
    "test_artifacts",
    "test_bounds",
    "test_labels",
    "test_logs",
    "test_report_batch",
    "test_runs",
    "test_single_run_callers",
    "test_single_run_limits",
    "test_single_runs",
    "test_tokens",
    "test_variables",
    "test_watch",
)
"""The modules whose calls are also made over HTTP."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make the calls of some modules over each transport."""
    module = metafunc.module.__name__.rpartition(".")[2]
    if "stubs" in metafunc.fixturenames and module in OVER_HTTP:
        streams = ["grpc-web"] if module in ("test_logs", "test_watch") else []
        metafunc.parametrize("transport", ["grpc", "connect", *streams], indirect=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """Return the protocol of the stubs."""
    return getattr(request, "param", "grpc")


@pytest.fixture
def stubs(harness: Harness, transport: str) -> Stubs:
    """Return the stubs of all services."""
    if transport == "grpc":
        return Stubs(harness.channel)
    return Stubs(HttpChannel(harness.start_http(), transport))
