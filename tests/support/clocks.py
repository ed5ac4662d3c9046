"""A wall clock that a test sets for its programs, as NTP or an administrator would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CUSTOMIZE = """
import time

_real_ns = time.time_ns

def _ahead_ns():
    try:
        with open({path!r}) as file:
            return int(file.read() or "0")
    except OSError:
        return 0

time.time_ns = lambda: _real_ns() + _ahead_ns()
time.time = lambda: time.time_ns() / 1e9
"""


class WallClock:
    """The wall clock of the Python programs that are started with `env`.

    Args:
        folder: The folder for its files; created if missing.
        ahead_s: Initial offset from the machine's clock, in seconds.
    """

    def __init__(self, folder: Path, *, ahead_s: float = 0.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "ahead-ns"
        (folder / "sitecustomize.py").write_text(_CUSTOMIZE.format(path=str(self._file)))
        others = os.environ.get("PYTHONPATH")
        self.env = {"PYTHONPATH": os.pathsep.join([str(folder), *([others] if others else [])])}
        self.set(ahead_s)

    def set(self, ahead_s: float) -> None:
        """Set the clock, effective immediately."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(round(ahead_s * 1e9)))
        draft.replace(self._file)
