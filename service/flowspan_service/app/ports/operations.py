"""Operations: changes to the store, as callables over a unit of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.unit_of_work import UnitOfWork

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The outcome of an operation that has more work than one transaction should do.

    The work so far is committed. The rest runs after the waiting operations, and the outcome of the
    last part resolves the future of the first.
    """

    rest: Operation[Any]
    progress: str
    """For the caller: the work done, and the fate of the rest if the service stops now."""
    session_id: str | None = None
    """The session whose later operations (those with this `session_id`) wait for the rest. They do
    not make sense without it, so the rest also runs when the service stops."""


class Operation(Protocol[T_co]):
    """A change to the store. It returns its outcome, or Unfinished.

    An operation may run more than once (see UnitOfWork): it must not have effects outside the unit
    of work and its return value.
    """

    run_ids: Sequence[str]
    """The runs that it will ask for, so that one query loads those of a whole group."""
    weight: int
    """The approximate number of rows that it writes. The writer bounds a group by it."""

    def __call__(self, uow: UnitOfWork) -> T_co | Unfinished:
        """Make the change."""
        ...
