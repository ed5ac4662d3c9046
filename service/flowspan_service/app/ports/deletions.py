"""The port to deletions of trees, which take several transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowspan_service.domain.runs import Run


class Place(NamedTuple):
    """The progress of DeletionWrites.open_run_below."""

    index_range: int
    run_id: str


class DeletionReads(Protocol):
    """The reads of deletions."""

    def begun(self) -> dict[str, int]:
        """Return the runs whose deletion began and is not finished, with the pieces done.

        A growing number shows that a process is working on the deletion.
        """
        ...


class DeletionWrites(Protocol):
    """The deletions in a unit of work."""

    def begun(self) -> Collection[str]:
        """Return the runs whose deletion, with all descendants, began and is not finished."""
        ...

    def begin(self, run: Run) -> None:
        """Record that a run and its descendants are being deleted."""
        ...

    def end(self, run_id: str) -> None:
        """Record that the deletion is finished."""
        ...

    def covers(self, run: Run) -> bool:
        """Return True if the run or an ancestor is being deleted. Cheap if no run is."""
        ...

    def was_deleted(self, run_id: str) -> bool:
        """Return True if a run was deleted before it had ended. Ask only about absent runs."""
        ...

    def open_run_below(
        self, run_id: str, *, after: Place | None
    ) -> tuple[Run | None, Place | None]:
        """Search a part of the open runs of a tree for one at or below a run.

        Args:
            run_id: The run; it counts itself.
            after: The place that the call before returned; None to begin.

        Returns:
            An open run, if the call found one; else the place to continue from, or None at the end.
        """
        ...

    def delete_below(self, path: list[str]) -> int:
        """Delete some runs of a tree, each after its descendants.

        Transitions, log records, artifacts without a key, and commands go with a run. The ids of
        open runs are remembered (see `was_deleted`).

        Args:
            path: The run whose tree is deleted, and the place to continue: each run the parent of
                the next. The call changes it for the next call; it is empty at the end.

        Returns:
            The number of runs deleted. It is 0 if only a part of a run's data was.
        """
        ...
