"""The rules of artifacts."""

from __future__ import annotations

from flowspan_service.domain.artifacts import ArtifactChange, NewArtifact
from flowspan_service.domain.rules.artifacts import (
    decide_artifact_change,
    decide_artifact_creation,
)
from flowspan_service.domain.verdicts import VerdictKind

NEW = NewArtifact("a", "key", "markdown", "", None, "r", 1)


def test_a_creation_is_idempotent_by_the_id():
    assert decide_artifact_creation(NEW, None) is None
    known = NEW.make(None)
    again = NEW._replace(description="another", created_us=2)
    found = decide_artifact_creation(again, known)
    assert found is not None
    assert found[:2] == (VerdictKind.DUPLICATE, "artifact_agrees")
    found = decide_artifact_creation(NEW._replace(key="other"), known)
    assert found is not None
    assert found[:2] == (VerdictKind.REJECTED, "artifact_agrees")


def test_a_change_needs_an_artifact():
    change = ArtifactChange("a", "new", None, 2)
    assert decide_artifact_change(change, NEW.make(None)) is None
    found = decide_artifact_change(change, None)
    assert found is not None
    assert found[:2] == (VerdictKind.REJECTED, "artifact_is_known")
