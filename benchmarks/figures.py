"""Figures of several runs, and what became of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class Sample:
    """What one row measured in the runs.

    Attributes:
        values: One a run; seconds, bytes or 1/s.
        voids: Why a run gave no value, one a run that did not.
    """

    values: list[float] = field(default_factory=list)
    voids: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The figure: half of the runs were better."""
        return statistics.median(self.values)


@dataclass
class Results:
    """All figures.

    Attributes:
        samples: By row and database.
        notes: What the workloads measured beside, by "database: workload: name".
    """

    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)
    notes: dict[str, Sample] = field(default_factory=dict)

    def add(self, row: str, database: str, value: float) -> None:
        """A run's figure."""
        self.samples.setdefault((row, database), Sample()).values.append(value)

    def void(self, row: str, database: str, why: str) -> None:
        """A run without a figure."""
        self.samples.setdefault((row, database), Sample()).voids.append(why)

    def note(self, name: str, value: float) -> None:
        """A number beside the rows."""
        self.notes.setdefault(name, Sample()).values.append(value)
