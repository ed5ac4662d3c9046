"""The port to variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.variables import Variable


@dataclass(frozen=True, slots=True)
class VariableQuery:
    """A page of variables, by name."""

    name_prefix: str = ""
    tags: tuple[str, ...] = ()
    """A variable must have all of them."""
    after_name: str | None = None
    limit: int = 100
    limit_bytes: int = 2_000_000
    """The page ends with the variable that takes its messages above this size."""


class VariableReads(Protocol):
    """The reads of variables."""

    def get(self, name: str) -> Variable | None:
        """Return the variable, or None."""
        ...

    def list(self, query: VariableQuery) -> Page[Variable]:
        """Return a page of variables."""
        ...


class VariableWrites(Protocol):
    """The variables in a unit of work."""

    def get(self, name: str) -> Variable | None:
        """Return the variable, or None."""
        ...

    def put(self, variable: Variable) -> None:
        """Store a new or changed variable."""
        ...

    def delete(self, name: str) -> bool:
        """Delete a variable; return True if there was one."""
        ...
