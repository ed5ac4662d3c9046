"""The port to the claims of loops that one service process at a time works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowspan_service.domain.claims import LoopClaim


class ClaimReads(Protocol):
    """The reads of claims."""

    def get(self, name: str) -> LoopClaim | None:
        """Return the claim of a loop; None if it was never taken."""
        ...


class ClaimWrites(Protocol):
    """The claims in a unit of work."""

    def get(self, name: str) -> LoopClaim | None:
        """Return the claim of a loop; None if it was never taken."""
        ...

    def save(self, claim: LoopClaim) -> None:
        """Write the claim of a loop. Its lease ends `left_us` from now."""
        ...
