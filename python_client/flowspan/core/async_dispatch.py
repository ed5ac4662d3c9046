"""Sync or async: decides if a method returns a value or an awaitable."""

from __future__ import annotations

import sys

from flowspan.core.call_graph import current_or_sketched_run


def running_loop() -> object:
    """Return the event loop that runs in this thread, or None. Does not import asyncio."""
    events = sys.modules.get("asyncio.events")
    return events._get_running_loop() if events is not None else None  # noqa: SLF001 - the documented way without an exception


def is_async_here() -> bool:
    """Return True in an async run, or, outside of runs, where an event loop is running.

    Inside a run, only its function decides, as in Prefect: neither the thread nor the loop of the
    calling code matters.
    """
    run = current_or_sketched_run()
    return running_loop() is not None if run is None else run.definition.is_async


def gives_awaitable(*, sync: bool | None) -> bool:
    """Return True if a method returns an awaitable.

    Args:
        sync: The caller's `_sync` argument; None falls back to `is_async_here`.
    """
    return is_async_here() if sync is None else not sync
