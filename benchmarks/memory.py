"""How much memory a process and its children hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def resident_bytes(process_id: int) -> int:
    """The resident memory of a process and its descendants, now."""
    rows = _process_table()
    family = {process_id}
    # Parents may stand behind their children in the table.
    while True:
        found = {pid for pid, (parent, _) in rows.items() if parent in family} - family
        if not found:
            return sum(rows[pid][1] for pid in family if pid in rows)
        family |= found


def peak_bytes(process_id: int) -> int | None:
    """The most resident memory that the process has held; None where the system does not say."""
    if sys.platform != "linux":
        return None
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _process_table() -> dict[int, tuple[int, int]]:
    """By process id: the parent's id and the resident bytes."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss="], check=True, capture_output=True, text=True
    ).stdout
    table = {}
    for line in listing.splitlines():
        pid, parent, kilobytes = (int(field) for field in line.split())
        table[pid] = (parent, kilobytes * 1024)
    return table
