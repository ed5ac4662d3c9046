"""The port to families: the places of runs whose parents arrived after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.runs import Run


class FamilyReads(Protocol):
    """The reads of families."""

    def due(self, *, limit: int) -> tuple[list[str], bool]:
        """Return parents that arrived while runs wait for them, and whether moves are unfinished.

        Both are left only by a service process that died, or are being worked on.
        """
        ...


class FamilyWrites(Protocol):
    """The families in a unit of work."""

    @property
    def has_orphans(self) -> bool:
        """True if a run waits for its parent. Cheap."""
        ...

    def wait_for_parent(self, run: Run) -> None:
        """Note that a run was created before its parent."""
        ...

    def adopt(self, parent_ids: Sequence[str], *, limit: int) -> list[Run]:
        """Put some waiting runs below their parents, which have arrived.

        Their descendants follow with `move_some`.

        Args:
            parent_ids: The runs that arrived.
            limit: The maximum number of runs.

        Returns:
            The runs that wait no longer; none if no run waits for these parents.
        """
        ...

    def waiting_for(self, parent_ids: Sequence[str]) -> list[str]:
        """Return the ids of the runs that wait for these parents."""
        ...

    def move_some(self) -> bool:
        """Give some descendants of adopted runs their places; return False if none is left."""
        ...

    def forget(self, *, created_before_us: int) -> int:
        """Stop waiting for the parents of older runs; return the number of these runs."""
        ...
