"""How much memory this process has had at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_mib() -> int:
    """The most resident memory so far, in MiB.

    On Linux, ru_maxrss is no measure of it: a process inherits the peak of the one that started it.
    """
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20
