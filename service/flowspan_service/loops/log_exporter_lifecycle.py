"""Export of the logs that clients do not export, if there may be a receiver."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from flowspan_service.app.log_exports import ForgetExported
from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.loops.log_exporter import LogExporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan_service.app.ports import Clock, Store
    from flowspan_service.domain.otlp_receivers import Receivers
    from flowspan_service.loops.otlp_connections import Connect

_LAST = (1 << 63) - 1
_PAGE = 1_000


@contextlib.contextmanager
def exporting_logs(
    store: Store,
    clock: Clock,
    receivers: Receivers,
    connect: Connect,
) -> Iterator[None]:
    """Export logs during the block; without a receiver, forget what waits.

    Args:
        store: The store.
        clock: The time.
        receivers: Decides where the logs of a session go.
        connect: Connects to receivers.
    """
    if not receivers.has_any:
        for session_id in store.log_exports.sessions(limit=_PAGE):
            # Its receiver was configured when they came. Nothing waits for this.
            store.submit(ForgetExported(session_id, upto=_LAST))
        yield
        return
    exporter = LogExporter(store, clock, receivers=receivers, connect=partial(connect, Signal.LOGS))
    exporter.start()
    try:
        yield
    finally:
        exporter.close()
