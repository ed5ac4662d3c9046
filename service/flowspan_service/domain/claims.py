"""Claims: the right of one service process at a time to do the work of a loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class LoopClaim:
    """The claim of a loop: its holder, and the progress of the loop."""

    loop: str
    """The name of the loop."""
    holder: str = ""
    """The process that holds the claim; empty if it is free."""
    left_us: int = 0
    """The rest of the holder's lease, by the database's clock; the lease has expired at 0 or less.
    """
    position: int | None = None
    """The position up to which the work is done; None before the first claim."""

    def is_free_for(self, holder: str) -> bool:
        """Return True if that process may take the claim."""
        return self.holder in ("", holder) or self.left_us <= 0
