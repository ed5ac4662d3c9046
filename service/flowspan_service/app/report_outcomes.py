"""The outcomes of reported events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan_service.domain.verdicts import Verdict


@dataclass(slots=True)
class Applied:
    """The outcome of a batch."""

    up_to_sequence: int
    """All events up to this one are stored."""
    verdicts: list[Verdict] = field(default_factory=list)
    """The answers to events that were not simply accepted, by sequence."""
    transition_count: int = 0
    """The number of transitions written."""
    has_commands: bool = False
    """True if the session took over runs with open commands."""

    def followed_by(self, later: Applied) -> Applied:
        """Return the outcome of these events and of later ones."""
        return Applied(
            later.up_to_sequence,
            self.verdicts + later.verdicts,
            self.transition_count + later.transition_count,
            self.has_commands or later.has_commands,
        )
