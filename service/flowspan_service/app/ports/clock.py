"""The clock port."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The time."""

    def now_us(self) -> int:
        """Return the wall clock, in microseconds since 1970 UTC. It is for people, and may step."""
        ...

    def monotonic_us(self) -> int:
        """Return the monotonic clock in microseconds, for durations in this process."""
        ...
