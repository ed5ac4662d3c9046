"""The port to transitions: the histories of runs, and the order of all changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.runs import Run, Transition


class Changes(NamedTuple):
    """Some transitions by position."""

    pairs: list[tuple[Transition, Run]]
    """Each transition with its run, whose state may be newer."""
    looked_at: int
    """The position up to which the call searched: continue from there."""
    has_more: bool
    """True if transitions of any run follow."""


class TransitionReads(Protocol):
    """The reads of transitions."""

    def of_run(self, run_id: str) -> list[Transition]:
        """Return the history of a run, by ordinal; empty if there is no such run."""
        ...

    def page(
        self,
        run_id: str,
        *,
        after_ordinal: int = 0,
        limit: int | None = None,
        limit_bytes: int = 2_000_000,
    ) -> Page[Transition]:
        """Return a page of the history of a run, by ordinal; all of it without a limit.

        The page ends with the transition that takes its payloads above limit_bytes.
        """
        ...

    def changes(
        self, *, after: int, run_id: str | None, limit: int, limit_bytes: int = 2_000_000
    ) -> Changes:
        """Return transitions after a position, of all runs or of one run's tree.

        They end with the transition that takes their payloads above limit_bytes.
        """
        ...

    def changed_roots(self, after: int, upto: int) -> Collection[str] | None:
        """Return the roots of the trees that changed between two positions; None if too many."""
        ...

    def commit_time(self, position: int) -> int:
        """Return the commit time of the transition at a position; 0 if it was deleted."""
        ...
