"""The `flowspan` command: in this process, in one of its own, or on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fcntl import ioctl
from typing import TYPE_CHECKING, Any, TextIO
from unittest import mock

from flowspan.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TIMEOUT_S = 60.0
COMMAND = (sys.executable, "-m", "flowspan")
# Ctrl-C needs a controlling terminal. It is not taken in a preexec_fn, for which Python forks in
# full: grpcio's threads start anew in the child, and abort it before its exec (grpc issue 43055).
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[Any]:
        """The JSON objects that it printed, one a line."""
        return [json.loads(line) for line in self.lines]


def flowspan(
    *arguments: str,
    code: int | None = 0,
    env: Mapping[str, str] | None = None,
    out: TextIO | None = None,
) -> Outcome:
    """Runs the command in this process, as if with its output in pipes: a second of work less.

    Args:
        arguments: The command line.
        code: The exit code that is expected; None stands for any.
        env: Further environment variables.
        out: What stands for standard output; by default what the outcome tells.

    Raises:
        AssertionError: It ended with another code than expected; None stands for any.
    """
    printed, err, ended = io.StringIO(), io.StringIO(), None
    stdout = printed if out is None else out
    with mock.patch.dict(os.environ, env or {}), redirect_stdout(stdout), redirect_stderr(err):
        try:
            app(args=list(arguments), prog_name="flowspan")
        except SystemExit as exit_:
            ended = exit_.code
    outcome = Outcome(int(ended or 0), printed.getvalue(), err.getvalue())
    assert code is None or outcome.code == code, outcome
    return outcome


def flowspan_process(
    *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None
) -> Outcome:
    """The same in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
        timeout=TIMEOUT_S,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert code is None or outcome.code == code, outcome
    return outcome


def on_terminal(
    command: Sequence[str],
    *,
    columns: int = 80,
    rows: int = 24,
    env: Mapping[str, str] | None = None,
    when: tuple[str, Callable[[], bytes]] = ("", bytes),
) -> Outcome:
    """Runs a program on a terminal of its own; `out` has all that it wrote there.

    Args:
        command: The program and its arguments.
        columns: The width of the terminal.
        rows: Its height.
        env: Further environment variables.
        when: When this text has appeared, the function is called, once; what it returns is typed:
            b"\\x03" is Ctrl-C.
    """
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *command],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**clean, "TERM": "xterm-256color", **(env or {})},
        start_new_session=True,
    )
    os.close(follower)
    try:
        written = _read_all(leader, process, *when)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(leader)
    return Outcome(process.returncode, written.replace("\r\n", "\n"), "")


def _read_all(leader: int, process: subprocess.Popen, text: str, act: Callable[[], bytes]) -> str:
    written = b""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        assert time.monotonic() < deadline, f"the program does not end:\n{written.decode()}"
        ready, _, _ = select.select([leader], [], [], 0.1)
        if not ready:
            if process.poll() is not None:
                return written.decode()
            continue
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux: everything that had it open has ended
            piece = b""
        if not piece:
            process.wait(TIMEOUT_S)
            return written.decode()
        written += piece
        if text and text in written.decode(errors="replace"):
            os.write(leader, act())
            text = ""
