"""The transport: events in, acked by the service or safe on disk.

``get_reporter().emit(event)`` takes the events of `flowspan.core.events`. The modules, in the order
in which an event passes them: `reporter` (emit), `intake` (the queues), `wire` (bytes), `outbox` (what is
not acked), `loop` (the thread), `link` (the stream). Beside them `connector` and `session`.
"""

from __future__ import annotations

from flowspan.reporter.reporter import FlushOutcome, Reporter, StopRequest, get_reporter

__all__ = ["FlushOutcome", "Reporter", "StopRequest", "get_reporter"]
