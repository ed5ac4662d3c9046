"""Decide whether a method returns a value or an awaitable."""

from __future__ import annotations

import sys

from flowspan.core.call_graph import current_or_sketched_run


def running_loop() -> object:
    """The event loop that runs in this thread, or None. Does not import asyncio."""
    events = sys.modules.get("asyncio.events")
    return events._get_running_loop() if events is not None else None  # noqa: SLF001 - the documented way without an exception


def is_async_here() -> bool:
    """True in an asynchronous run; outside of runs, where an event loop runs in this thread.

    In a run its function alone decides, whatever thread or loop the code is in, as in Prefect.
    """
    run = current_or_sketched_run()
    return running_loop() is not None if run is None else run.definition.is_async


def gives_awaitable(*, sync: bool | None) -> bool:
    """Return whether a method gives something to await.

    Args:
        sync: What the caller asked for by `_sync`; None leaves it to `is_async_here`.
    """
    return is_async_here() if sync is None else not sync
