"""Fixtures for every test: its own home, no outside settings, and only loopback networking."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from flowspan.drivers.process import leave_process

pytest.register_assert_rewrite("tests.support")

from tests.support.history import (  # noqa: E402 - its asserts must be rewritten first
    check_all_histories,
    watch_from_here,
)
from tests.support.service import (  # noqa: E402 - its asserts must be rewritten first
    ServiceProcess,
    end_local_service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowspan.testing import Harness

_real_connect = socket.socket.connect


def _connect_to_loopback(self: socket.socket, address: object) -> None:
    """Replace socket.connect: fail a test that connects to another machine, naming the address."""
    if isinstance(address, tuple) and address[0] not in {"localhost", ""}:
        assert ip_address(address[0].partition("%")[0]).is_loopback, (
            f"tests may connect only to this machine, not to {address}"
        )
    _real_connect(self, address)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start each of xdist's workers with slow tests, so that none ends with one alone."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    share = -(-len(quick) // workers)
    items.clear()
    for worker in range(workers):  # --dist worksteal gives each worker an equal, contiguous part.
        items += slow[worker::workers]
        items += quick[worker * share : (worker + 1) * share]


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _connect_to_loopback)
        yield


@pytest.fixture
def short_tmp_path() -> Iterator[Path]:
    """Yield a folder with a short path: the path of a Unix socket has at most about 100 bytes."""
    base = Path("/tmp") if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it safe
    path = Path(tempfile.mkdtemp(prefix="flowspan-", dir=base))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def flowspan_home(short_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the test's own FLOWSPAN_HOME. A local service that the test started ends with it."""
    for name in list(os.environ):
        if name.startswith(("FLOWSPAN_", "OTEL_")) and not name.startswith("FLOWSPAN_TEST_"):
            monkeypatch.delenv(name)
    home = short_tmp_path / "home"
    monkeypatch.setenv("FLOWSPAN_HOME", str(home))
    yield home
    end_local_service(home)


@pytest.fixture
def flowspan_harness(flowspan_harness: Harness) -> Iterator[Harness]:
    """Yield the harness of `flowspan.testing`; at the end, check the history of every run in it."""
    with grpc.insecure_channel(flowspan_harness.address) as channel:
        token = watch_from_here(channel)
        yield flowspan_harness
        leave_process()
        check_all_histories(channel, token=token)


@pytest.fixture
def start_service(flowspan_home: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """Start services for the test: `start_service(lease_s=1.0)` (see ServiceProcess).

    At the end of the test, the history of every run in each of them is checked, and they are
    stopped.
    """
    services: list[ServiceProcess] = []

    def start(**options: object) -> ServiceProcess:
        home = options.pop("home", flowspan_home.parent / f"service-{len(services)}")
        service = ServiceProcess(home=home, **options)  # type: ignore[arg-type] # from the caller
        services.append(service)
        service.start()
        return service

    try:
        yield start
        for service in services:
            service.check_histories()
    finally:
        for service in services:
            service.end()
            # pytest shows this output if the test failed.
            sys.stdout.write(f"The log of the service in {service.home}:\n{service.log}\n")


@pytest.fixture
def service(start_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    """Return a service with default settings."""
    return start_service()


def pytest_configure() -> None:
    """Restore Ctrl-C, which a shell disables for tests in the background (`&`)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
