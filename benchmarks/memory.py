"""Memory of a process and its children."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_S = 0.1


class Peak:
    """The peak resident memory.

    Attributes:
        size_bytes: The size in bytes; set at the end of the watch.
    """

    size_bytes: int = 0


@contextlib.contextmanager
def watch_peak(process_id: int) -> Iterator[Peak]:
    """Measure a process's peak memory during the block; poll if the system does not track it."""
    peak = Peak()
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(POLL_S):
            peak.size_bytes = max(peak.size_bytes, resident_bytes(process_id))

    poller = threading.Thread(target=poll, daemon=True)
    if sys.platform != "linux":
        poller.start()
    try:
        yield peak
    finally:
        ended.set()
        if poller.is_alive():
            poller.join()
        peak.size_bytes = max(peak.size_bytes, peak_bytes(process_id) or 0)


def resident_bytes(process_id: int) -> int:
    """Return the current resident memory of a process and its descendants."""
    rows = _process_table()
    family = {process_id}
    # A child may precede its parent in the table.
    while True:
        found = {pid for pid, (parent, _) in rows.items() if parent in family} - family
        if not found:
            return sum(rows[pid][1] for pid in family if pid in rows)
        family |= found


def peak_bytes(process_id: int) -> int | None:
    """Return the peak resident memory of the process; None if the system does not track it."""
    if sys.platform != "linux":
        return None
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _process_table() -> dict[int, tuple[int, int]]:
    """Return the parent's id and the resident bytes by process id."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss="], check=True, capture_output=True, text=True
    ).stdout
    table = {}
    for line in listing.splitlines():
        pid, parent, kilobytes = (int(field) for field in line.split())
        table[pid] = (parent, kilobytes * 1024)
    return table
