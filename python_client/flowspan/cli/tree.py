"""The tree of a run as the watch tells of it. Pure: no clock, no terminal."""

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
"""A state as runs are counted by it: its type and its name (COMPLETED, "Cached")."""

TROUBLE = frozenset({StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})
ACTIVE = frozenset({StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED})


@dataclass(slots=True, eq=False)
class Node:
    """A run and the runs that it called, in the order of creation.

    Attributes:
        groups: The children by kind and function name, in the order of the first of each.
        troubled_children: How many of its children are in trouble, or have trouble below them.
    """

    run: Run
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    groups: dict[tuple[bool, str], Group] = field(default_factory=dict)
    troubled_children: int = 0

    @property
    def is_in_trouble(self) -> bool:
        """Whether the run ended otherwise than it should."""
        return self.run.state.type in TROUBLE

    @property
    def is_troubled(self) -> bool:
        """True if the run, or one somewhere below it, ended otherwise than it should."""
        return self.troubled_children > 0 or self.is_in_trouble

    @property
    def attention(self) -> int:
        """How much it deserves to be looked at: 3 in trouble, 2 running, 1 tried again, 0 not."""
        if self.is_troubled:
            return 3
        if self.run.state.type in ACTIVE:
            return 2
        return 1 if self.run.attempt > 1 else 0


@dataclass(slots=True, eq=False)
class Group:
    """The children of one run that execute the same function. Large ones are looked at as a whole.

    Attributes:
        counts: How many are in each state, by its type and name.
        notable: Those whose `attention` is not 0, in no order.
        started_at: When the first began.
        ended_at: When the last of those that have ended did so.
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
        """How many have ended."""
        return sum(count for (kind, _), count in self.counts.items() if kind.is_terminal)

    def look_at(self, node: Node) -> None:
        """Takes note of what a node of the group is now."""
        (self.notable.add if node.attention else self.notable.discard)(node)
        run = node.run
        if run.started_at is not None:
            self.started_at = min(self.started_at or run.started_at, run.started_at)
        if run.ended_at is not None:
            self.ended_at = max(self.ended_at or run.ended_at, run.ended_at)


class RunTree:
    """A run and everything below it, kept up to date from a watch or built from lists.

    Attributes:
        root: The run asked for; None until the watch has told of it.
        counts: How many runs of the whole tree are in each state, by function name.
        retried: How many runs of the whole tree were tried more than once, by function name.
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
        """A run of the tree.

        Raises:
            KeyError: The tree has no such run.
        """
        return self._nodes[run_id]

    def nodes(self) -> Iterator[Node]:
        """All runs, in the order in which they came."""
        return iter(self._nodes.values())

    def add(self, run: Run) -> None:
        """Takes a run, or a newer version of it."""
        node = self._nodes.get(run.id)
        if node is None:
            self._insert(Node(run))
        else:
            self._replace(node, run)

    def apply(self, item: RunSnapshot | SnapshotEnd | Change) -> Run | None:
        """Takes an item of a watch; returns the run as it is now if the item changed one."""
        if isinstance(item, RunSnapshot):
            self.add(item.run)
            return item.run
        if not isinstance(item, Change):
            return None
        node = self._nodes.get(item.transition.run_id)
        if node is None:
            if item.run is None:
                return None  # of a run that was deleted since
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
            # Clients may have made a circle of parents: it stays open at the run that closes it.
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
    """The tree of a run out of runs in any order; those that are not below it are left out."""
    called: dict[UUID | None, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.id):
        if run.id != root.id:
            called.setdefault(run.parent_run_id, []).append(run)
    tree = RunTree(root.id)
    waiting = deque([root])
    while waiting:
        run = waiting.popleft()
        tree.add(run)
        # Taken out, so that a circle of parents ends where it began.
        waiting.extend(called.pop(run.id, ()))
    return tree


def state_key(run: Run) -> StateKey:
    """The state of a run as runs are counted by it."""
    return run.state.type, run.state.name


def _is_above(node: Node, other: Node) -> bool:
    """True if a node is another one, or above it."""
    at: Node | None = other
    while at is not None:
        if at is node:
            return True
        at = at.parent
    return False


def _tell_trouble(node: Node, change: int) -> None:
    """Count a node that has become troubled (1), or has ceased to be (-1), in those above it.

    Ends at the first that is troubled all the same, so that an error which went up through ten
    thousand runs costs one step for each.
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
    """The run after a transition, as far as a transition tells: the times are its own.

    They follow from the states as the service has them follow (`domain/rules.py`, `enter`).
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
