"""Monitoring of open files, with a warning when they run out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from flowspan_service.process.open_files import OpenFiles

log = structlog.get_logger("flowspan.files")

INTERVAL_S = 1.0
SAY_AGAIN_S = 30.0


async def watch_open_files(files: OpenFiles, *, interval_s: float = INTERVAL_S) -> None:
    """Count the open files at every interval, until cancelled."""
    silent_s = SAY_AGAIN_S
    was_short = False
    refused = 0
    while True:
        files.count()
        silent_s += interval_s
        refused, files.refused = refused + files.refused, 0
        if files.is_short and silent_s >= SAY_AGAIN_S:
            log.warning(
                "open files are running out: new streams are refused, and new connections wait; "
                "raise the limit of open files (ulimit -n) of the service, or close idle clients",
                open_files=files.used,
                limit=files.limit,
                refused_streams=refused,
            )
            silent_s, refused = 0.0, 0
        elif was_short and not files.is_short:
            log.info(
                "open files are available again",
                open_files=files.used,
                limit=files.limit,
                refused_streams=refused,
            )
            silent_s, refused = SAY_AGAIN_S, 0
        was_short = files.is_short
        await asyncio.sleep(interval_s)
