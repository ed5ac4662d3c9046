"""The rules of events that are decided before the state of a run: creations and unknown runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.rules.transitions import INITIAL_TYPES
from flowspan_service.domain.verdicts import Objection, VerdictKind

if TYPE_CHECKING:
    from flowspan_service.domain.runs import NewRun, Run

RUN_WAS_DELETED = Objection(VerdictKind.ABORT, "run_was_deleted", "The run was deleted.")
PARENT_WAS_DELETED = Objection(
    VerdictKind.ABORT, "run_was_deleted", "The run that called it was deleted."
)
RUN_IS_UNKNOWN = Objection(VerdictKind.REJECTED, "run_is_known", "No run with this id was created.")
CREATED_BEFORE = Objection(VerdictKind.DUPLICATE, "creation_agrees", "The run was already created.")
CREATED_OTHERWISE = Objection(
    VerdictKind.ABORT,
    "creation_agrees",
    "A run with this id already exists with different content.",
)


def decide_creation(new: NewRun) -> Objection | None:
    """Check the creation of a run whose id is free."""
    if new.state.type in INITIAL_TYPES:
        return None
    return Objection(
        VerdictKind.REJECTED,
        "starts_scheduled_or_pending",
        f"A run begins as Scheduled or Pending, not as {new.state.name}.",
    )


def decide_repeated_creation(run: Run, new: NewRun) -> Objection:
    """Check the creation of a run that exists: DUPLICATE if the content agrees."""
    return CREATED_BEFORE if new.agrees_with(run) else CREATED_OTHERWISE
