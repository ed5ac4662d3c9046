"""Families: runs get their places in their trees, also those that arrive before their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flowspan_service.app.cancellations import cancel_with_tree, is_refused_below
from flowspan_service.app.ports import Unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import UnitOfWork

T = TypeVar("T")

ADOPTED_AT_ONCE = 100


class MendFamilies(Generic[T]):
    """Put runs that waited below their parents, with their descendants.

    A large family takes several transactions. `loops.unfinished` finishes the work of a service
    that died.
    """

    __slots__ = ("outcome", "parent_ids", "run_ids", "session_id", "weight")

    def __init__(
        self, parent_ids: Sequence[str], outcome: T, *, session_id: str | None = None
    ) -> None:
        """Initialize the operation.

        Args:
            parent_ids: The runs that arrived.
            outcome: The outcome of the operation, which began earlier.
            session_id: The session that reported them, whose later reports wait.
        """
        self.parent_ids = parent_ids
        self.outcome = outcome
        self.session_id = session_id
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> T | Unfinished:
        """Mend as many families as there is time for."""
        while True:
            adopted = uow.families.adopt(self.parent_ids, limit=ADOPTED_AT_ONCE)
            for child in adopted:
                parent = uow.runs.get(child.parent_run_id) if child.parent_run_id else None
                if parent is not None and is_refused_below(uow, parent, child.session_id):
                    cancel_with_tree(uow, child, "The run that called it was cancelled.")
            if not adopted and not uow.families.move_some():
                return self.outcome
            if uow.is_spent():
                rest = MendFamilies(self.parent_ids, self.outcome, session_id=self.session_id)
                progress = "The rest of the runs get their places when the service runs again."
                return Unfinished(rest, progress, session_id=self.session_id)


class ForgetOrphans:
    """Stop waiting for parents that have not arrived for long; return the number of runs."""

    __slots__ = ("kept_us", "run_ids", "weight")

    def __init__(self, *, kept_us: int) -> None:
        """Initialize with the time that a run waits."""
        self.kept_us = kept_us
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int:
        """Forget them."""
        return uow.families.forget(created_before_us=uow.now_us - self.kept_us)


def after_arrival(
    uow: UnitOfWork, arrived: Sequence[str], outcome: T, *, session_id: str | None = None
) -> T | Unfinished:
    """Mend the families of runs that were just reported, if runs wait for parents at all.

    Args:
        uow: The transaction.
        arrived: The runs. Those that do not exist, because their creation was refused, are left
            out: a later creation may be accepted, and their children wait for it.
        outcome: The outcome of the operation that reported them.
        session_id: The session that reported them, whose later reports wait.
    """
    if not uow.families.has_orphans:
        return outcome
    parents = [run_id for run_id in arrived if uow.runs.get(run_id) is not None]
    if not parents or not uow.families.waiting_for(parents):
        return outcome
    mending: MendFamilies[Any] = MendFamilies(parents, outcome, session_id=session_id)
    return mending(uow)


def after_refusal(uow: UnitOfWork, refused: Sequence[str]) -> None:
    """Cancel the runs that wait for parents which were refused below a cancelled run."""
    if not refused or not uow.families.has_orphans:
        return
    for run_id in uow.families.waiting_for(refused):
        child = uow.runs.get(run_id)
        if child is not None:
            cancel_with_tree(uow, child, "The run that called it was cancelled.")
