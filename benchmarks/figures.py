"""Figures of several runs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class Sample:
    """The figures of one row.

    Attributes:
        values: One value per successful run, in seconds, bytes or 1/s.
        voids: One reason per run without a value.
    """

    values: list[float] = field(default_factory=list)
    voids: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)


@dataclass
class Results:
    """All figures.

    Attributes:
        samples: Samples by row and database.
        notes: Additional figures of the workloads, by "database: workload: name".
    """

    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)
    notes: dict[str, Sample] = field(default_factory=dict)

    def add(self, row: str, database: str, value: float) -> None:
        """Add a figure of a run."""
        self.samples.setdefault((row, database), Sample()).values.append(value)

    def void(self, row: str, database: str, why: str) -> None:
        """Record a run without a figure."""
        self.samples.setdefault((row, database), Sample()).voids.append(why)

    def note(self, name: str, value: float) -> None:
        """Add an additional figure."""
        self.notes.setdefault(name, Sample()).values.append(value)
