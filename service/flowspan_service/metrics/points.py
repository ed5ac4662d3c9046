"""The values of figures at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.metrics.families import Family


class Exemplar(NamedTuple):
    """A value of a histogram with the span of its run."""

    value: float
    time_us: int
    """The time of the value, in microseconds since 1970 UTC."""
    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""


class Distribution(NamedTuple):
    """The values of a histogram."""

    counts: tuple[int, ...]
    """The number of values in each bucket (not cumulative); the last one is above all bounds."""
    total: float
    """The sum of the values."""
    exemplars: tuple[Exemplar | None, ...] = ()
    """A recent value of each bucket; empty for histograms without exemplars."""


class Point(NamedTuple):
    """A value of a figure."""

    attributes: tuple[str, ...]
    """The values of the attributes of its family, in their order."""
    value: float | Distribution

    @property
    def number(self) -> float:
        """The value of a counter or gauge."""
        assert not isinstance(self.value, Distribution)  # noqa: S101 - only histograms have those
        return self.value

    @property
    def distribution(self) -> Distribution:
        """The value of a histogram."""
        assert isinstance(self.value, Distribution)  # noqa: S101 - histograms have nothing else
        return self.value


class Figure(NamedTuple):
    """A figure at one moment."""

    family: Family
    points: Sequence[Point]


class Snapshot(NamedTuple):
    """All figures at one moment."""

    started_us: int
    """The time at which the process began to count, in microseconds since 1970 UTC."""
    time_us: int
    """The time of the snapshot."""
    figures: Sequence[Figure]


def one(family: Family, value: float) -> Figure:
    """Return a figure without attributes."""
    return Figure(family, (Point((), value),))
