"""Histograms: counts of values by bucket."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from flowspan_service.metrics.points import Distribution, Exemplar

if TYPE_CHECKING:
    from flowspan_service.metrics.families import Family

_SAMPLED = frozenset("13579bdf")
"""The last digit of a W3C traceparent with the flag "sampled"."""


class Histogram:
    """Counts of values by bucket. Not thread-safe: its owner has a lock.

    Args:
        family: Has the bounds of the buckets.
    """

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, family: Family) -> None:
        self.bounds = family.bounds
        self.counts = [0] * (len(family.bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, tuple[float, int, str]] = {}
        """By bucket: the last value, its time in microseconds, and its traceparent."""

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_traced(self, value: float, time_us: int, traceparent: str) -> None:
        """Count a value with the span that it belongs to, if that span is sampled.

        Args:
            value: The value.
            time_us: The time of the value, in microseconds since 1970 UTC.
            traceparent: The W3C traceparent of the span; empty without one.
        """
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if traceparent and traceparent[-1] in _SAMPLED:
            self.exemplars[bucket] = value, time_us, traceparent

    def read(self) -> Distribution:
        """Return the counts so far."""
        found = self.exemplars
        exemplars = tuple(_exemplar(found.get(bucket)) for bucket in range(len(self.counts)))
        return Distribution(tuple(self.counts), self.total, exemplars if found else ())


def _exemplar(noted: tuple[float, int, str] | None) -> Exemplar | None:
    if noted is None:
        return None
    value, time_us, traceparent = noted
    _, trace_id, span_id, _ = traceparent.split("-")[:4]
    return Exemplar(value, time_us, trace_id, span_id)
