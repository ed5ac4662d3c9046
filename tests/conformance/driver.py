"""The process of a driver: sends it commands and collects its answers."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.support.child_processes import dying_with_us

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conformance.languages import Language

WAIT_S = 60.0
SHOWN_CHARACTERS = 4000


class Driver:
    """A running driver; use it as a context manager: leaving it ends the process.

    Args:
        language: Its language.
        home: Its FLOWSPAN_HOME.
        address: The address of the service.
        env: Further environment variables.
    """

    def __init__(
        self, language: Language, *, home: Path, address: str, env: Mapping[str, str]
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._ids = count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._flows: dict[str, int] = {}
        self._marks: set[str] = set()
        self._news = threading.Condition()
        self._errors: list[str] = []
        self._strange: list[str] = []
        self._process = subprocess.Popen(
            [*dying_with_us(), *language.driver_command()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={
                **os.environ,
                "FLOWSPAN_HOME": str(home),
                "FLOWSPAN_ADDRESS": address,
                "PYTHONUTF8": "1",
                **env,
            },
        )
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(WAIT_S)
        self._join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:  # a command was written after the process had ended
                continue

    @property
    def errors(self) -> str:
        """The end of what it wrote to standard error so far."""
        return "".join(self._errors)[-SHOWN_CHARACTERS:]

    def start(self, flow: dict[str, Any]) -> None:
        """Start a flow in the background."""
        self._flows[flow["flow"]] = self._say(start=flow)

    def finish(self, flow: str) -> dict[str, Any]:
        """Wait until a flow has ended; return its last state."""
        number = self._flows[flow]
        self._wait(lambda: number in self._answers, f"the end of {flow}")
        answer = self._answers[number]
        assert "ok" in answer, f"{flow}: {answer}\n{self.errors}"
        found: dict[str, Any] = answer["ok"]
        return found

    def open(self, gate: str) -> None:
        """Open a gate."""
        number = self._say(open=gate)
        self._wait(lambda: number in self._answers, f"the answer to open {gate}")

    def await_mark(self, mark: str) -> None:
        """Wait until a body has come to a mark."""
        self._wait(lambda: mark in self._marks, f"the mark {mark}")

    def close(self, expected_code: int = 0) -> None:
        """Ask the driver to close its client and to exit, and wait until it has."""
        self._say(close={})
        code = self._process.wait(WAIT_S)
        self._join()
        assert code == expected_code, f"the driver ended with {code}:\n{self.errors}"
        assert not self._strange, f"not an answer: {self._strange}"

    def _say(self, **command: Any) -> int:
        number = next(self._ids)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, **command}) + "\n")
        self._process.stdin.flush()
        return number

    def _wait(self, condition: Any, what: str) -> None:
        with self._news:
            found = self._news.wait_for(lambda: condition() or self._has_ended(), WAIT_S)
            assert found, f"the test waits for {what}:\n{self.errors}"
            assert condition(), f"the driver ended before {what}:\n{self.errors}"

    def _has_ended(self) -> bool:
        return self._process.poll() is not None and not self._readers[0].is_alive()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(WAIT_S)

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                self._strange.append(line)
                continue
            with self._news:
                if "mark" in answer:
                    self._marks.add(answer["mark"])
                elif "started" not in answer:
                    self._answers[answer["id"]] = answer
                self._news.notify_all()
        # The process closed its output: whoever waits must look whether it has ended.
        self._process.wait(WAIT_S)
        threading.Thread(target=self._say_that_it_ended, daemon=True).start()

    def _say_that_it_ended(self) -> None:
        self._readers[0].join(WAIT_S)
        with self._news:
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)
