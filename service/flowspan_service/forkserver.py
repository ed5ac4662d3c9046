"""Services for tests, forked from one process that has already loaded all modules.

``python -m flowspan_service.forkserver`` reads one JSON object per line from standard input:

- ``{"id": 1, "home": "/path", "arguments": ["--no-tcp"]}`` starts a service in a new home, with the
  flags of the service. The answer, on standard output: ``{"id": 1, "addresses": […], "pid": 7}``
  once it is ready.
- ``{"id": 1}`` kills it and removes its home. The answer, ``{"id": 1, "code": -9, "log": "…"}``, is
  also sent if the service ends unasked.

Each database starts as a copy of an empty one, which is faster than a migration. When standard
input ends, and with it the requesting process, services are killed and homes removed. The services
also end if this process is killed.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from flowspan_service.config import load
from flowspan_service.main import main
from flowspan_service.process.clock import SystemClock
from flowspan_service.process.private_files import keep_files_private
from flowspan_service.stores import open_store

DATABASE = "flowspan.db"
LOG = "service.log"
_LOG_CHARACTERS = 2000  # an answer fits into one atomic write to a pipe


class ForkServer:
    """Forks services, and ends them.

    Args:
        answers: The descriptor for the answers.
    """

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._template = Path(tempfile.mkdtemp(prefix="flowspan-template-"))
        self._homes: dict[int, Path] = {}
        self._process_ids: dict[int, int] = {}
        # Each child reads its end, which is closed when this process ends.
        self._lifeline, self._held_by_us = os.pipe()
        self._wake_reader, self._wake_writer = os.pipe()
        for end in (self._wake_reader, self._wake_writer):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Handle requests until standard input ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        try:
            self._load_everything()
            rest = b""
            while True:
                ready, _, _ = select.select([0, self._wake_reader], (), ())
                if self._wake_reader in ready:
                    os.read(self._wake_reader, 4096)
                    self._reap()
                if 0 in ready:
                    data = os.read(0, 1 << 16)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._do(json.loads(line))
        finally:
            self._end_all()

    def _load_everything(self) -> None:
        """Create the template database, which loads all modules of a service."""
        open_store(f"sqlite:///{self._template / DATABASE}", clock=SystemClock()).close()
        gc.collect()
        gc.freeze()

    def _do(self, request: dict[str, Any]) -> None:
        if "home" in request:
            self._start(int(request["id"]), Path(request["home"]), request["arguments"])
        else:
            self._stop(int(request["id"]))

    def _start(self, number: int, home: Path, arguments: list[str]) -> None:
        self._homes[number] = home
        shutil.copyfile(self._template / DATABASE, home / DATABASE)
        process_id = os.fork()
        if not process_id:
            self._be_a_service(number, home, arguments)
        self._process_ids[number] = process_id

    def _stop(self, number: int) -> None:
        process_id = self._process_ids.get(number)
        if process_id is not None:  # else its end was already reported
            os.kill(process_id, signal.SIGKILL)
            self._ended(number, os.waitpid(process_id, 0)[1])
        shutil.rmtree(self._homes.pop(number, ""), ignore_errors=True)

    def _reap(self) -> None:
        """Report the services that ended without a request."""
        for number, process_id in list(self._process_ids.items()):
            found, status = os.waitpid(process_id, os.WNOHANG)
            if found:
                self._ended(number, status)

    def _ended(self, number: int, status: int) -> None:
        del self._process_ids[number]
        try:
            log = (self._homes[number] / LOG).read_text(errors="replace")[-_LOG_CHARACTERS:]
        except OSError as error:
            log = f"(unreadable: {error})"
        self._answer({"id": number, "code": os.waitstatus_to_exitcode(status), "log": log})

    def _answer(self, content: dict[str, Any]) -> None:
        os.write(self._answers, json.dumps(content).encode() + b"\n")

    def _end_all(self) -> None:
        for process_id in self._process_ids.values():
            os.kill(process_id, signal.SIGKILL)
        for process_id in self._process_ids.values():
            os.waitpid(process_id, 0)
        for home in (*self._homes.values(), self._template):
            shutil.rmtree(home, ignore_errors=True)

    # In the child.

    def _be_a_service(self, number: int, home: Path, arguments: list[str]) -> NoReturn:
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._held_by_us, self._wake_reader, self._wake_writer):
                os.close(end)
            _redirect(home / LOG)
            threading.Thread(target=self._die_with_parent, daemon=True).start()

            def announce(addresses: list[str]) -> None:
                self._answer({"id": number, "addresses": addresses, "pid": os.getpid()})

            config = load(["--home", str(home), *arguments], {})
            code = main(config, on_ready=announce)
        except BaseException:  # noqa: BLE001 - it must not continue as the parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _die_with_parent(self) -> None:
        os.read(self._lifeline, 1)
        os._exit(71)


def _redirect(log: Path) -> None:
    """Redirect the child's standard input to nothing and its output to a log."""
    nothing = os.open(os.devnull, os.O_RDWR)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(nothing)
    os.close(file)


if __name__ == "__main__":
    # Prints must not come between the answers.
    keep_files_private()
    answers_to = os.dup(1)
    os.dup2(2, 1)
    ForkServer(answers_to).serve()
