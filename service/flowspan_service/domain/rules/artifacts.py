"""The rules of artifacts: creations are idempotent by id, changes need an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.verdicts import Objection, VerdictKind

if TYPE_CHECKING:
    from flowspan_service.domain.artifacts import Artifact, ArtifactChange, NewArtifact

CREATED_BEFORE = Objection(
    VerdictKind.DUPLICATE, "artifact_agrees", "The artifact was already created."
)
CREATED_OTHERWISE = Objection(
    VerdictKind.REJECTED,
    "artifact_agrees",
    "An artifact with this id already exists with different content.",
)


def decide_artifact_creation(new: NewArtifact, known: Artifact | None) -> Objection | None:
    """Check the creation of an artifact.

    Args:
        new: The content of the creation.
        known: The artifact with that id; None if the id is free.
    """
    if known is None:
        return None
    return CREATED_BEFORE if new.agrees_with(known) else CREATED_OTHERWISE


def decide_artifact_change(change: ArtifactChange, known: Artifact | None) -> Objection | None:
    """Check the change of an artifact.

    Args:
        change: The change.
        known: The artifact with that id; None if it is new.
    """
    if known is not None:
        return None
    return Objection(
        VerdictKind.REJECTED,
        "artifact_is_known",
        f"There is no artifact {change.id} to change.",
    )
