"""The port to stored verdicts: those whose ack may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.domain.verdicts import Verdict


class VerdictWrites(Protocol):
    """The verdicts of sessions in a unit of work."""

    def add(self, session_id: str, verdicts: Sequence[Verdict]) -> None:
        """Store verdicts on events of a session, ordered by sequence.

        Of each session, at most the last KEPT_VERDICTS are kept, and none on events that the
        client cannot wait for any more (see `domain.verdicts`).
        """
        ...

    def after(self, session_id: str, sequence: int) -> list[Verdict]:
        """Return the kept verdicts on events after a sequence, ordered by sequence."""
        ...

    def delete_of(self, session_ids: Sequence[str]) -> None:
        """Delete all verdicts of these sessions."""
        ...
