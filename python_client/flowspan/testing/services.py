"""Services for harnesses, forked from one preloaded process.

`flowspan_service.forkserver` describes the protocol. The fork server and all its services end
with this process, even if it is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from flowspan import clock
from flowspan.exceptions import LocalServiceError

START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0
_ARGUMENTS = ("--embedded", "--no-tcp")


class Service(NamedTuple):
    """A running service.

    Attributes:
        number: The number that identifies it to the fork server.
        home: Its home folder.
        address: Its address.
        process_id: Its process id.
    """

    number: int
    home: Path
    address: str
    process_id: int


class _ForkServer:
    """The process that forks services."""

    def __init__(self) -> None:
        self.owner_id = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flowspan_service.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A session of its own, so that Ctrl-C reaches only the tests.
            start_new_session=True,
            env=_environment(),
        )
        assert self._process.stdin is not None  # noqa: S101 - opened as pipes
        assert self._process.stdout is not None  # noqa: S101 - as above
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._numbers = count(1)
        self._received = b""
        self._lock = threading.Lock()

    @property
    def is_usable(self) -> bool:
        """True if the process is running and this process, not a forking parent, started it."""
        return self.owner_id == os.getpid() and self._process.poll() is None

    def start(self, home: Path) -> Service:
        """Start a service in a new home."""
        number = next(self._numbers)
        request = {"id": number, "home": str(home), "arguments": _ARGUMENTS}
        try:
            with self._lock:
                answer = self._ask(number, request)
        except BaseException:  # after Ctrl-C, the service would be orphaned
            with contextlib.suppress(OSError):
                self._send({"id": number})
            raise
        if "addresses" not in answer:
            raise LocalServiceError(
                f"the service for the test did not start (code {answer['code']}). "
                f"The end of its log:\n{answer['log']}"
            )
        return Service(number, home, answer["addresses"][0], answer["pid"])

    def stop(self, service: Service) -> None:
        """Kill a service. The fork server removes its home."""
        with self._lock, contextlib.suppress(LocalServiceError):
            while "code" not in self._ask(service.number, {"id": service.number}):
                continue

    def end(self) -> None:
        """End the process and all its services."""
        self._requests.close()
        if self.owner_id == os.getpid():
            until_s = clock.monotonic() + _END_TIMEOUT_S
            while clock.wait_readable(self._answers.fileno(), until_s - clock.monotonic()):
                if not os.read(self._answers.fileno(), 1 << 16):
                    self._process.wait()
                    break
        self._answers.close()

    def forget(self) -> None:
        """Close the pipes in a forked child, where they would keep the services alive."""
        # Close descriptors, not buffers: another thread of the parent may have held the
        # buffers' locks.
        for pipe in (self._requests, self._answers):
            os.close(pipe.fileno())

    def _ask(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request; return the next answer about the same service."""
        try:
            self._send(request)
            while True:
                answer = self._next()
                if answer["id"] == number:
                    return answer
        except (OSError, EOFError) as error:
            raise LocalServiceError(
                "the process that starts services for tests has ended. See its output on standard "
                "error"
            ) from error

    def _send(self, request: dict[str, Any]) -> None:
        self._requests.write(json.dumps(request).encode() + b"\n")
        self._requests.flush()

    def _next(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            if not clock.wait_readable(self._answers.fileno(), START_TIMEOUT_S):
                raise LocalServiceError(
                    f"the service for the test was not ready after {START_TIMEOUT_S:g} s"
                )
            data = os.read(self._answers.fileno(), 1 << 16)
            if not data:
                raise EOFError
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _environment() -> dict[str, str]:
    """Return the environment for services, without the user's own settings."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("FLOWSPAN_", "OTEL_", "COV_CORE_"))
    }


_server: _ForkServer | None = None
_lock = threading.Lock()


def start_service() -> Service:
    """Start a service in a new home.

    Raises:
        LocalServiceError: The service did not start.
    """
    global _server  # noqa: PLW0603 - one per process
    with _lock:
        if _server is None or not _server.is_usable:
            before, _server = _server, None
            if before is not None:
                before.end()
            _server = _ForkServer()
        server = _server
    home = Path(tempfile.mkdtemp(prefix="flowspan-test-", dir=_short_folder()))
    try:
        return server.start(home)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise


def stop_service(service: Service) -> None:
    """Kill a service and remove its home. It is a no-op if the service has already ended."""
    server = _server
    if server is not None and server.is_usable:
        server.stop(service)
    if server is None or server.owner_id == os.getpid():
        shutil.rmtree(service.home, ignore_errors=True)


def _short_folder() -> str | None:
    """Return a folder with a short path: Unix socket paths are limited to about 100 bytes."""
    longest = 50
    if len(tempfile.gettempdir()) > longest and os.access("/tmp", os.W_OK):  # noqa: S108 - used with mkdtemp
        return "/tmp"  # noqa: S108 - as above
    return None


def _at_exit() -> None:
    if _server is not None:
        _server.end()


def _after_fork() -> None:
    global _server, _lock  # noqa: PLW0603 - one per process
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
    _server = None


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
