"""Operations on the claims of loops; see docs/decisions/replicas.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.claims import LoopClaim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import UnitOfWork


class TakeClaim:
    """Take the claim of a loop, or begin its lease anew."""

    __slots__ = ("begin_at", "holder", "lease_us", "name", "rewind_to", "run_ids", "weight")

    def __init__(
        self,
        name: str,
        *,
        holder: str,
        lease_us: int,
        begin_at: int = 0,
        rewind_to: int | None = None,
    ) -> None:
        """Prepare the operation.

        Args:
            name: The loop.
            holder: The process that takes the claim.
            lease_us: How long others leave the loop to it.
            begin_at: The position of a loop that was never begun.
            rewind_to: A position that the loop must not be beyond.
        """
        self.name = name
        self.holder = holder
        self.lease_us = lease_us
        self.begin_at = begin_at
        self.rewind_to = rewind_to
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> LoopClaim | None:
        """Return the claim; None if another process has it."""
        claim = uow.claims.get(self.name) or LoopClaim(self.name)
        if not claim.is_free_for(self.holder):
            return None
        claim.holder, claim.left_us = self.holder, self.lease_us
        position = self.begin_at if claim.position is None else claim.position
        claim.position = position if self.rewind_to is None else min(position, self.rewind_to)
        uow.claims.save(claim)
        return claim


class MoveClaim:
    """Store how far a loop has come; keep its claim or give it back."""

    __slots__ = ("holder", "lease_us", "name", "position", "run_ids", "weight")

    def __init__(
        self, name: str, *, holder: str, position: int | None, lease_us: int | None
    ) -> None:
        """Prepare the operation.

        Args:
            name: The loop.
            holder: The process that has the claim.
            position: The position up to which the work is done; None leaves it.
            lease_us: The new lease; None gives the claim back.
        """
        self.name = name
        self.holder = holder
        self.position = position
        self.lease_us = lease_us
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> bool:
        """Return False, and change nothing, if another process took the claim meanwhile."""
        claim = uow.claims.get(self.name)
        if claim is None or claim.holder != self.holder:
            return False
        if self.position is not None:
            claim.position = self.position
        claim.holder = "" if self.lease_us is None else self.holder
        claim.left_us = self.lease_us or 0
        uow.claims.save(claim)
        return True
