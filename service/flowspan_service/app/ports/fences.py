"""The port to fences: sessions that created runs under ids which belong to other runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class FenceWrites(Protocol):
    """The fences in a unit of work. A session with one has `has_fences` set."""

    def of(self, session_id: str, run_ids: Iterable[str]) -> set[str]:
        """Return the runs among these about which nothing that the session says is accepted."""
        ...

    def is_refused(self, run_id: str) -> bool:
        """Return True if a session was refused to create this run, which does not exist."""
        ...

    def add(self, session_id: str, run_id: str) -> None:
        """Accept nothing more about a run from a session. A no-op if it is so already."""
        ...

    def delete_of(self, session_ids: Sequence[str]) -> None:
        """Delete the fences of those of these sessions that do not exist any more."""
        ...
