"""The unit of work: one transaction, as operations see it."""

from __future__ import annotations

from typing import Protocol

from flowspan_service.app.ports.nouns import AllWrites


class Budget(Protocol):
    """The bytes of runs and artifacts that a transaction may touch."""

    @property
    def is_full(self) -> bool:
        """True if the transaction has touched enough. Never at the beginning of an operation."""
        ...


class UnitOfWork(AllWrites, Protocol):
    """One transaction, as an operation sees it.

    Reads see the writes before them, also those of earlier operations in the same transaction.
    """

    now_us: int
    """The service's clock when the transaction began."""

    def is_spent(self) -> bool:
        """Return True if the transaction has lasted long enough: other operations wait for it.

        An operation without a bound on its work asks between pieces, and returns Unfinished.
        """
        ...

    @property
    def budget(self) -> Budget:
        """The budget of bytes. Ask before each event: a small one may concern a large run."""
        ...
