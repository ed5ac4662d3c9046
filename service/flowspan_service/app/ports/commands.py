"""The port to commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.commands import Command


class CommandReads(Protocol):
    """The reads of commands."""

    def list_open(
        self,
        session_id: str,
        *,
        after: Command | None = None,
        limit: int,
        limit_bytes: int = 1_000_000,
    ) -> Page[Command]:
        """Return a page of the open commands of a session, by run and number.

        The page ends with the command that takes their reasons above limit_bytes.
        """
        ...

    def has_open(self, session_id: str) -> bool:
        """Return True if the session has open commands. Cheap, and usually False."""
        ...

    def sessions_with_open(self, session_ids: Sequence[str], *, since: int = -1) -> list[str]:
        """Return the sessions among these that have open commands.

        Args:
            session_ids: The sessions.
            since: The number of a commit (see `Store.generation`). Only commands count that a later
                commit added, or moved to the session.
        """
        ...


class CommandWrites(Protocol):
    """The commands in a unit of work."""

    def add(self, command: Command) -> None:
        """Store a command. A no-op if there is one with the same run and number."""
        ...

    def finish(self, run_id: str) -> None:
        """Close the open commands of a run: it left the state that caused them."""
        ...

    def move(self, run_id: str, session_id: str) -> None:
        """Redirect the open commands of a run to the session that took it over."""
        ...

    def last_reason(self, run_id: str) -> str | None:
        """Return the reason of the last command about a run, open or done; None without one."""
        ...
