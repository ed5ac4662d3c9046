"""Artifacts: created and changed by reports and by calls, read, deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan_service.app.ports import Unfinished
from flowspan_service.domain.artifacts import Artifact, ArtifactChange, NewArtifact
from flowspan_service.domain.errors import AlreadyExistsError, NotFoundError
from flowspan_service.domain.rules.artifacts import decide_artifact_change, decide_artifact_creation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Store, UnitOfWork
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.verdicts import Objection

DELETED_AT_ONCE = 50
"""Artifacts of the largest size are 50 MiB."""


def apply_artifact_event(
    uow: UnitOfWork, run: Run | None, what: NewArtifact | ArtifactChange
) -> Objection | None:
    """Store the creation or the change of an artifact that a session reports.

    Args:
        uow: The transaction.
        run: The run that created the artifact; None outside of runs and for changes.
        what: The reported event.

    Returns:
        None if the event was accepted, else the objection.
    """
    known = uow.artifacts.get(what.id)
    if isinstance(what, NewArtifact):
        objection = decide_artifact_creation(what, known)
        if objection is None:
            uow.artifacts.put(what.make(run))
        return objection
    objection = decide_artifact_change(what, known)
    if known is not None:
        uow.artifacts.put(what.applied_to(known))
    return objection


@dataclass(slots=True)
class ArtifactCreated:
    """The outcome of a creation."""

    artifact: Artifact
    is_new: bool


class CreateArtifact:
    """Create an artifact. Idempotent by the id."""

    __slots__ = ("new", "run_ids", "weight")

    def __init__(self, new: NewArtifact) -> None:
        self.new = new
        self.run_ids: Sequence[str] = (new.run_id,) if new.run_id is not None else ()
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> ArtifactCreated:
        """Create the artifact, or return the one that a request before this one created.

        Raises:
            AlreadyExistsError: The id belongs to an artifact with different content.
            NotFoundError: There is no such run.
        """
        new = self.new
        known = uow.artifacts.get(new.id)
        if known is not None:
            if not new.agrees_with(known):
                raise AlreadyExistsError(
                    f"An artifact {new.id} already exists with different content.",
                    advice="Choose a new id for a new artifact.",
                    artifact_id=new.id,
                )
            return ArtifactCreated(known, is_new=False)
        run = None if new.run_id is None else uow.runs.get(new.run_id)
        if new.run_id is not None and run is None:
            raise NotFoundError(f"There is no run {new.run_id}.", run_id=new.run_id)
        artifact = new.make(run)
        uow.artifacts.put(artifact)
        return ArtifactCreated(artifact, is_new=True)


class UpdateArtifact:
    """Change an artifact."""

    __slots__ = ("change", "run_ids", "weight")

    def __init__(self, change: ArtifactChange) -> None:
        self.change = change
        self.run_ids: Sequence[str] = ()
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> Artifact:
        """Store the change, and return the changed artifact.

        Raises:
            NotFoundError: There is no such artifact.
        """
        known = uow.artifacts.get(self.change.id)
        if known is None:
            raise artifact_not_found(artifact_id=self.change.id)
        artifact = self.change.applied_to(known)
        uow.artifacts.put(artifact)
        return artifact


class DeleteArtifacts:
    """Delete an artifact, or all artifacts of a key; return their number."""

    __slots__ = ("artifact_id", "deleted", "key", "run_ids", "weight")

    def __init__(
        self, *, artifact_id: str | None = None, key: str | None = None, deleted: int = 0
    ) -> None:
        """Initialize with an id or a key, and the number of artifacts that are deleted already."""
        self.artifact_id = artifact_id
        self.key = key
        self.deleted = deleted
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Delete as many artifacts as there is time for."""
        deleted = self.deleted
        while True:
            some = uow.artifacts.delete(
                artifact_id=self.artifact_id, key=self.key, limit=DELETED_AT_ONCE
            )
            deleted += some
            if some < DELETED_AT_ONCE:
                return deleted
            if uow.is_spent():
                return Unfinished(
                    DeleteArtifacts(key=self.key, deleted=deleted),
                    f"{deleted} artifacts were deleted; others remain.",
                )


def get_artifact(
    store: Store, *, artifact_id: str | None = None, key: str | None = None
) -> Artifact:
    """Return an artifact by its id, or the latest artifact of a key.

    Raises:
        NotFoundError: There is no such artifact.
    """
    artifact = store.artifacts.get(artifact_id=artifact_id, key=key)
    if artifact is None:
        raise artifact_not_found(artifact_id=artifact_id, key=key)
    return artifact


def artifact_not_found(*, artifact_id: str | None = None, key: str | None = None) -> NotFoundError:
    """Return the error for an artifact that does not exist."""
    if artifact_id is not None:
        return NotFoundError(f"There is no artifact {artifact_id}.", artifact_id=artifact_id)
    return NotFoundError(f"There is no artifact with the key {key!r}.", key=str(key))
