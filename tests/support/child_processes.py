"""Subprocesses that die with the test process, even if it is killed."""

from __future__ import annotations

import functools
import shutil
import subprocess


@functools.cache
def dying_with_us(signal_name: str = "KILL") -> tuple[str, ...]:
    """Return a prefix for a command line; empty where the system has no support (only Linux has
    it).

    The command keeps its process id. It gets the signal when the *thread* that started it ends
    (prctl(2), PR_SET_PDEATHSIG): start it in a thread that lives long enough.
    """
    program = shutil.which("setpriv")
    if program is None:
        return ()
    before = (program, "--pdeathsig", signal_name, "--")
    works = subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0
    return before if works else ()
