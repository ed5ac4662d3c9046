"""The test environment: processes that tests start end with them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.child_processes import dying_with_us
from tests.support.flow_processes import FlowProcess

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 60.0

CODE = """
    import sys
    from pathlib import Path
    from tests.support.service import ServiceProcess

    service = ServiceProcess(home=Path(sys.argv[0]).parent / "service", check_history=False)
    service.start()
    print("pid", service.pid, flush=True)
    input()
"""


@pytest.mark.skipif(not dying_with_us(), reason="setpriv is missing (Linux only)")
def test_a_service_does_not_outlive_a_test_process_that_is_killed(flowspan_home: Path) -> None:
    with FlowProcess(CODE, home=flowspan_home, env={"PYTHONPATH": os.getcwd()}) as process:
        pid = int(process.wait_for_line("pid").split()[1])
        os.kill(pid, 0)
        process.kill()
    deadline = time.monotonic() + WAIT_S
    while is_there(pid):
        assert time.monotonic() < deadline, "the service must keep running"
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    """Return True if the process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
