"""Counts of transactions: how long they took, how long they waited, and how much they held."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flowspan_service.metrics import families
from flowspan_service.metrics.histograms import Histogram
from flowspan_service.metrics.points import Figure, Point

if TYPE_CHECKING:
    from flowspan_service.app.ports import Written


class Writes:
    """A listener for transactions that counts those with changes. Any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._took = Histogram(families.COMMIT_DURATION)
        self._waited = Histogram(families.COMMIT_WAIT)
        self._operations = Histogram(families.COMMIT_OPERATIONS)
        self._transitions = Histogram(families.COMMIT_TRANSITIONS)

    def __call__(self, written: Written) -> None:
        """Count a transaction, in the writer's thread."""
        with self._lock:
            self._took.add(written.took_s)
            self._waited.add(written.waited_s)
            self._operations.add(written.operation_count)
            self._transitions.add(written.transition_count)

    def figures(self) -> list[Figure]:
        """Return the counts so far."""
        with self._lock:
            return [
                Figure(family, [Point((), histogram.read())])
                for family, histogram in (
                    (families.COMMIT_DURATION, self._took),
                    (families.COMMIT_WAIT, self._waited),
                    (families.COMMIT_OPERATIONS, self._operations),
                    (families.COMMIT_TRANSITIONS, self._transitions),
                )
            ]
