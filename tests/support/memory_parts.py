"""Parts of the store in memory: its budget, claims of loops, and the runs that need spans."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from flowspan_service.app.ports.transitions import SpanRuns
from flowspan_service.domain.claims import LoopClaim
from flowspan_service.domain.states import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowspan_service.domain.runs import Run, Transition


class MemoryClaims:
    """The rows of claims, with the ends of their leases."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[LoopClaim, int]] = {}

    def read(self, name: str, now_us: int) -> LoopClaim | None:
        if name not in self._rows:
            return None
        claim, until_us = self._rows[name]
        return LoopClaim(claim.name, claim.holder, until_us - now_us, claim.position)

    def save(self, claim: LoopClaim, now_us: int) -> None:
        self._rows[claim.name] = copy(claim), now_us + claim.left_us


def span_runs(
    runs: Mapping[str, Run],
    history: Iterable[Transition],
    *,
    after: int,
    since_us: int,
    limit: int,
    newest: int,
) -> SpanRuns:
    """See flowspan_service.app.ports.transitions.TransitionReads."""
    found = []
    for each in history:
        run = runs.get(each.run_id)
        if each.position <= after or each.commit_us < since_us:
            continue
        if run is None or run.position != each.position or not run.state.is_terminal:
            continue
        if run.trace and (run.cause == Cause.SESSION_LOST or run.trace.exported_by_service):
            found.append(copy(run))
    if len(found) > limit:
        found = found[:limit]
        return SpanRuns(found, found[-1].position, has_more=True)
    return SpanRuns(found, max(after, newest), has_more=False)
