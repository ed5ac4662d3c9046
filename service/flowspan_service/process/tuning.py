"""Tuning of the garbage collector."""

from __future__ import annotations

import gc

COLLECT_AFTER = 200_000
"""Allocations minus deallocations before the garbage collector runs (`gc.set_threshold`)."""


def pause_collector() -> None:
    """Turn the collector off while modules are loaded: all that they allocate stays."""
    gc.disable()


def tune_collector() -> None:
    """Turn the collector on, and let it run less often.

    Events consist of many objects without cycles. With the default threshold, the collector takes
    half of the time.
    """
    gc.enable()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)
