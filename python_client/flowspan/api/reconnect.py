"""Retry policy for broken streams."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.exceptions import FlowspanError

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_LONGEST_RETRY_AFTER_S = 10.0
"""Upper bound for the delay that a service may ask for."""


class Reconnect:
    """Exponential backoff for a stream whose connection broke.

    The first retry is almost immediate. Retries end when the stream has been broken for too
    long. Only a stream that has received a message is retried.
    """

    def __init__(self, patience_s: float, *, jitter: Callable[[], float] = random.random) -> None:
        """Create the policy for a stream that has not received a message yet.

        Args:
            patience_s: The maximum time that a stream may stay broken, in seconds.
            jitter: Returns random numbers from 0 to 1, which spread the retries of many clients.
        """
        self._patience_s = patience_s
        self._jitter = jitter
        self._has_worked = False
        self._broken_since_s: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def succeeded(self) -> None:
        """Record that a message was received."""
        self._has_worked = True
        self._broken_since_s = None
        self._pause_s = _FIRST_PAUSE_S

    def failed(self, failure: FlowspanError, *, now_s: float) -> float | None:
        """Record a failure of the stream.

        Returns:
            The seconds to wait before the next retry; None to give up.
        """
        if not failure.retryable or not self._has_worked:
            return None
        if self._broken_since_s is None:
            self._broken_since_s = now_s
        if now_s - self._broken_since_s > self._patience_s:
            return None
        pause_s = self._pause_s * (0.5 + self._jitter())
        if isinstance(failure, ApiError) and failure.retry_after_s:
            asked_s = min(failure.retry_after_s, _LONGEST_RETRY_AFTER_S)
            pause_s = max(pause_s, asked_s * (1 + self._jitter() / 4))
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return pause_s
