"""Helpers that run the `flowspan` command: in this process, in a subprocess, or on a terminal."""

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
# Ctrl-C needs a controlling terminal. It is not set up in a preexec_fn: that makes Python use fork,
# after which grpcio's threads restart in the child and abort it before its exec (grpc issue 43055).
_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Outcome:
    """The output and the exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[Any]:
        """Return the JSON objects that it printed, one per line."""
        return [json.loads(line) for line in self.lines]


def flowspan(
    *arguments: str,
    code: int | None = 0,
    env: Mapping[str, str] | None = None,
    out: TextIO | None = None,
) -> Outcome:
    """Run the command in this process, as if its output were piped. Saves a second per call.

    Args:
        arguments: The command line.
        code: The expected exit code; None accepts any.
        env: Further environment variables.
        out: The stream to use as standard output; by default it is captured in the outcome.

    Raises:
        AssertionError: The command exited with an unexpected code.
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
    """Run the command in a subprocess; otherwise like `flowspan`."""
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
    """Run a program on its own terminal; `out` holds everything it wrote there.

    Args:
        command: The program and its arguments.
        columns: The width of the terminal.
        rows: The height of the terminal.
        env: Further environment variables.
        when: A text and a function. When the text appears, the function is called once, and its
            return value is typed: b"\\x03" is Ctrl-C.
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
        assert time.monotonic() < deadline, f"the program did not end in time:\n{written.decode()}"
        ready, _, _ = select.select([leader], [], [], 0.1)
        if not ready:
            if process.poll() is not None:
                return written.decode()
            continue
        try:
            piece = os.read(leader, 65536)
        # On Linux, this means that every process with the terminal open has ended.
        except OSError:
            piece = b""
        if not piece:
            process.wait(TIMEOUT_S)
            return written.decode()
        written += piece
        if text and text in written.decode(errors="replace"):
            os.write(leader, act())
            text = ""
