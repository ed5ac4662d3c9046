"""The place of a run in its tree, which follows from its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.verdicts import Objection, VerdictKind

if TYPE_CHECKING:
    from flowspan_service.domain.runs import Run

_FLOW = int(RunKind.FLOW)  # reading an enum member from its class costs as much as a call

PARENT_IS_CANCELLED = Objection(
    VerdictKind.ABORT,
    "parent_is_cancelled",
    "The run that called it, or one further up, is being cancelled or was.",
)


def flow_run_below(parent: Run) -> str | None:
    """Return the flow run that a task run called by `parent` belongs to; None outside flows."""
    return parent.id if parent.kind == _FLOW else parent.flow_run_id


def put_below(run: Run, parent: Run) -> None:
    """Set the root and the flow run of a run, as its parent determines them."""
    run.root_run_id = parent.root_run_id
    run.flow_run_id = None if run.kind == _FLOW else flow_run_below(parent)
