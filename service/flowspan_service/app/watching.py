"""Watching runs: a snapshot as of a position, and the changes after it.

The store is the source of truth and is read in pages, so a slow watcher costs no memory. The
snapshot is exact: a run that changed while the pages were read is rebuilt from its history as of
the position. So each change after the position follows exactly once, and a watch can resume from
any position.

A snapshot of the active runs reads no other runs, so it costs the same however many have ended. A
run that ended between the position and its page is in no page; the changes since then name it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from flowspan_service.app.ports.runs import RunFilter, RunQuery
from flowspan_service.domain.rules.transitions import ProposedTransition, enter
from flowspan_service.domain.runs import Run, RunKind
from flowspan_service.domain.states import OPEN_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowspan_service.app.ports import Store
    from flowspan_service.domain.runs import Transition

SNAPSHOT_PAGE = 500
CHANGES_PAGE = 500

NO_FILTER = RunFilter()


class Watched(NamedTuple):
    """The scope of a watch."""

    run_id: str | None
    """The run whose tree is watched; None for everything."""
    root_run_id: str | None
    """The root of that tree."""
    flow_runs_only: bool
    filter: RunFilter = NO_FILTER
    """The runs to watch, by fields about what never changes; the others are ignored."""

    def includes(self, run: Run) -> bool:
        """Return True if a run of the tree is watched."""
        if self.flow_runs_only and run.kind != RunKind.FLOW:
            return False
        wanted = self.filter
        return wanted is NO_FILTER or _matches(run, wanted)


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
    store: Store, watched: Watched, *, at: int, active_only: bool = False
) -> Iterator[list[Run]]:
    """Yield the runs as they were at a position, page by page.

    In a tree, parents come before their children. Active runs that have ended since the position
    come last.

    Args:
        store: The store; the reads block.
        watched: The scope.
        at: The position.
        active_only: True to leave out the runs that were in a terminal state then.
    """
    if active_only:
        yield from _active_pages(store, watched, at)
        return
    for page in _pages(store, watched):
        runs = [run for run in page if watched.includes(run)]
        yield [then for run in runs if (then := _as_of(store, run, at)) is not None]


def changes_page(store: Store, watched: Watched, *, after: int) -> ChangesPage:
    """Return a page of the changes after a position, in order."""
    found = store.transitions.changes(after=after, run_id=watched.run_id, limit=CHANGES_PAGE)
    changes = [
        WatchedChange(transition, _as_created(run, transition) if transition.ordinal == 1 else None)
        for transition, run in found.pairs
        if watched.includes(run)
    ]
    return ChangesPage(changes, found.looked_at, is_last=not found.has_more)


def replay(run: Run, transitions: Sequence[Transition]) -> Run:
    """Return the run as it was after these transitions, which are its first ones."""
    then = _as_created(run, transitions[0])
    for transition in transitions[1:]:
        enter(then, ProposedTransition(transition.state, transition.attempt, transition.cause))
        then.position = transition.position
    return then


def _matches(run: Run, wanted: RunFilter) -> bool:
    """Evaluate the fields of a filter about what never changes; see flowspan.v1.RunFilter."""
    created_us = run.created_us
    return all(
        (
            not wanted.function_names or run.function_name in wanted.function_names,
            set(run.tags).issuperset(wanted.tags),
            wanted.parent_run_id in (None, run.parent_run_id),
            wanted.root_run_id in (None, run.root_run_id),
            wanted.flow_run_id in (None, run.flow_run_id),
            not wanted.top_level_only or run.parent_run_id is None,
            wanted.created_after_us is None or created_us >= wanted.created_after_us,
            wanted.created_before_us is None or created_us < wanted.created_before_us,
            wanted.run_name in (None, run.run_name),
        )
    )


def _active_pages(store: Store, watched: Watched, at: int) -> Iterator[list[Run]]:
    """Yield the runs that were open at a position; those that have ended since come last."""
    shown: set[str] = set()
    for page in _pages(store, watched, state_types=OPEN_TYPES):
        yield _open_then(store, watched, page, at, shown)
    # Each change before this one is in a page above, or among the transitions that follow.
    upto = store.position()
    after = at
    while after < upto:
        found = store.transitions.changes(after=after, run_id=watched.run_id, limit=CHANGES_PAGE)
        changed = {run.id: run for transition, run in found.pairs if transition.ordinal > 1}
        yield _open_then(store, watched, changed.values(), at, shown)
        after = found.looked_at


def _open_then(
    store: Store, watched: Watched, runs: Iterable[Run], at: int, shown: set[str]
) -> list[Run]:
    """Return the runs that were open at a position, without those shown; add them to these."""
    wanted = [run for run in runs if run.id not in shown and watched.includes(run)]
    found = [then for run in wanted if (then := _as_of(store, run, at)) is not None]
    found = [run for run in found if not run.state.is_terminal]
    shown.update(run.id for run in found)
    return found


def _pages(
    store: Store, watched: Watched, *, state_types: Sequence[int] = ()
) -> Iterator[list[Run]]:
    """Yield the runs in states of some types, or all; of a tree, without regard to the filter."""
    if watched.run_id is None:
        yield from _filtered_pages(store, watched, state_types)
    elif watched.run_id == watched.root_run_id:
        yield from _tree_pages(store, watched.run_id, state_types)
    else:
        yield from _subtree_pages(store, watched.run_id, state_types)


def _tree_pages(store: Store, run_id: str, state_types: Sequence[int]) -> Iterator[list[Run]]:
    after_id: str | None = None
    while True:
        page = store.runs.tree(
            run_id, after_id=after_id, limit=SNAPSHOT_PAGE, state_types=state_types
        )
        yield page.items
        if not page.has_more or not page.items:
            return
        after_id = page.items[-1].id


def _subtree_pages(store: Store, run_id: str, state_types: Sequence[int]) -> Iterator[list[Run]]:
    # The walk from run to run happens once, and not for each page.
    run_ids = store.runs.tree_ids(run_id, state_types=state_types)
    at = 0
    while at < len(run_ids):
        page = store.runs.find(run_ids[at : at + SNAPSHOT_PAGE])
        yield page.items
        at += page.asked


def _filtered_pages(
    store: Store, watched: Watched, state_types: Sequence[int]
) -> Iterator[list[Run]]:
    wanted = replace(watched.filter, state_types=tuple(state_types))
    for kind in (RunKind.FLOW,) if watched.flow_runs_only else (RunKind.FLOW, RunKind.TASK):
        query = RunQuery(
            kind, wanted, oldest_first=True, limit=SNAPSHOT_PAGE, prefers_states=bool(state_types)
        )
        while True:
            page = store.runs.list(query)
            yield page.items
            if not page.has_more or not page.items:
                break
            query = replace(query, after_id=page.items[-1].id)


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
