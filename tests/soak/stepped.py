"""Run a module or a script with a wall clock that another process moves.

`python -m tests.soak.stepped FILE (-m MODULE | SCRIPT) ARGUMENTS…`: FILE has 8 bytes, the seconds
by which the wall clock is ahead, and may change at any time.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

_SECONDS = struct.Struct("<d")


def write_step(path: Path, seconds: float) -> None:
    """Move the wall clock of all processes that use the file."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(_SECONDS.pack(seconds))


def _step_clock(path: str) -> None:
    with Path(path).open("rb") as file:
        memory = mmap.mmap(file.fileno(), _SECONDS.size, access=mmap.ACCESS_READ)
    real_s, real_ns = time.clock_gettime, time.clock_gettime_ns

    def ahead_s() -> float:
        return float(_SECONDS.unpack_from(memory)[0])

    def clock_gettime(clock: int) -> float:
        return real_s(clock) + (ahead_s() if clock == time.CLOCK_REALTIME else 0.0)

    def clock_gettime_ns(clock: int) -> int:
        return real_ns(clock) + (int(ahead_s() * 1e9) if clock == time.CLOCK_REALTIME else 0)

    time.clock_gettime = clock_gettime
    time.clock_gettime_ns = clock_gettime_ns
    time.time = lambda: clock_gettime(time.CLOCK_REALTIME)
    time.time_ns = lambda: clock_gettime_ns(time.CLOCK_REALTIME)


def _main() -> None:
    _, file, *rest = sys.argv
    _step_clock(file)
    if rest[0] == "-m":
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = rest
        runpy.run_path(rest[0], run_name="__main__")


if __name__ == "__main__":
    _main()
