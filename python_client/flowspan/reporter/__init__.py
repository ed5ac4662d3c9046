"""The reporter: delivers run events to the service, or stores them on disk until it can.

``get_reporter().emit(event)`` takes the events of `flowspan.core.events`. The modules, in the order
in which an event passes through them:

- `reporter`: the interface for the rest of the client (emit, flush); handles fork and exit.
- `intake`: the queues for new events, and the batches built from them; `encoding` encodes them.
- `backlog`: unacknowledged batches: `outbox` in memory, `spool.spool` and `spool.file` on disk, in
  the format of `spool.format`. `log_division` fits long log records to a service with small frames.
- `loop`: the thread that sends batches and reads acks, over a stream of `transport`.
- `commands`: the commands of the service, decoded.
- `spool.run_starts`: the first events of top-level flow runs, on disk before the function runs.
- `spool.orphans`: spools left behind by other processes; `spool.drain` sends one of them.
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
from flowspan.reporter.tally import process_tally

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
    "process_tally",
    "push_spools",
    "reporter_for",
]


def __getattr__(name: str) -> Any:
    """Import the seldom-used names on first access (PEP 562): they load HTTP/2 and the stubs."""
    if name in __all__:
        from flowspan.reporter.spool import orphans  # noqa: PLC0415 - see above

        return getattr(orphans, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
