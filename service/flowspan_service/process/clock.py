"""The clock of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """The clocks of the machine; tests bring their own (see ports.Clock)."""

    def now_us(self) -> int:
        """Return the wall clock, in microseconds since 1970 UTC."""
        return time.time_ns() // 1_000

    def monotonic_us(self) -> int:
        """Return the monotonic clock, in microseconds since an arbitrary moment."""
        return time.monotonic_ns() // 1_000
