"""How much memory a process has had at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def forget_peak(pid: int) -> None:
    """Let the peak of another process of this user begin anew (Linux alone)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int | None = None) -> int:
    """The most resident memory so far, in MiB: of this process, or on Linux of another one.

    On Linux, ru_maxrss is no measure of it: a process inherits the peak of the one that started it.
    """
    if sys.platform == "linux":
        lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20
