"""Services for harnesses: one process that has all loaded, and forks one for each.

See `flowspan_service.forkserver` for what is said to it. It ends with this process, however that
ends, and all services with it.
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
    """A service that runs.

    Attributes:
        number: What it is called by.
        home: Its home.
        address: Where it listens.
        process_id: Its process.
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
            # Not in a session of its own by chance: Ctrl-C is for the tests.
            start_new_session=True,
            env=_environment(),
        )
        assert self._process.stdin is not None  # noqa: S101 - they are pipes
        assert self._process.stdout is not None  # noqa: S101 - as above
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._numbers = count(1)
        self._received = b""
        self._lock = threading.Lock()

    @property
    def is_usable(self) -> bool:
        """True if it runs, and belongs to this process and not to one that forked it."""
        return self.owner_id == os.getpid() and self._process.poll() is None

    def start(self, home: Path) -> Service:
        """Start a service in a new home."""
        number = next(self._numbers)
        request = {"id": number, "home": str(home), "arguments": _ARGUMENTS}
        try:
            with self._lock:
                answer = self._ask(number, request)
        except BaseException:  # Ctrl-C: nobody would know of it
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
        """Kill a service; its home is removed."""
        with self._lock, contextlib.suppress(LocalServiceError):
            while "code" not in self._ask(service.number, {"id": service.number}):
                continue

    def end(self) -> None:
        """End the process, and all services with it."""
        self._requests.close()
        if self.owner_id == os.getpid():
            until_s = clock.monotonic() + _END_TIMEOUT_S
            while clock.wait_readable(self._answers.fileno(), until_s - clock.monotonic()):
                if not os.read(self._answers.fileno(), 1 << 16):
                    self._process.wait()
                    break
        self._answers.close()

    def forget(self) -> None:
        """In a forked child: let go of the pipes, which would keep the services alive."""
        # By their descriptors: another thread of the parent may have held the buffers' locks.
        for pipe in (self._requests, self._answers):
            os.close(pipe.fileno())

    def _ask(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request; return the next answer about that service."""
        try:
            self._send(request)
            while True:
                answer = self._next()
                if answer["id"] == number:
                    return answer
        except (OSError, EOFError) as error:
            raise LocalServiceError(
                "the process that starts services for tests has ended; its output on standard "
                "error says why"
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
    """The environment for the services: without settings for the user's own."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("FLOWSPAN_", "OTEL_", "COV_CORE_"))
    }


_server: _ForkServer | None = None
_lock = threading.Lock()


def start_service() -> Service:
    """Start a service in a home of its own.

    Raises:
        LocalServiceError: It did not start.
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
    """Kill a service, and remove its home. A service that has ended is none to worry about."""
    server = _server
    if server is not None and server.is_usable:
        server.stop(service)
    if server is None or server.owner_id == os.getpid():
        shutil.rmtree(service.home, ignore_errors=True)


def _short_folder() -> str | None:
    """The folder for homes: the path of a Unix socket has room for about 100 bytes."""
    longest = 50
    if len(tempfile.gettempdir()) > longest and os.access("/tmp", os.W_OK):  # noqa: S108 - mkdtemp makes it safe
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
