"""Watching runs: a snapshot as of a position, and the changes after it.

The store is the source of truth and is read in pages, so a slow watcher costs no memory. The
snapshot is exact: a run that changed while the pages were read is rebuilt from its history as of
the position. So each change after the position follows exactly once, and a watch can resume from
any position.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowspan_service.app.ports.runs import RunQuery
from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.runs import Run, RunKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowspan_service.app.ports import Store
    from flowspan_service.domain.runs import Transition

SNAPSHOT_PAGE = 500
CHANGES_PAGE = 500


@dataclass(slots=True)
class WatchedChange:
    """A transition. The first transition of a run comes with the run as it was created."""

    transition: Transition
    created: Run | None


@dataclass(slots=True)
class ChangesPage:
    """A page of changes."""

    changes: list[WatchedChange]
    looked_at: int
    """The position to continue from."""
    is_last: bool
    """True if there were no more changes at the time of the read."""


def snapshot_pages(
    store: Store, *, at: int, run_id: str | None, flow_runs_only: bool
) -> Iterator[list[Run]]:
    """Yield the runs as they were at a position, page by page, parents before their children.

    Args:
        store: The store; the reads block.
        at: The position.
        run_id: The root of the wanted tree; None for all runs.
        flow_runs_only: True to leave out task runs.
    """
    pages = _tree_pages(store, run_id) if run_id else _all_pages(store, flow_runs_only)
    for page in pages:
        runs = [run for run in page if not flow_runs_only or run.kind == RunKind.FLOW]
        yield [then for run in runs if (then := _as_of(store, run, at)) is not None]


def changes_page(
    store: Store, *, after: int, run_id: str | None, flow_runs_only: bool
) -> ChangesPage:
    """Return a page of the changes after a position, in order."""
    found = store.transitions.changes(after=after, run_id=run_id, limit=CHANGES_PAGE)
    changes = [
        WatchedChange(transition, _as_created(run, transition) if transition.ordinal == 1 else None)
        for transition, run in found.pairs
        if not flow_runs_only or run.kind == RunKind.FLOW
    ]
    return ChangesPage(changes, found.looked_at, is_last=not found.has_more)


def replay(run: Run, transitions: Sequence[Transition]) -> Run:
    """Return the run as it was after these transitions, which are its first ones."""
    then = _as_created(run, transitions[0])
    for transition in transitions[1:]:
        enter(then, ProposedTransition(transition.state, transition.attempt, transition.cause))
        then.position = transition.position
    return then


def _tree_pages(store: Store, run_id: str) -> Iterator[list[Run]]:
    run = store.runs.get(RunKind.FLOW, run_id) or store.runs.get(RunKind.TASK, run_id)
    if run is not None and run.root_run_id != run_id:
        yield from _subtree_pages(store, run_id)
        return
    after_id: str | None = None
    while True:
        page = store.runs.tree(run_id, after_id=after_id, limit=SNAPSHOT_PAGE)
        yield page.items
        if not page.has_more or not page.items:
            return
        after_id = page.items[-1].id


def _subtree_pages(store: Store, run_id: str) -> Iterator[list[Run]]:
    # The walk from run to run happens once, and not for each page.
    run_ids = store.runs.tree_ids(run_id)
    at = 0
    while at < len(run_ids):
        page = store.runs.find(run_ids[at : at + SNAPSHOT_PAGE])
        yield page.items
        at += page.asked


def _all_pages(store: Store, flow_runs_only: bool) -> Iterator[list[Run]]:  # noqa: FBT001 - passed on
    for kind in (RunKind.FLOW,) if flow_runs_only else (RunKind.FLOW, RunKind.TASK):
        after_id: str | None = None
        while True:
            page = store.runs.list(
                RunQuery(kind, oldest_first=True, after_id=after_id, limit=SNAPSHOT_PAGE)
            )
            yield page.items
            if not page.has_more or not page.items:
                break
            after_id = page.items[-1].id


def _as_of(store: Store, run: Run, position: int) -> Run | None:
    """Return the run as it was at the position; None if it did not exist then."""
    if run.position <= position:
        return run
    before = [t for t in store.transitions.of_run(run.id) if t.position <= position]
    return replay(run, before) if before else None


def _as_created(run: Run, first: Transition) -> Run:
    then = copy(run)
    then.state = first.state
    then.attempt = first.attempt
    then.transition_count = 1
    then.cause = first.cause
    then.started_us = then.ended_us = None
    then.run_duration_us = 0
    then.position = first.position
    return then
