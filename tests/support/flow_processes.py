"""Flows in subprocesses, for tests that kill them, pause them or watch from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.child_processes import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_S = 120.0
SETTLING_S = 2.0
STEADY_S = 0.1
"""A thread that sleeps and uses no CPU time for this long has reached its blocking call."""


class FlowProcess:
    """Python code in a subprocess. Use it as a context manager: leaving it ends the process.

    Args:
        code: The program, with any indentation.
        home: Its FLOWSPAN_HOME.
        address: Its FLOWSPAN_ADDRESS; if None, it starts a local service.
        env: Further environment variables.
        launcher: Arguments between Python and the program.
    """

    def __init__(
        self,
        code: str,
        *,
        home: Path,
        address: str | None = None,
        env: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, "FLOWSPAN_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        if address is not None:
            variables["FLOWSPAN_ADDRESS"] = address
        script = home / f"program-{os.urandom(4).hex()}.py"
        script.write_text(textwrap.dedent(code))
        self.lines: list[str] = []
        self._errors: list[str] = []
        self.process = subprocess.Popen(
            [*dying_with_us(), sys.executable, *launcher, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**variables, **(env or {})},
            text=True,
            errors="replace",
        )
        # Read continuously, so that the program never blocks on a full pipe.
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def __enter__(self) -> FlowProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def errors(self) -> str:
        """The stderr output so far."""
        return "".join(self._errors)

    def wait_for_line(self, text: str) -> str:
        """Read the output until a line contains the text; return that line.

        Raises:
            AssertionError: The program ended first; the message has its output.
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line.rstrip("\n")
        self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        msg = f"no line with {text!r}:\n{''.join(self.lines)}\n{self.errors}"
        raise AssertionError(msg)

    def say(self, line: str) -> None:
        """Write a line to stdin; programs wait for it with input()."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self, *, expected_code: int | None = 0) -> str:
        """Wait for the end of the process; return its whole output.

        Raises:
            AssertionError: The process exited with another code than expected; None accepts any.
        """
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        output = "".join(self.lines)
        if expected_code is not None:
            assert code == expected_code, f"ended with {code}:\n{output}\n{self.errors}"
        return output

    def send_signal(self, number: int) -> None:
        """Send a signal once the main thread sleeps.

        Python loses a signal that arrives between its last look at signals and a system call that
        blocks: the handler runs when the call returns. So a program that has said that it is about
        to block needs a moment before the signal.
        """
        deadline = time.monotonic() + SETTLING_S
        before = None
        while time.monotonic() < deadline:
            state = self._main_thread()
            if state == before and state[0] == "S":
                break
            before = state
            time.sleep(STEADY_S)
        self.process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def end(self) -> None:
        """End the process in any state, and close its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # Input written after the process ended.
                    continue

    def _main_thread(self) -> tuple[str, ...]:
        """Return the state of the main thread and its CPU time, or an unsteady state."""
        try:
            line = Path(f"/proc/{self.pid}/task/{self.pid}/stat").read_text(encoding="utf-8")
        except OSError:  # not Linux, or the process has ended
            return ("?",)
        fields = line.rpartition(")")[2].split()
        return fields[0], *fields[11:13]

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line)


def run_code(
    code: str,
    *,
    home: Path,
    address: str | None = None,
    env: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
    expected_code: int | None = 0,
) -> str:
    """Run a program to its end; return its output (see FlowProcess)."""
    with FlowProcess(code, home=home, address=address, env=env, launcher=launcher) as process:
        return process.finish(expected_code=expected_code)
