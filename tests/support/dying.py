"""Lets what a test starts end with the test's process, also when that is killed."""

from __future__ import annotations

import functools
import shutil
import subprocess


@functools.cache
def dying_with_us(signal_name: str = "KILL") -> tuple[str, ...]:
    """What to put before a command; nothing where the system cannot do that (only Linux can).

    The command keeps its process id. It gets the signal when the *thread* that started it ends
    (prctl(2), PR_SET_PDEATHSIG): start it in one that stays.
    """
    program = shutil.which("setpriv")
    if program is None:
        return ()
    before = (program, "--pdeathsig", signal_name, "--")
    works = subprocess.run([*before, "true"], capture_output=True, check=False).returncode == 0
    return before if works else ()
