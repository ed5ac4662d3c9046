"""The waits of a run: the times in which it exists and its code does not run, by reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHOWN_WAIT_NS = 10_000_000
"""Minimum length of a wait that gets a span of its own."""


class Wait(NamedTuple):
    """A wait of a run.

    Attributes:
        reason: The reason, from `flowspan.core.waits`.
        begin_ns: Its begin, in nanoseconds since 1970 UTC.
        end_ns: Its end, in nanoseconds since 1970 UTC.
    """

    reason: str
    begin_ns: int
    end_ns: int


def shown_waits(begin_ns: int, end_ns: int, changes: Sequence[tuple[str, int]]) -> Iterator[Wait]:
    """Yield the waits between two times that are long enough to be shown, in order.

    Time without a known reason is no wait: the run begins, or its result is looked up.

    Args:
        begin_ns: The time when the run was created or its last attempt ended.
        end_ns: The time when its next attempt began or the run ended.
        changes: The reasons and the times from which they hold, by time. Before the first, the
            reason is unknown.
    """
    reason = ""
    for next_reason, time_ns in changes:
        if next_reason == reason:
            continue
        until_ns = min(max(time_ns, begin_ns), end_ns)
        if reason and until_ns - begin_ns >= SHOWN_WAIT_NS:
            yield Wait(reason, begin_ns, until_ns)
        reason, begin_ns = next_reason, until_ns
    if reason and end_ns - begin_ns >= SHOWN_WAIT_NS:
        yield Wait(reason, begin_ns, end_ns)
