"""Small and read-only disks, where the system allows mounting them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def small_disk(folder: Path, *, size_kib: int = 1024, read_only: bool = False) -> Iterator[None]:
    """Mount a small in-memory disk over an empty folder. Skip the test if that is not allowed."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mounting a small disk needs Linux's tmpfs")
    options = f"size={size_kib}k,{'ro' if read_only else 'rw'}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: processes with open files may use the disk until they end.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    """Remount the disk of `small_disk` as read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
