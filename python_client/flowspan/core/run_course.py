"""The progress of a run, as far as its span shows it."""

from __future__ import annotations


class RunCourse:
    """The attempts of a run, and the time that they took.

    Attributes:
        attempts: Number of attempts that have begun.
        ran_ns: The time of the ended attempts together, in nanoseconds.
        started_ns: The time when the attempt began; None while none is running.
    """

    __slots__ = ("attempts", "ran_ns", "started_ns")

    def __init__(self) -> None:
        self.attempts = 0
        self.ran_ns = 0
        self.started_ns: int | None = None

    def begin(self, time_ns: int) -> None:
        """Begin an attempt."""
        self.stop(time_ns)
        self.attempts += 1
        self.started_ns = time_ns

    def stop(self, time_ns: int) -> None:
        """End the attempt, if one is running."""
        if self.started_ns is not None:
            self.ran_ns += max(time_ns - self.started_ns, 0)
        self.started_ns = None
