"""The time that transactions hold the writer: a limit for groups, and the longest times."""

from __future__ import annotations

import time

from flowspan_service.app.ports import WriteTimes

TARGET_S = 0.04
"""The target for the work of a transaction; the longest should stay below 0.1 s."""
MAX_GROUP_WEIGHT = 20_000
MIN_GROUP_WEIGHT = 500
"""Below this weight, BEGIN and COMMIT take longer than the work."""
FIRST_GROUP_WEIGHT = 2_000
_TELLING_WEIGHT = 200
"""Lighter groups say little about the cost of a row."""
_WINDOW_S = 30.0


class GroupLimit:
    """The maximum weight of a group, learnt from the times of earlier groups.

    The commit itself does not count: it takes about the same time for few rows as for many, so on a
    slow disk large groups are the remedy.
    """

    def __init__(self) -> None:
        self.weight = FIRST_GROUP_WEIGHT
        self._cost_s = TARGET_S / FIRST_GROUP_WEIGHT

    def learn(self, weight: int, taken_s: float) -> None:
        """Note the time that a group of that weight took, without its commit."""
        if weight < _TELLING_WEIGHT:
            return
        cost_s = taken_s / weight
        # Higher costs count at once, lower ones gradually.
        share = 0.5 if cost_s > self._cost_s else 0.1
        self._cost_s += share * (cost_s - self._cost_s)
        fitting = round(TARGET_S / self._cost_s)
        self.weight = min(max(fitting, MIN_GROUP_WEIGHT), MAX_GROUP_WEIGHT)


class Holds:
    """The longest transactions. One thread notes them; any thread may read."""

    def __init__(self) -> None:
        self._longest_s = 0.0
        self._window: tuple[int, float, float] = (0, 0.0, 0.0)
        """The number of the current half minute, and the longest times in it and the one before."""

    def note(self, held_s: float) -> None:
        """Note the time of a transaction."""
        self._longest_s = max(self._longest_s, held_s)
        number, now, before = self._moved()
        self._window = number, max(now, held_s), before

    def times(self) -> WriteTimes:
        """Return the longest times."""
        _, now, before = self._moved()
        return WriteTimes(self._longest_s, max(now, before))

    def _moved(self) -> tuple[int, float, float]:
        number, now, _ = self._window
        current = int(time.monotonic() / _WINDOW_S)
        if current == number:
            return self._window
        return current, 0.0, now if current == number + 1 else 0.0
