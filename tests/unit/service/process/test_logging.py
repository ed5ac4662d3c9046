"""Library records in the service's log; in a subprocess, because loggers are global."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import asyncio
import logging
from flowspan_service.process.logging import set_up_logging

set_up_logging(level="info", as_json=False)
logging.getLogger("psycopg").warning("error ignored terminating a pipeline")
logging.getLogger("psycopg").error("worse")
logging.getLogger("another.library").warning("heard")
grpc = logging.getLogger("grpc._cython.cygrpc")
for error in (asyncio.CancelledError("stopped"), ValueError("bad")):
    try:
        raise error
    except BaseException:
        grpc.exception("Exception not handled: %s", error)
grpc.error("without one")
"""


def test_errors_that_psycopg_raises_anyway_are_not_told_twice() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=True
    )
    assert "ignored" not in done.stderr
    assert "worse" in done.stderr
    assert "heard" in done.stderr


def test_calls_that_the_stop_has_cancelled_are_no_errors() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True, check=True
    )
    assert "stopped" not in done.stderr
    assert "Exception not handled: bad" in done.stderr
    assert "without one" in done.stderr
