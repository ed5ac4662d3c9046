"""The command `flowspan` as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 120.0
COMMAND = str(Path(sys.executable).with_name("flowspan"))


def run_cli(*arguments: str, address: str | None = None, expected_code: int = 0) -> str:
    """Run `flowspan` in the test's home; return its output, or its error output if `code` is not 0.

    Raises:
        AssertionError: The command exited with an unexpected code, or printed a traceback.
    """
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    if address is not None:
        env["FLOWSPAN_ADDRESS"] = address
    done = subprocess.run(
        [COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == expected_code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if expected_code == 0 else done.stderr
