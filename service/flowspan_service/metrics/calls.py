"""Counts of calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowspan_service.metrics import families
from flowspan_service.metrics.points import Figure, Point


@dataclass(slots=True)
class Calls:
    """Counters of the calls that ended, over all transports.

    Attributes:
        counts: The number of calls, by method ("/flowspan.v1.FlowService/GetFlow") and code ("OK").
        seconds: The time that they took together, by method.
    """

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, method: str, code: str, took_s: float) -> None:
        """Count a call that ended."""
        counts, seconds, key = self.counts, self.seconds, (method, code)
        counts[key] = counts.get(key, 0) + 1
        seconds[method] = seconds.get(method, 0.0) + took_s

    def figures(self) -> list[Figure]:
        """Return the counts so far."""
        counts, seconds = sorted(self.counts.items()), sorted(self.seconds.items())
        return [
            Figure(families.CALLS, [Point(key, count) for key, count in counts]),
            Figure(families.CALL_SECONDS, [Point((method,), taken) for method, taken in seconds]),
        ]
