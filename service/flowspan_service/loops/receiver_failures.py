"""The failures of a receiver: the pause after each, and the time to give it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan_service.domain.otlp_receivers import Receiver

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 30.0
GIVE_UP_S = 600.0
"""The time after which a receiver that a client named is given up."""


class Failures:
    """The failures of a receiver in a row. All times are monotonic, in microseconds.

    Args:
        receiver: The receiver.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._since_us: int | None = None
        self._pause_s = 0.0
        self._due_us = 0

    @property
    def is_failing(self) -> bool:
        """True if the last request failed."""
        return self._since_us is not None

    def pause_us(self, now_us: int) -> int:
        """Return the time until the next try; 0 if it is due."""
        return max(0, self._due_us - now_us)

    def is_hopeless(self, now_us: int) -> bool:
        """Return True if nothing more is sent; the service's own receiver is never given up."""
        if self._since_us is None or self._receiver.is_own:
            return False
        return now_us - self._since_us >= GIVE_UP_S * 1e6

    def add(self, now_us: int) -> bool:
        """Note a failure, and begin a pause; return True for the first one in a row."""
        is_first = self._since_us is None
        if self._since_us is None:
            self._since_us = now_us
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), MAX_PAUSE_S)
        self._due_us = now_us + round(self._pause_s * 1e6)
        return is_first

    def end(self) -> bool:
        """Note a success; return True if it ends a row of failures."""
        was_failing = self._since_us is not None
        self._since_us, self._pause_s, self._due_us = None, 0.0, 0
        return was_failing
