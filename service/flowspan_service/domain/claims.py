"""Claims on loops that one service process at a time works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class LoopClaim:
    """The row of a loop: the process that works on it, and how far the loop has come."""

    name: str
    holder: str = ""
    """The process that has the claim; empty if it is free."""
    left_us: int = 0
    """The rest of the holder's lease, by the database's clock; it has lapsed at 0 and below."""
    position: int | None = None
    """The position up to which the work is done; None if it was never begun."""

    def is_free_for(self, holder: str) -> bool:
        """Return True if that process may take the claim."""
        return self.holder in ("", holder) or self.left_us <= 0
