"""The claim of this process on a loop that one process at a time works on.

The claim is a row (see docs/decisions/replicas.md). Its holder writes the loop's progress into it,
and with each write its lease begins anew. The row of a process that died is free after the lease.
"""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

from flowspan_service.app.claims import MoveClaim, TakeClaim

if TYPE_CHECKING:
    from flowspan_service.app.ports import Store
    from flowspan_service.domain.claims import LoopClaim

LEASE_S = 10.0
SOLE_HOLDER = "the only process"
"""The holder where no other process can have the database, so that a predecessor's lease is its
own."""


def holder_name(*, process_id: int, is_shared: bool) -> str:
    """Return the name of this process as a holder of claims.

    Args:
        process_id: Its process id, for people.
        is_shared: True if other service processes may use the same database.
    """
    if not is_shared:
        return SOLE_HOLDER
    return f"{socket.gethostname()}/{process_id}/{secrets.token_hex(8)}"


class HeldClaim:
    """A loop's claim, for the thread of the loop: its methods wait for the store.

    Args:
        store: The store.
        name: The loop.
        holder: This process.
        lease_s: How long others leave the loop to a holder that is silent.
    """

    def __init__(self, store: Store, name: str, *, holder: str, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._lease_us = round(lease_s * 1e6)

    def look(self) -> LoopClaim | None:
        """Return the row; None if it does not exist yet."""
        return self._store.claims.get(self._name)

    def is_free(self, claim: LoopClaim) -> bool:
        """Return True if this process may take the claim."""
        return claim.is_free_for(self._holder)

    def take(self, *, begin_at: int, rewind_to: int | None = None) -> LoopClaim | None:
        """Take the claim; return None if another process has it. For the arguments see TakeClaim.

        Raises:
            ServiceError: The store cannot write.
        """
        operation = TakeClaim(
            self._name,
            holder=self._holder,
            lease_us=self._lease_us,
            begin_at=begin_at,
            rewind_to=rewind_to,
        )
        return self._store.submit(operation).result()

    def move(self, position: int | None, *, keep: bool) -> bool:
        """Store the progress of the loop; return False if another process took the claim meanwhile.

        Args:
            position: How far the loop has come; None if no further than before.
            keep: True to keep the claim, False to give it back.

        Raises:
            ServiceError: The store cannot write.
        """
        lease_us = self._lease_us if keep else None
        operation = MoveClaim(self._name, holder=self._holder, position=position, lease_us=lease_us)
        return self._store.submit(operation).result()
