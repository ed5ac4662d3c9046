"""The transport: events in, acked by the service or safe on disk.

``get_reporter().emit(event)`` takes the events of `flowspan.core.events`. The modules, in the order
in which an event passes them:

- `reporter`: emit and flush, as the rest of the client sees them; fork and exit.
- `intake`: the queues in which events wait, and the batches made of them; `wire` encodes.
- `backlog`: what the service has not got: `outbox` in memory, `spool` and `spool_file` on disk, in
  the format of `spool_format`.
- `starts`: the first events of top-level flow runs, on disk before their functions are called.
- `orphans`: spools that other processes left behind; `drain` sends one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.reporter.reporter import (
    FlushOutcome,
    Reporter,
    drop_reporter,
    get_reporter,
    reporter_for,
)

if TYPE_CHECKING:
    from flowspan.reporter.spool.drain import PushResult
    from flowspan.reporter.spool.orphans import SpoolInfo, list_spools, push_spools

__all__ = [
    "FlushOutcome",
    "PushResult",
    "Reporter",
    "SpoolInfo",
    "drop_reporter",
    "get_reporter",
    "list_spools",
    "push_spools",
    "reporter_for",
]


def __getattr__(name: str) -> Any:
    """Loads what is seldom needed when it is (PEP 562): it brings HTTP/2 and the stubs with it."""
    if name in __all__:
        from flowspan.reporter.spool import orphans  # noqa: PLC0415 - see above

        return getattr(orphans, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
