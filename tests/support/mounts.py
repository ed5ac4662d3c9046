"""Small and read-only disks, where the system lets us have one."""

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
    """Mounts a disk of that size, in memory, over an empty folder. Skips the test if it cannot."""
    if not sys.platform.startswith("linux"):
        pytest.skip("a small disk is made with Linux's tmpfs")
    options = f"size={size_kib}k,{'ro' if read_only else 'rw'}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: what still holds a file there may go on until it ends.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    """From now on, nobody may write to the disk that `small_disk` has mounted there."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
