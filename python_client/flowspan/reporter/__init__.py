"""The transport: events in, acked by the service or safe on disk.

``get_reporter().emit(event)`` takes the events of `flowspan.core.events`. The modules, in the order
in which an event passes them:

- `reporter`: emit and flush, as the rest of the client sees them; fork and exit.
- `intake`: the queues in which events wait, and the batches made of them; `wire` encodes.
- `backlog`: what the service has not got: `outbox` in memory, `spool` and `spool_file` on disk.
- `backlog`: what the service has not got; `outbox` in memory, `spool`, `spool_file` on disk.
- `orphans`: spools that other processes left behind.
"""

from __future__ import annotations

from flowspan.reporter.reporter import FlushOutcome, Reporter, get_reporter

__all__ = ["FlushOutcome", "Reporter", "get_reporter"]
