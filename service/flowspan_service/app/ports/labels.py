"""The port to labels of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.labels import Label


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """A page of the labels with a key, the newest run first."""

    key: str
    value: str | None = None
    """The only value to list; None for all."""
    after_run_id: str | None = None
    limit: int = 100
    limit_bytes: int = 2_000_000
    """The page ends with the label that takes its messages above this size."""


class LabelReads(Protocol):
    """The reads of labels."""

    def get(self, run_id: str) -> dict[str, str] | None:
        """Return the labels of a run, ordered by key; None if there is no such run."""
        ...

    def list(self, query: LabelQuery) -> Page[Label]:
        """Return a page of labels."""
        ...


class LabelWrites(Protocol):
    """The labels in a unit of work."""

    def get(self, run_id: str) -> dict[str, str]:
        """Return the labels of a run, ordered by key."""
        ...

    def put(self, run_id: str, labels: Mapping[str, str]) -> None:
        """Store new or changed labels of a run."""
        ...

    def remove(self, run_id: str, keys: Collection[str]) -> None:
        """Remove labels of a run."""
        ...
