"""The processes of this machine: whether one that was seen still exists.

The id of a process is used again by later processes. A mark distinguishes them: the boot of the
machine, and the time at which the process started. Only Linux tells it (proc(5)). Elsewhere, and
for a process that is not visible here, such as one in another container, nothing is known.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_STARTED_AT, _STATE_AT = 19, 0
"""The places in /proc/ID/stat, counted from the field after the name of the program."""
_ENDED = ("Z", "X")
"""The states of a process that has ended, and whose parent has not noticed."""


def mark_of(process_id: int, hostname: str) -> str:
    """Return the mark of a process that is alive; empty if this process cannot see it.

    Args:
        process_id: Its id.
        hostname: The name of its host.
    """
    if process_id <= 0 or hostname != socket.gethostname():
        return ""
    try:
        if (_PROC / str(process_id)).stat().st_uid != os.geteuid():
            return ""  # a process that happens to have this id here
    except OSError:
        return ""
    return _mark(process_id)


def exists(process_id: int, hostname: str, mark: str) -> bool | None:
    """Return True if a process still exists; None if that is unknown.

    Args:
        process_id: Its id.
        hostname: The name of its host.
        mark: Its mark (`mark_of`).
    """
    if not mark or hostname != socket.gethostname() or not _boot():
        return None
    return _mark(process_id) == mark


def _mark(process_id: int) -> str:
    try:
        text = (_PROC / str(process_id) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    # The name of the program is in parentheses, and may contain some.
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _STARTED_AT or fields[_STATE_AT] in _ENDED or not _boot():
        return ""
    return f"{_boot()}/{fields[_STARTED_AT]}"


@cache
def _boot() -> str:
    """Return the id of this boot of the machine; empty if the system has none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
