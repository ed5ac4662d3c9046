"""Artifacts: what runs show to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Payload


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that a run shows to people; see flowspan.v1.Artifact.

    Attributes:
        key: What it is a version of; None for one that belongs to its run alone.
        run_id: The run that made it; None outside of runs. With a key, it may have been deleted.
        flow_run_id: The flow run that it belongs to; None outside of flows.
        root_run_id: The run at the top of that run's tree; None outside of runs.
        data: What is shown; None where there is nothing, or where it was not asked for.
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
