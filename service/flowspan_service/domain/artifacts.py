"""Artifacts: data that runs publish for people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.domain.runs import RunKind

if TYPE_CHECKING:
    from flowspan_service.domain.payloads import Payload
    from flowspan_service.domain.runs import Run


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact of a run; see flowspan.v1.Artifact.

    Attributes:
        key: The key that the artifact is a version of; None for an artifact of its run alone.
        run_id: The run that created it; None outside of runs. The run of an artifact with a key may
            have been deleted.
        flow_run_id: The flow run that it belongs to; None outside of flows.
        root_run_id: The run at the top of the tree of `run_id`; None outside of runs.
        data: The content; None without content, or if it was not requested.
    """

    id: str
    key: str | None
    type: str
    description: str
    data: Payload | None
    run_id: str | None
    flow_run_id: str | None
    root_run_id: str | None
    created_us: int
    updated_us: int


class NewArtifact(NamedTuple):
    """The content of a creation of an artifact."""

    id: str
    key: str | None
    type: str
    description: str
    data: Payload | None
    run_id: str | None
    created_us: int

    def make(self, run: Run | None) -> Artifact:
        """Return the artifact, created by that run."""
        is_flow = run is not None and run.kind == RunKind.FLOW
        return Artifact(
            id=self.id,
            key=self.key,
            type=self.type,
            description=self.description,
            data=self.data,
            run_id=self.run_id,
            flow_run_id=None if run is None else run.id if is_flow else run.flow_run_id,
            root_run_id=None if run is None else run.root_run_id,
            created_us=self.created_us,
            updated_us=self.created_us,
        )

    def agrees_with(self, artifact: Artifact) -> bool:
        """Return True if the artifact was created with the same content.

        Mutable fields and the time do not count: a second request may come later.
        """
        return (
            self.key == artifact.key
            and self.type == artifact.type
            and self.run_id == artifact.run_id
        )


class ArtifactChange(NamedTuple):
    """A change of an artifact; a field that is None stays as it is."""

    id: str
    description: str | None
    data: Payload | None
    changed_us: int

    def applied_to(self, artifact: Artifact) -> Artifact:
        """Return the artifact after the change."""
        return replace(
            artifact,
            description=artifact.description if self.description is None else self.description,
            data=artifact.data if self.data is None else self.data,
            updated_us=max(artifact.updated_us, self.changed_us),
        )
