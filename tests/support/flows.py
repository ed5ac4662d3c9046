"""Flows in processes of their own, for tests that kill them, pause them or watch from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

from tests.support.dying import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_S = 120.0


class FlowProcess:
    """Python code in a process of its own. Use it as a context: its end ends the process.

    Args:
        code: The program; indented as you like.
        home: Its FLOWSPAN_HOME.
        address: Its FLOWSPAN_ADDRESS; a local service is started if None.
        env: Further environment variables.
    """

    def __init__(
        self,
        code: str,
        *,
        home: Path,
        address: str | None = None,
        env: Mapping[str, str] | None = None,
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
            [*dying_with_us(), sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**variables, **(env or {})},
            text=True,
            errors="replace",
        )
        # Read all the time, so that the program never waits for a full pipe.
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def __enter__(self) -> FlowProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return "".join(self._errors)

    def wait_for_line(self, text: str) -> str:
        """Reads its output up to a line with the text, and returns that.

        Raises:
            AssertionError: It ended without; the message has its output.
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
        """Writes a line to its stdin: programs wait for it with input()."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self, *, expected_code: int | None = 0) -> str:
        """Waits for its end and returns all that it printed.

        Raises:
            AssertionError: It ended with another code than expected; None stands for any.
        """
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        output = "".join(self.lines)
        if expected_code is not None:
            assert code == expected_code, f"ended with {code}:\n{output}\n{self.errors}"
        return output

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def end(self) -> None:
        """Ends it, however it stands, and closes its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was said to it after its end
                    continue

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
    expected_code: int | None = 0,
) -> str:
    """Runs a program to its end and returns what it printed (see FlowProcess)."""
    with FlowProcess(code, home=home, address=address, env=env) as process:
        return process.finish(expected_code=expected_code)
