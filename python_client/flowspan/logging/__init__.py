"""Logs of runs: `get_run_logger`, and the capture of standard `logging` and of prints."""

from __future__ import annotations

from flowspan.logging.capture import set_console
from flowspan.logging.run_logger import (
    RunLogger,
    disable_run_logger,
    get_logger,
    get_run_logger,
)
from flowspan.prefect_names import refusing

__all__ = ["RunLogger", "disable_run_logger", "get_logger", "get_run_logger", "set_console"]

__getattr__ = refusing(__name__)
