"""Peak memory of a process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def forget_peak(pid: int) -> None:
    """Reset the peak of another process of this user (Linux only)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int | None = None) -> int:
    """Return the peak resident memory in MiB: of this process or, on Linux, of another one.

    On Linux, ru_maxrss is unusable: a process inherits the peak of its parent.
    """
    if sys.platform == "linux":
        lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20
