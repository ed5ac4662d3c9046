"""Claims of loops: take, renew, release; docs/decisions/replicas.md gives the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.claims import LoopClaim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import UnitOfWork


class TakeClaim:
    """Take the claim of a loop, or renew its lease."""

    __slots__ = ("begin_at", "holder", "lease_us", "loop", "rewind_to", "run_ids", "weight")

    def __init__(
        self,
        loop: str,
        *,
        holder: str,
        lease_us: int,
        begin_at: int = 0,
        rewind_to: int | None = None,
    ) -> None:
        """Initialize the operation.

        Args:
            loop: The name of the loop.
            holder: The process that takes the claim.
            lease_us: The lease, after which other processes may take the claim.
            begin_at: The position of a loop that no process has claimed before.
            rewind_to: The maximum position of the loop; a later one is set back to it.
        """
        self.loop = loop
        self.holder = holder
        self.lease_us = lease_us
        self.begin_at = begin_at
        self.rewind_to = rewind_to
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> LoopClaim | None:
        """Return the claim; None if another process holds it."""
        claim = uow.claims.get(self.loop) or LoopClaim(self.loop)
        if not claim.is_free_for(self.holder):
            return None
        claim.holder, claim.left_us = self.holder, self.lease_us
        position = self.begin_at if claim.position is None else claim.position
        claim.position = position if self.rewind_to is None else min(position, self.rewind_to)
        uow.claims.save(claim)
        return claim


class MoveClaim:
    """Store the progress of a loop, and renew or release its claim."""

    __slots__ = ("holder", "lease_us", "loop", "position", "run_ids", "weight")

    def __init__(
        self, loop: str, *, holder: str, position: int | None, lease_us: int | None
    ) -> None:
        """Initialize the operation.

        Args:
            loop: The name of the loop.
            holder: The process that holds the claim.
            position: The position up to which the work is done; None for no progress.
            lease_us: The new lease; None releases the claim.
        """
        self.loop = loop
        self.holder = holder
        self.position = position
        self.lease_us = lease_us
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> bool:
        """Return True if the process still holds the claim; otherwise change nothing."""
        claim = uow.claims.get(self.loop)
        if claim is None or claim.holder != self.holder:
            return False
        if self.position is not None:
            claim.position = self.position
        claim.holder = "" if self.lease_us is None else self.holder
        claim.left_us = self.lease_us or 0
        uow.claims.save(claim)
        return True
