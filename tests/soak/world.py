"""The environment of a soak: a database, a service with a movable clock, a proxy, and clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.stepped import write_step
from tests.support.child_processes import dying_with_us
from tests.support.postgres import running_postgres
from tests.support.proxy import Proxy
from tests.support.service import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

LEASE_S = 6.0
GRACE_S = 4.0
END_S = 60.0
DISK_MIB = 256
_HERE = Path(__file__).parent


@dataclass
class Client:
    """A client process.

    Attributes:
        process: The process.
        journal: The file with its knowledge of its runs.
        born_s: The start time, on the soak's clock.
        was_hurt: True once it was killed.
        may_look_dead: True once it, or its connection, was silent for so long that the service may
            declare it dead.
    """

    process: subprocess.Popen[bytes]
    journal: Path
    born_s: float
    was_hurt: bool = False
    may_look_dead: bool = False
    ended_well: bool = False


@dataclass
class World:
    """All processes of the soak.

    Attributes:
        folder: The folder for all files.
        service: The service.
        proxy: The proxy between the service and the clients.
        postgres: The database server; None for SQLite.
        disk: The disk of the service's home, if it has its own that can be filled.
        clients: All clients, including ended ones.
    """

    folder: Path
    service: ServiceProcess
    proxy: Proxy
    postgres: PostgresServer | None
    disk: Path | None
    started_s: float = field(default_factory=time.monotonic)
    clients: list[Client] = field(default_factory=list)

    @property
    def clock_file(self) -> Path:
        """The file with the offset of the service's wall clock."""
        return self.folder / "service-clock"

    @property
    def client_clock_file(self) -> Path:
        """The file with the offset of the clients' wall clock."""
        return self.folder / "client-clock"

    @property
    def now_s(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self.started_s

    @property
    def alive(self) -> list[Client]:
        """The running clients."""
        return [client for client in self.clients if client.process.poll() is None]

    def start_client(self, seed: int) -> None:
        """Start another client process."""
        journal = self.folder / f"journal-{len(self.clients)}"
        command = [*dying_with_us(), sys.executable, "-m", "tests.soak.stepped"]
        command += [str(self.client_clock_file), str(_HERE / "client.py"), str(seed), str(journal)]
        variables = {
            "FLOWSPAN_HOME": str(self.folder / "clients"),
            "FLOWSPAN_ADDRESS": self.proxy.address,
            "FLOWSPAN_LOGGING_TO_CONSOLE": "0",
            "FLOWSPAN_FLUSH_TIMEOUT_S": "2",
        }
        with (self.folder / "clients.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **variables},
            )
        self.clients.append(Client(process, journal, self.now_s))

    def end_client(self, client: Client) -> None:
        """Ask a client process to end normally."""
        assert client.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            client.process.stdin.close()

    def postgres_pids(self) -> list[int]:
        """Return the processes of the database server."""
        assert self.postgres is not None
        assert self.postgres.process is not None
        main = self.postgres.process.pid
        found = [main]
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == main:
                    found.append(int(folder.name))
        return found

    def restart_postgres(self) -> None:
        """Kill the database server with SIGKILL, and start it again on the same data."""
        assert self.postgres is not None
        assert self.postgres.process is not None
        for pid in self.postgres_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        old = self.postgres.process
        old.wait(END_S)
        assert self.postgres.folder is not None
        with (self.postgres.folder / "log").open("ab") as log:
            self.postgres.process = subprocess.Popen(
                old.args,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.postgres.folder,
                start_new_session=True,
            )


@contextlib.contextmanager
def make_world(folder: Path, db: str) -> Iterator[World]:
    """Start everything, and stop it at the end.

    Args:
        folder: An empty folder.
        db: "sqlite" or "postgresql".
    """
    with contextlib.ExitStack() as stack:
        home = folder / "service"
        home.mkdir()
        postgres = url = disk = None
        if db == "postgresql":
            postgres = stack.enter_context(running_postgres())
            assert postgres.process is not None, (
                "the soak kills the server: unset FLOWSPAN_TEST_POSTGRES so that it starts its own"
            )
            url = stack.enter_context(postgres.new_database())
        elif stack.enter_context(_own_disk(home)):
            disk = home
        for name in ("service-clock", "client-clock"):
            write_step(folder / name, 0.0)
        service = ServiceProcess(
            home=home,
            db=url,
            lease_s=LEASE_S,
            grace_s=GRACE_S,
            launcher=("-m", "tests.soak.stepped", str(folder / "service-clock")),
        )
        stack.callback(service.end)
        service.start()
        proxy = stack.enter_context(Proxy(service.address))
        world = World(folder, service, proxy, postgres, disk)
        stack.callback(_end_clients, world)
        yield world


@contextlib.contextmanager
def _own_disk(home: Path) -> Iterator[bool]:
    """Mount a disk of its own for the home; return False if that is not possible."""
    mount = shutil.which("mount")
    options = f"size={DISK_MIB}m"
    command = [mount or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)]
    is_there = (
        mount is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        yield is_there
    finally:
        if is_there:
            subprocess.run(["umount", "--lazy", str(home)], check=False)


def _end_clients(world: World) -> None:
    for client in world.alive:
        client.process.kill()
        client.process.wait(END_S)
