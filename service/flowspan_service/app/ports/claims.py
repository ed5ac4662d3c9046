"""The port to the claims of loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowspan_service.domain.claims import LoopClaim


class ClaimReads(Protocol):
    """The reads of claims."""

    def get(self, loop: str) -> LoopClaim | None:
        """Return the claim of a loop; None if no process ever took it."""
        ...


class ClaimWrites(Protocol):
    """The claims in a unit of work."""

    def get(self, loop: str) -> LoopClaim | None:
        """Return the claim of a loop; None if no process ever took it."""
        ...

    def save(self, claim: LoopClaim) -> None:
        """Store a claim. Its lease ends `left_us` from now, by the database's clock."""
        ...
