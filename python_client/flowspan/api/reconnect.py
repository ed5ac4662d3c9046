"""When a broken stream tries again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.exceptions import FlowspanError

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


class Reconnect:
    """When a broken stream tries again.

    Almost at once at first, then ever more slowly, until it has been broken for too long. Only a
    stream that once worked tries again.
    """

    def __init__(self, patience_s: float, *, jitter: Callable[[], float] = random.random) -> None:
        """Starts with a stream that has not worked yet.

        Args:
            patience_s: How long a stream may stay broken.
            jitter: Gives numbers from 0 to 1, by which the pauses of many clients differ.
        """
        self._patience_s = patience_s
        self._jitter = jitter
        self._has_worked = False
        self._broken_since_s: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def succeeded(self) -> None:
        """A message came."""
        self._has_worked = True
        self._broken_since_s = None
        self._pause_s = _FIRST_PAUSE_S

    def failed(self, failure: FlowspanError, *, now_s: float) -> float | None:
        """The stream failed.

        Returns:
            How long to wait before trying again, or None to give up.
        """
        if not failure.retryable or not self._has_worked:
            return None
        if self._broken_since_s is None:
            self._broken_since_s = now_s
        if now_s - self._broken_since_s > self._patience_s:
            return None
        pause_s = self._pause_s * (0.5 + self._jitter())
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return pause_s
