"""The port to artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports.pages import Page
    from flowspan_service.domain.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class ArtifactQuery:
    """A page of artifacts, by id; see flowspan.v1.ArtifactFilter. Empty fields do not filter."""

    key: str | None = None
    types: tuple[str, ...] = ()
    run_id: str | None = None
    include_descendants: bool = False
    id_prefix: str | None = None
    id_suffix: str | None = None
    oldest_first: bool = False
    after_id: str | None = None
    """The last id of the page before."""
    limit: int = 100
    limit_bytes: int = 2_000_000
    """The page ends with the artifact that takes its messages above this size."""
    without_data: bool = False


@dataclass(frozen=True, slots=True)
class LatestArtifactQuery:
    """A page of the latest artifacts of each key, by key."""

    key_prefix: str = ""
    after_key: str | None = None
    limit: int = 100
    limit_bytes: int = 2_000_000
    """The page ends with the artifact that takes its messages above this size."""
    without_data: bool = False


class ArtifactReads(Protocol):
    """The reads of artifacts."""

    def get(self, *, artifact_id: str | None = None, key: str | None = None) -> Artifact | None:
        """Return an artifact by its id, or the latest of a key."""
        ...

    def list(self, query: ArtifactQuery) -> Page[Artifact]:
        """Return a page of artifacts."""
        ...

    def list_latest(self, query: LatestArtifactQuery) -> Page[Artifact]:
        """Return a page of the latest artifacts of each key."""
        ...


class ArtifactWrites(Protocol):
    """The artifacts in a unit of work."""

    def preload(self, artifact_ids: Sequence[str]) -> None:
        """Load artifacts that will be asked for, in few statements, but not large ones."""
        ...

    def get(self, artifact_id: str) -> Artifact | None:
        """Return the artifact, or None."""
        ...

    def put(self, artifact: Artifact) -> None:
        """Store a new or changed artifact. Call `get` for its id before."""
        ...

    def delete(self, *, artifact_id: str | None = None, key: str | None = None, limit: int) -> int:
        """Delete an artifact, or some artifacts of a key.

        Returns:
            The number deleted. If it equals the limit, call again: there may be more.
        """
        ...
