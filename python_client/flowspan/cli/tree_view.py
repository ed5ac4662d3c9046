"""Draws the tree of a run: a line for a run, and one for a large fan-out as a whole.

What deserves attention is always drawn (what failed, what is being retried, what runs); of what
went well, the more is folded the more there is.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from flowspan.api.models import StateType
from flowspan.cli import format as fmt
from flowspan.cli.tree import ACTIVE, TROUBLE, Node

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from flowspan.api.models import Run
    from flowspan.cli.tree import Group, RunTree

_TIME_WIDTH = 7
_LEAST_LABEL_WIDTH = 16
_USUAL_STATE_WIDTH = 14
_BAR_WIDTHS = (24, 12, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """How much is drawn.

    Attributes:
        fold_above: Runs of one function below one parent are folded when they are more than this.
        notable: How many of a folded group are drawn nevertheless.
        expand_ended: Whether runs that completed are drawn with what they called.
    """

    fold_above: int
    notable: int
    expand_ended: bool = True


FULL = Detail(fold_above=1_000_000_000, notable=0)
STANDARD = Detail(fold_above=8, notable=10)
_EVER_LESS = (
    STANDARD,
    Detail(fold_above=5, notable=5),
    Detail(fold_above=3, notable=4, expand_ended=False),
    Detail(fold_above=1, notable=2, expand_ended=False),
    Detail(fold_above=0, notable=1, expand_ended=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the tree, before it is laid out in columns.

    Attributes:
        label: The guides and the names.
        state: The state, or how many are in which.
        short_state: The same for a narrow terminal.
        time: How long it took so far.
        note: What else there is to say.
        progress: For a group that has not ended: how many have, and how many there are.
    """

    label: Text
    state: Text
    short_state: Text
    time: str
    note: Text
    progress: tuple[int, int] | None = None


def fitting(
    tree: RunTree, *, now: datetime, max_lines: int, expected: Mapping[str, int] | None = None
) -> list[Line]:
    """The tree in as much detail as `max_lines` lines allow; see `lines`."""
    drawn: list[Line] = []
    for detail in _EVER_LESS:
        drawn = lines(tree, now=now, detail=detail, expected=expected)
        if len(drawn) <= max_lines:
            return drawn
    return drawn[:max_lines]


def lines(
    tree: RunTree, *, now: datetime, detail: Detail, expected: Mapping[str, int] | None = None
) -> list[Line]:
    """The lines of a tree, from the root.

    Args:
        tree: What is drawn; nothing as long as its root is not known.
        now: The time, for runs that have not ended.
        detail: How much is drawn.
        expected: How many runs of a function there will be below one parent, by the function's
            name, where that is known better than from those that are there.
    """
    if tree.root is None:
        return []
    return list(_Drawing(now, detail, expected or {}).node(tree.root, "", ""))


class _Drawing:
    def __init__(self, now: datetime, detail: Detail, expected: Mapping[str, int]) -> None:
        self._now = now
        self._detail = detail
        self._expected = expected

    def node(self, node: Node, guide: str, below: str) -> Iterator[Line]:
        run = node.run
        label = Text.assemble((guide, "dim"), title(run))
        state = state_text(run.state.type, run.state.name)
        yield Line(
            label=label,
            state=state,
            short_state=state,
            time=fmt.run_duration(run, now=self._now),
            note=_note(node),
        )
        if (
            self._detail.expand_ended
            or run.state.type is not StateType.COMPLETED
            or node.trouble_below
        ):
            yield from self._siblings(self._entries(node), below)

    def _entries(self, node: Node) -> list[Node | Group]:
        """The children, or their group where there are too many of a kind."""
        entries: list[Node | Group] = []
        for group in node.groups.values():
            if self._total(group) > self._detail.fold_above:
                entries.append(group)
            else:
                entries.extend(group.nodes)
        return entries

    def _siblings(self, entries: Sequence[Node | Group], below: str) -> Iterator[Line]:
        for index, entry in enumerate(entries):
            is_last = index == len(entries) - 1
            guide = below + ("└─ " if is_last else "├─ ")
            deeper = below + ("   " if is_last else "│  ")
            if isinstance(entry, Node):
                yield from self.node(entry, guide, deeper)
            else:
                yield self._folded(entry, guide)
                yield from self._siblings(_notable(entry, self._detail.notable), deeper)

    def _total(self, group: Group) -> int:
        return max(len(group.nodes), self._expected.get(group.name, 0))

    def _folded(self, group: Group, guide: str) -> Line:
        total = self._total(group)
        return Line(
            label=Text.assemble((guide, "dim"), fmt.visible(group.name), (f" ×{total:,}", "bold")),
            state=counts_text(group.counts),
            short_state=counts_text(group.counts, with_names=False),
            time=_span(group, self._now),
            note=Text(),
            progress=None if group.ended_count == total else (group.ended_count, total),
        )


def title(run: Run) -> Text:
    """The names of a run: of its function, and its own."""
    function_name, run_name = fmt.visible(run.function_name), fmt.visible(run.name)
    if run_name.startswith(function_name):  # "parse-3" says it all
        return Text(run_name)
    text = Text.assemble(function_name, (f" {run_name}", "dim"))
    text.rstrip()
    return text


def state_text(kind: StateType, name: str) -> Text:
    """A state with its symbol, in its colour."""
    return Text.assemble((f"{fmt.SYMBOLS[kind]} {fmt.visible(name)}", fmt.STYLES[kind]))


def counts_text(counts: Counter[StateType], *, with_names: bool = True) -> Text:
    """How many runs are in which state: what needs attention comes first."""
    present = [(kind, count) for kind, count in counts.items() if count]
    if len(present) == 1:
        kind, _ = present[0]
        return state_text(kind, kind.name.capitalize())
    present.sort(key=lambda item: (item[0] not in TROUBLE, item[0] not in ACTIVE, item[0]))
    text = Text()
    for kind, count in present:
        name = f" {kind.name.capitalize()}" if with_names else ""
        text.append("  " if text else "")
        text.append(f"{fmt.SYMBOLS[kind]} {count:,}{name}", style=fmt.STYLES[kind])
    return text


def totals(tree: RunTree) -> list[Text]:
    """How many runs of each function a tree has, and their states; the most frequent first."""
    sums = {name: sum(counts.values()) for name, counts in tree.counts.items()}
    if tree.root is not None and sums.get(tree.root.run.function_name) == 1 and len(sums) > 1:
        del sums[tree.root.run.function_name]  # the root has a line of its own
    name_width = max(map(len, sums), default=0)
    rows: list[Text] = []
    for name in sorted(sums, key=lambda name: -sums[name]):
        row = Text(f"{sums[name]:>7,}  {name:<{name_width}}  ")
        row.append_text(counts_text(tree.counts[name]))
        if tree.retried[name]:
            row.append(f"  {tree.retried[name]:,} retried", style="yellow")
        rows.append(row)
    return rows


def progress_text(done: int, total: int, *, room: int | None) -> Text:
    """How much of the whole is done, with a bar where there is room for it."""
    figures = f"{done:,}/{total:,}"
    for bar_width in _BAR_WIDTHS:
        if room is None or bar_width + 1 + len(figures) <= room:
            filled = bar_width * done // total
            return Text.assemble(
                ("━" * filled, "green"), ("─" * (bar_width - filled), "dim"), f" {figures}"
            )
    return Text(figures)


def layout(drawn: Iterable[Line], *, width: int | None) -> list[Text]:
    """Lines in columns: the label, the state, the time it took, and what there is to say.

    Args:
        drawn: The lines.
        width: The width of the terminal, to which lines are cut; None never cuts.
    """
    drawn = list(drawn)
    label_width = max((line.label.cell_len for line in drawn), default=0)
    # The counts of a folded group may be longer than the names of states: they may overhang.
    state_widths = [line.state.cell_len for line in drawn]
    state_width = max((w for w in state_widths if w <= _USUAL_STATE_WIDTH), default=0)
    if width is not None:
        room = width - state_width - _TIME_WIDTH - 4
        label_width = max(min(label_width, room), _LEAST_LABEL_WIDTH)
    return [_row(line, label_width, state_width, width) for line in drawn]


def _row(line: Line, label_width: int, state_width: int, width: int | None) -> Text:
    row = line.label.copy()
    row.truncate(label_width, overflow="ellipsis", pad=True)
    note = line.note
    used = label_width + _TIME_WIDTH + 6
    least = len(f"{line.progress[0]:,}/{line.progress[1]:,}") if line.progress else 0
    is_narrow = width is not None and used + line.state.cell_len + least > width
    state = line.short_state if is_narrow else line.state
    row.append("  ")
    row.append_text(state)
    row.append(" " * max(state_width - state.cell_len, 0))
    row.append(f"  {line.time:>{_TIME_WIDTH}}")
    if line.progress is not None:
        room = None if width is None else width - row.cell_len - 2
        note = progress_text(*line.progress, room=room)
    if note:
        row.append("  ")
        row.append_text(note)
    row.rstrip()
    if width is not None:
        row.truncate(width, overflow="ellipsis")
    return row


def _note(node: Node) -> Text:
    run = node.run
    parts: list[Text] = []
    if run.attempt > 1:
        parts.append(Text.assemble((f"attempt {run.attempt}", "yellow")))
    if run.state.type is not StateType.COMPLETED:
        reason = fmt.reason(run.state)
        if reason:
            parts.append(Text.assemble((reason, fmt.STYLES[run.state.type])))
    return Text(" · ").join(parts)


def _notable(group: Group, limit: int) -> list[Node]:
    """Those of a group that deserve a line the most, in the order of creation."""
    chosen = heapq.nsmallest(limit, group.notable, key=lambda node: (-node.attention, node.run.id))
    return sorted(chosen, key=lambda node: node.run.id)


def _span(group: Group, now: datetime) -> str:
    """The time from the first start in a group to its last end."""
    if group.started_at is None:
        return ""
    is_over = group.ended_count == len(group.nodes)
    end = group.ended_at if is_over and group.ended_at is not None else now
    return fmt.duration((end - group.started_at).total_seconds())
