"""The errors of use cases that do not find a run."""

from __future__ import annotations

from flowspan_service.domain.errors import NotFoundError
from flowspan_service.domain.runs import RunKind


def run_not_found(kind: int, run_id: str) -> NotFoundError:
    """Return the error for a run that does not exist."""
    noun = "flow run" if kind == RunKind.FLOW else "task run"
    return NotFoundError(f"There is no {noun} {run_id}.", run_id=run_id)
