"""Artifacts: made and changed in reports and by calls, and deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan_service.app.ports import Unfinished
from flowspan_service.domain.artifacts import Artifact, ArtifactChange, NewArtifact
from flowspan_service.domain.errors import AlreadyExistsError, NotFoundError
from flowspan_service.domain.verdicts import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import Store, UnitOfWork
    from flowspan_service.domain.runs import Run

DELETED_AT_ONCE = 50
"""Artifacts of the largest size are 50 MiB."""


def apply_event(
    uow: UnitOfWork, run: Run | None, what: NewArtifact | ArtifactChange
) -> tuple[VerdictKind, str, str] | None:
    """Stores what a session says of an artifact.

    Args:
        uow: The transaction.
        run: The run that made the artifact; None outside of runs and for changes.
        what: What is said.

    Returns:
        Kind, rule and reason of the verdict; None if it was simply accepted.
    """
    known = uow.artifact(what.id)
    objection = _objection(what, known)
    if objection is None:
        if isinstance(what, NewArtifact):
            uow.put_artifact(what.make(run))
        else:
            assert known is not None  # noqa: S101 - else there was an objection
            uow.put_artifact(what.applied_to(known))
    return objection


def _objection(
    what: NewArtifact | ArtifactChange, known: Artifact | None
) -> tuple[VerdictKind, str, str] | None:
    if isinstance(what, ArtifactChange):
        if known is None:
            return (
                VerdictKind.REJECTED,
                "artifact_is_known",
                f"There is no artifact {what.id} to change.",
            )
        return None
    if known is None:
        return None
    if what.agrees_with(known):
        return VerdictKind.DUPLICATE, "artifact_agrees", "The artifact was made before."
    return (
        VerdictKind.REJECTED,
        "artifact_agrees",
        "An artifact with this id exists and was made with another content.",
    )


@dataclass(slots=True)
class ArtifactCreated:
    """An artifact, and whether it is new."""

    artifact: Artifact
    is_new: bool


class CreateArtifact:
    """Makes an artifact. Idempotent by the id."""

    __slots__ = ("new", "run_ids", "weight")

    def __init__(self, new: NewArtifact) -> None:
        """Prepares it."""
        self.new = new
        self.run_ids: Sequence[str] = (new.run_id,) if new.run_id is not None else ()
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> ArtifactCreated:
        """Does it.

        Raises:
            AlreadyExistsError: The id is taken by an artifact with another content.
            NotFoundError: There is no such run.
        """
        new = self.new
        known = uow.artifact(new.id)
        if known is not None:
            if not new.agrees_with(known):
                raise AlreadyExistsError(
                    f"An artifact {new.id} exists and was made with another content.",
                    advice="Choose a new id for a new artifact.",
                    artifact_id=new.id,
                )
            return ArtifactCreated(known, is_new=False)
        run = None if new.run_id is None else uow.run(new.run_id)
        if new.run_id is not None and run is None:
            raise NotFoundError(f"There is no run {new.run_id}.", run_id=new.run_id)
        artifact = new.make(run)
        uow.put_artifact(artifact)
        return ArtifactCreated(artifact, is_new=True)


class UpdateArtifact:
    """Changes an artifact."""

    __slots__ = ("change", "run_ids", "weight")

    def __init__(self, change: ArtifactChange) -> None:
        """Prepares it."""
        self.change = change
        self.run_ids: Sequence[str] = ()
        self.weight = 2

    def __call__(self, uow: UnitOfWork) -> Artifact:
        """Does it.

        Raises:
            NotFoundError: There is no such artifact.
        """
        known = uow.artifact(self.change.id)
        if known is None:
            raise artifact_not_found(artifact_id=self.change.id)
        artifact = self.change.applied_to(known)
        uow.put_artifact(artifact)
        return artifact


class DeleteArtifacts:
    """Deletes one artifact, or all of a key; returns how many there were."""

    __slots__ = ("artifact_id", "deleted", "key", "run_ids", "weight")

    def __init__(
        self, *, artifact_id: str | None = None, key: str | None = None, deleted: int = 0
    ) -> None:
        """Prepares it, by either; some of the key may have been deleted."""
        self.artifact_id = artifact_id
        self.key = key
        self.deleted = deleted
        self.run_ids: Sequence[str] = ()
        self.weight = 100

    def __call__(self, uow: UnitOfWork) -> int | Unfinished:
        """Does it."""
        deleted = self.deleted
        while True:
            some = uow.delete_artifacts(
                artifact_id=self.artifact_id, key=self.key, limit=DELETED_AT_ONCE
            )
            deleted += some
            if some < DELETED_AT_ONCE:
                return deleted
            if uow.is_spent():
                return Unfinished(
                    DeleteArtifacts(key=self.key, deleted=deleted),
                    f"{deleted} artifacts were deleted, and others are left.",
                )


def get_artifact(
    store: Store, *, artifact_id: str | None = None, key: str | None = None
) -> Artifact:
    """One artifact: by its id, or the latest of a key.

    Raises:
        NotFoundError: There is none.
    """
    artifact = store.get_artifact(artifact_id=artifact_id, key=key)
    if artifact is None:
        raise artifact_not_found(artifact_id=artifact_id, key=key)
    return artifact


def artifact_not_found(*, artifact_id: str | None = None, key: str | None = None) -> NotFoundError:
    """The error for an artifact that is not there."""
    if artifact_id is not None:
        return NotFoundError(f"There is no artifact {artifact_id}.", artifact_id=artifact_id)
    return NotFoundError(f"There is no artifact with the key {key!r}.", key=str(key))
