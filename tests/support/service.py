"""The real service as a subprocess of a test: started, killed, stopped and restarted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from tests.support.child_processes import dying_with_us
from tests.support.history import check_all_histories, watch_from_here

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
ORPHAN_TIMEOUT_S = 900.0
"""The service ends after this time without clients, if it cannot die with its killed test."""
POLL_S = 0.02
SERVICE_FILE = "service.json"


RETRY_READS = {
    "methodConfig": [
        {
            "name": [
                {"service": f"flowspan.v1.{noun}Service", "method": method.format(noun)}
                for noun in ("FlowRun", "TaskRun")
                for method in ("Get{}", "List{}s", "Count{}s", "List{}Transitions")
            ],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
"""For gRPC: retry a read on a connection that the service has just closed."""


class ServiceProcess:
    """`python -m flowspan_service` in a home of its own.

    Args:
        home: The folder for its database and its service file.
        lease_s: The lease of a silent session; the service's default if None.
        grace_s: The grace period of a session after its connection broke; the default if None.
        crash_point: before_commit, after_commit or before_ack, or one of them with a number, as in
            before_commit:3: the service kills itself when it gets there for the third time. A
            restart clears it.
        db: The URL of its database; SQLite in the home if None.
        arguments: Further arguments of the program.
        env: Further environment variables.
        open_files: Its limit of open files; the test's own limit if None.
        check_history: Check the histories of its runs at the end of the test.
        launcher: Arguments between Python and `-m flowspan_service`.
        asks_over_socket: Use the Unix socket for `channel` and the checks: it needs no token and
            no certificate.
    """

    def __init__(
        self,
        *,
        home: Path,
        lease_s: float | None = None,
        grace_s: float | None = None,
        crash_point: str | None = None,
        db: str | None = None,
        arguments: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        open_files: int | None = None,
        check_history: bool = True,
        launcher: tuple[str, ...] = (),
        asks_over_socket: bool = False,
    ) -> None:
        self.home = home
        self.crash_point = crash_point
        self.check_history = check_history
        self.port = 0
        self._options = {"--lease": lease_s, "--grace": grace_s, "--db": db}
        self._arguments = arguments
        self._env = env or {}
        self._open_files = open_files
        self._launcher = launcher
        self._asks_over_socket = asks_over_socket
        self._process: subprocess.Popen[bytes] | None = None
        self._watch_token = ""

    @property
    def log_path(self) -> Path:
        """The file with the output of the service, over all its starts."""
        return self.home / "test-service.log"

    @property
    def log(self) -> str:
        """The output of the service, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def db_path(self) -> Path:
        """The path of its SQLite database."""
        return self.home / "flowspan.db"

    @property
    def address(self) -> str:
        """The listening address."""
        assert self.port, "the service was never started"
        return f"127.0.0.1:{self.port}"

    @property
    def socket_address(self) -> str:
        """The address of its Unix socket."""
        return f"unix:{self.home / 'service.sock'}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "the service was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True if the process is running."""
        return self._process is not None and self._process.poll() is None

    @cached_property
    def channel(self) -> grpc.Channel:
        """A channel for stubs, closed with the service."""
        return grpc.insecure_channel(
            self.socket_address if self._asks_over_socket else self.address,
            options=[
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.enable_http_proxy", 0),
                ("grpc.service_config", json.dumps(RETRY_READS)),
            ],
        )

    def start(self) -> None:
        """Start the service and wait until it answers. A restart keeps the port.

        Raises:
            AssertionError: The service ended instead; the message has its log.
        """
        assert not self.is_running, "the service is already running"
        self.home.mkdir(parents=True, exist_ok=True)
        command = [*dying_with_us(), sys.executable, *self._launcher]
        command += ["-m", "flowspan_service"]
        if self._open_files is not None:
            command = ["sh", "-c", f'ulimit -n {self._open_files}; exec "$@"', "sh", *command]
        command += ["--home", str(self.home)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        # A restart names the port, and HTTP would then be on at its default one.
        command += [] if "--http-port" in self._arguments else ["--http-port", "off"]
        for name, value in self._options.items():
            command += [name, str(value)] if value is not None else []
        if self.crash_point is not None:
            command += ["--crash-point", self.crash_point]
        command += ["--idle-timeout", str(ORPHAN_TIMEOUT_S), *self._arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
                start_new_session=True,
            )
        self._wait_until_ready()

    def kill(self) -> None:
        """Send SIGKILL: no goodbye, no flush."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int:
        """Send SIGTERM and wait; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends on its own (say, at a crash point); return its exit code."""
        assert self._process is not None
        return self._process.wait(STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Restart it with the same home and port but no crash point; kill it first if it runs."""
        if self.is_running:
            self.kill()
        self.crash_point = None
        self.start()

    def pause(self) -> None:
        """Send SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def check_histories(self) -> None:
        """Check the history of every run (see history.py); start the service if it has ended."""
        if not self.check_history:
            return
        if not self.is_running:
            self.restart()
        check_all_histories(self.channel, token=self._watch_token)

    def end(self) -> None:
        """End the service in any state."""
        if "channel" in self.__dict__:
            self.channel.close()
        if self.is_running:
            self.kill()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            found = read_service_file(self.home)
            if found is not None and found["pid"] == self.pid:
                break
            code = self._process.poll() if self._process else None
            assert code is None, f"the service ended with code {code}:\n{self.log}"
            assert time.monotonic() < deadline, f"the service did not start in time:\n{self.log}"
            time.sleep(POLL_S)
        tcp = next(text for text in found["addresses"] if not text.startswith("unix:"))
        self.port = int(tcp.rpartition(":")[2])
        grpc.channel_ready_future(self.channel).result(START_TIMEOUT_S)
        if self.check_history and not self._watch_token:
            self._watch_token = watch_from_here(self.channel)


def read_service_file(home: Path) -> dict[str, Any] | None:
    """Return the contents of the service file of a home, or None if it is missing (yet)."""
    try:
        found = json.loads((home / SERVICE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def end_local_service(home: Path) -> None:
    """End the local services that flows started in the home, by their ids.

    There may be a second one: a program was killed while it started its service, which came up
    after that of the next program had ended.
    """
    found = read_service_file(home)
    if found is None:
        return
    for pid in (int(found["pid"]), *_local_services(home)):
        _end(pid)


def _local_services(home: Path) -> Iterator[int]:
    """Yield the process ids of the local services of a home; none where there is no /proc."""
    wanted = str(home).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = path.read_bytes().split(b"\0")
            if b"flowspan_service" in arguments and wanted in arguments:
                yield int(path.parent.name)


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            # Reap it if it is a child of this process; otherwise that is not possible.
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.kill(pid, 0)
            time.sleep(POLL_S)
        os.kill(pid, signal.SIGKILL)
