"""The tree of a run, built from the items of a watch. Pure: no clock, no terminal."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from flowspan.api.models import Change, FlowRun, RunSnapshot, StateType
from flowspan.cli.format import RUNNING_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from uuid import UUID

    from flowspan.api.models import Run, SnapshotEnd, Transition


StateKey: TypeAlias = tuple[StateType, str]
"""Key by which runs are counted: the type and the name of a state (COMPLETED, "Cached")."""

TROUBLE = frozenset({StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})
ACTIVE = frozenset({StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED})


@dataclass(slots=True, eq=False)
class Node:
    """A run and its child runs, in order of creation.

    Attributes:
        groups: The children by kind and function name, in order of first appearance.
        troubled_children: The number of children that are in trouble or have trouble below them.
    """

    run: Run
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    groups: dict[tuple[bool, str], Group] = field(default_factory=dict)
    troubled_children: int = 0

    @property
    def is_in_trouble(self) -> bool:
        """True if the run failed, crashed or was cancelled."""
        return self.run.state.type in TROUBLE

    @property
    def is_troubled(self) -> bool:
        """True if the run or any descendant is in trouble."""
        return self.troubled_children > 0 or self.is_in_trouble

    @property
    def attention(self) -> int:
        """Display priority: 3 in trouble, 2 active, 1 retried, 0 otherwise."""
        if self.is_troubled:
            return 3
        if self.run.state.type in ACTIVE:
            return 2
        return 1 if self.run.attempt > 1 else 0


@dataclass(slots=True, eq=False)
class Group:
    """The children of one run that execute the same function, with aggregates for large groups.

    Attributes:
        counts: The number of nodes in each state, by type and name.
        notable: The nodes whose `attention` is not 0, unordered.
        started_at: The earliest start.
        ended_at: The latest end so far.
    """

    name: str
    is_flow: bool
    nodes: list[Node] = field(default_factory=list)
    counts: Counter[StateKey] = field(default_factory=Counter)
    notable: set[Node] = field(default_factory=set)
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def ended_count(self) -> int:
        """The number of nodes that have ended."""
        return sum(count for (kind, _), count in self.counts.items() if kind.is_terminal)

    def look_at(self, node: Node) -> None:
        """Update the aggregates from the current state of a node."""
        (self.notable.add if node.attention else self.notable.discard)(node)
        run = node.run
        if run.started_at is not None:
            self.started_at = min(self.started_at or run.started_at, run.started_at)
        if run.ended_at is not None:
            self.ended_at = max(self.ended_at or run.ended_at, run.ended_at)


class RunTree:
    """A run and its descendants, kept up to date from a watch or built from lists.

    Attributes:
        root: The requested run; None until the watch has sent it.
        counts: The number of runs in each state over the whole tree, by function name.
        retried: The number of retried runs over the whole tree, by function name.
    """

    def __init__(self, root_id: UUID) -> None:
        self.root: Node | None = None
        self.counts: dict[str, Counter[StateKey]] = {}
        self.retried: Counter[str] = Counter()
        self._root_id = root_id
        self._nodes: dict[UUID, Node] = {}
        self._orphans: dict[UUID, list[Node]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, run_id: UUID) -> Node:
        """Return a run of the tree.

        Raises:
            KeyError: The tree has no such run.
        """
        return self._nodes[run_id]

    def nodes(self) -> Iterator[Node]:
        """Iterate over all runs, in order of arrival."""
        return iter(self._nodes.values())

    def add(self, run: Run) -> None:
        """Add a run, or replace it with a newer version."""
        node = self._nodes.get(run.id)
        if node is None:
            self._insert(Node(run))
        else:
            self._replace(node, run)

    def apply(self, item: RunSnapshot | SnapshotEnd | Change) -> Run | None:
        """Apply an item of a watch; return the changed run as it is now, or None."""
        if isinstance(item, RunSnapshot):
            self.add(item.run)
            return item.run
        if not isinstance(item, Change):
            return None
        node = self._nodes.get(item.transition.run_id)
        if node is None:
            if item.run is None:
                return None  # the run has been deleted since
            node = Node(item.run)
            self._insert(node)
        if item.transition.ordinal > node.run.transition_count:
            self._replace(node, _after(node.run, item.transition))
        return node.run

    def _insert(self, node: Node) -> None:
        run = node.run
        self._nodes[run.id] = node
        self._counter(run)[state_key(run)] += 1
        self.retried[run.function_name] += run.attempt > 1
        if run.id == self._root_id:
            self.root = node
        elif run.parent_run_id in self._nodes and run.parent_run_id != run.id:
            self._attach(self._nodes[run.parent_run_id], node)
        elif run.parent_run_id is not None:
            self._orphans.setdefault(run.parent_run_id, []).append(node)
        for child in self._orphans.pop(run.id, ()):
            # Clients may report a cycle of parents. It is left open at the run that closes it.
            if not _is_above(child, node):
                self._attach(node, child)

    def _attach(self, parent: Node, node: Node) -> None:
        node.parent = parent
        parent.children.append(node)
        key = _key(node.run)
        group = parent.groups.get(key)
        if group is None:
            group = parent.groups[key] = Group(name=key[1], is_flow=key[0])
        group.nodes.append(node)
        group.counts[state_key(node.run)] += 1
        group.look_at(node)
        if node.is_troubled:
            _tell_trouble(node, 1)

    def _replace(self, node: Node, run: Run) -> None:
        before, was_troubled = state_key(node.run), node.is_troubled
        self.retried[run.function_name] += (run.attempt > 1) - (node.run.attempt > 1)
        node.run = run
        group = None if node.parent is None else node.parent.groups[_key(run)]
        for counts in (self._counter(run), *(() if group is None else (group.counts,))):
            counts[state_key(run)] += 1
            counts[before] -= 1
            if not counts[before]:
                del counts[before]
        if group is not None:
            group.look_at(node)
        if node.is_troubled != was_troubled:
            _tell_trouble(node, 1 if node.is_troubled else -1)

    def _counter(self, run: Run) -> Counter[StateKey]:
        return self.counts.setdefault(run.function_name, Counter())


def build(root: Run, runs: Iterable[Run]) -> RunTree:
    """Return the tree of a run from runs in any order. Runs that are not below it are ignored."""
    called: dict[UUID | None, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.id):
        if run.id != root.id:
            called.setdefault(run.parent_run_id, []).append(run)
    tree = RunTree(root.id)
    waiting = deque([root])
    while waiting:
        run = waiting.popleft()
        tree.add(run)
        # Popped, so that a cycle of parents ends where it began.
        waiting.extend(called.pop(run.id, ()))
    return tree


def state_key(run: Run) -> StateKey:
    """Return the key by which a run is counted."""
    return run.state.type, run.state.name


def _is_above(node: Node, other: Node) -> bool:
    """Return True if a node is the other one or an ancestor of it."""
    at: Node | None = other
    while at is not None:
        if at is node:
            return True
        at = at.parent
    return False


def _tell_trouble(node: Node, change: int) -> None:
    """Propagate a change of a node's trouble to its ancestors.

    Stop at the first ancestor whose own status does not change, so that an error that
    propagates through ten thousand runs costs one step for each.

    Args:
        node: The node that has changed.
        change: 1 if it is now troubled, -1 if it no longer is.
    """
    parent = node.parent
    while parent is not None:
        was_troubled = parent.is_troubled
        parent.troubled_children += change
        if parent.parent is not None:
            parent.parent.groups[_key(parent.run)].look_at(parent)
        if parent.is_troubled == was_troubled:
            return
        parent = parent.parent


def _key(run: Run) -> tuple[bool, str]:
    return isinstance(run, FlowRun), run.function_name


def _after(run: Run, transition: Transition) -> Run:
    """Return the run after a transition.

    Its times are derived from the states by the same rules as in the service
    (`domain/rules.py`, `enter`).
    """
    state, before = transition.state, run.state
    run_duration_s = run.run_duration_s
    is_running = before.type in RUNNING_TYPES and run.started_at is not None
    if is_running and before.entered_at and state.entered_at:
        run_duration_s += max((state.entered_at - before.entered_at).total_seconds(), 0.0)
    started_at = run.started_at
    if started_at is None and state.type is StateType.RUNNING:
        started_at = state.entered_at
    return dataclasses.replace(
        run,
        state=state,
        attempt=transition.attempt,
        started_at=started_at,
        run_duration_s=run_duration_s,
        ended_at=state.entered_at if state.is_final() else None,
        transition_count=transition.ordinal,
    )
