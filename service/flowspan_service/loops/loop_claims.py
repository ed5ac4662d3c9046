"""The claim of this process on a loop whose work one process at a time does.

The claim is a row (see docs/decisions/replicas.md). Its holder writes the loop's progress into it,
and each write renews the lease. When a holder dies, the claim is free after the lease.
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
"""The holder if no other process can use the database: it takes over its predecessor's lease."""


def holder_name(*, process_id: int, is_shared: bool) -> str:
    """Return the name of this process as a holder of claims.

    Args:
        process_id: The id of this process, for people who read the row.
        is_shared: True if other service processes may use the same database.
    """
    if not is_shared:
        return SOLE_HOLDER
    return f"{socket.gethostname()}/{process_id}/{secrets.token_hex(8)}"


class HeldClaim:
    """The claim of a loop, for the thread of the loop: its methods block.

    Args:
        store: The store.
        loop: The name of the loop.
        holder: The name of this process.
        lease_s: The lease, after which other processes may take the claim of a silent holder.
    """

    def __init__(self, store: Store, loop: str, *, holder: str, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._loop = loop
        self._holder = holder
        self._lease_us = round(lease_s * 1e6)

    def look(self) -> LoopClaim | None:
        """Return the claim; None if no process ever took it."""
        return self._store.claims.get(self._loop)

    def is_free(self, claim: LoopClaim) -> bool:
        """Return True if this process may take the claim."""
        return claim.is_free_for(self._holder)

    def take(self, *, begin_at: int, rewind_to: int | None = None) -> LoopClaim | None:
        """Take the claim; return None if another process holds it.

        Args:
            begin_at: The position of a loop that no process has claimed before.
            rewind_to: The maximum position of the loop; a later one is set back to it.

        Raises:
            ServiceError: The store cannot write.
        """
        operation = TakeClaim(
            self._loop,
            holder=self._holder,
            lease_us=self._lease_us,
            begin_at=begin_at,
            rewind_to=rewind_to,
        )
        return self._store.submit(operation).result()

    def move(self, position: int | None, *, keep: bool) -> bool:
        """Store the progress of the loop; return True if this process still holds the claim.

        Args:
            position: The position up to which the work is done; None for no progress.
            keep: True to renew the lease, False to release the claim.

        Raises:
            ServiceError: The store cannot write.
        """
        lease_us = self._lease_us if keep else None
        operation = MoveClaim(self._loop, holder=self._holder, position=position, lease_us=lease_us)
        return self._store.submit(operation).result()
