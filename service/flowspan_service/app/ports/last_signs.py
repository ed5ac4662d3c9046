"""The port to the last signs of life of crashed runs: the times at which their spans end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class LastSignReads(Protocol):
    """The reads of last signs."""

    def of(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Return the stored signs of these runs, by run, on the clocks of the runs."""
        ...


class LastSignWrites(Protocol):
    """The last signs in a unit of work."""

    def note(self, run_id: str, at_us: int) -> None:
        """Store the last sign of life of a run's process, in place of an earlier one.

        Args:
            run_id: The run.
            at_us: The time, on the clock of the run.
        """
        ...
