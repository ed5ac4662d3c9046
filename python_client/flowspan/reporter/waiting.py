"""The wait for the acknowledgement of a flush."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.reporter.intake import FlushRequest
    from flowspan.reporter.loop import Loop

_POLL_S = 0.25


def wait_for_acks(
    loop: Loop,
    request: FlushRequest,
    *,
    silence_s: float,
    timeout_s: float,
    may_go_on: Callable[[], bool] = lambda: True,
) -> bool:
    """Wait for a flush as long as the service keeps answering.

    Args:
        loop: The reporter's loop.
        request: The flush, in progress.
        silence_s: Maximum time without any answer at first.
        timeout_s: Maximum time without an answer after the first answer (or after the connection,
            if there was none before), so that a client that was disconnected for long can catch up.
        may_go_on: Called regularly; returns False to end the wait.
    """
    outbox = loop.backlog.outbox
    acked, was_away = outbox.acked, bool(loop.trouble)
    deadline = clock.monotonic() + silence_s
    while not request.done.wait(max(0.0, min(_POLL_S, deadline - clock.monotonic()))):
        now = clock.monotonic()
        # Reconnecting counts only once: the new connection may break over the same event.
        is_back = was_away and not loop.trouble
        if outbox.acked != acked or is_back:
            acked, was_away = outbox.acked, was_away and not is_back
            deadline = now + timeout_s
        if now >= deadline or not loop.is_alive or not may_go_on():
            return False
    return request.is_acked
