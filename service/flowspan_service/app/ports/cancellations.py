"""The port to cancellations of trees, which take several transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.deletions import Place
    from flowspan_service.domain.runs import Run


class OpenBelow(NamedTuple):
    """An open run below a run that is being cancelled."""

    run_id: str
    session_id: str | None
    is_covered: bool
    """True if its session gets a command for a run above it, and stops both."""


class CancellationReads(Protocol):
    """The reads of cancellations."""

    def unfinished(self) -> dict[str, int]:
        """Return the runs below which runs may not have been asked yet, with the pieces done.

        A growing number shows that a process is working on the cancellation.
        """
        ...

    def walked(self) -> list[str]:
        """Return the runs below which all runs have been asked."""
        ...


class CancellationWrites(Protocol):
    """The cancellations in a unit of work."""

    def begin(self, run: Run, reason: str) -> None:
        """Record that a run and its descendants are being cancelled; again, if they were before."""
        ...

    def reason(self, run_id: str) -> str | None:
        """Return the reason of a cancellation that is not walked to its end; None without one."""
        ...

    def covers(self, run: Run) -> bool:
        """Return True if the cancellation of the run or an ancestor has begun.

        False if all runs below have ended since. Cheap if there are no cancellations.
        """
        ...

    def open_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Sequence[OpenBelow], Place | None]:
        """Search a part of the open runs of a tree for those below a run.

        Those that are CANCELLING come first.

        Args:
            run_id: The run; it does not count itself.
            after: The place that the call before returned; None to begin.

        Returns:
            Some open runs; and the place to continue from, or None at the end.
        """
        ...

    def walked(self, run_id: str) -> None:
        """Record that all runs below have been asked."""
        ...

    def end(self, run_id: str) -> None:
        """Forget a cancellation: the run and all runs below have ended."""
        ...
