"""Rendering of a run's tree: one line per run, or one line for a large fan-out.

Runs that need attention (failed, retrying, running) are always drawn. Successful runs are
folded more, the more there are. The code does not recurse, so a tree may have any depth.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from rich.text import Text

from flowspan.api.models import StateType, TaskRun
from flowspan.cli import format as fmt
from flowspan.cli import run_details
from flowspan.cli.state_view import counts_texts, longest, state_text
from flowspan.cli.tree import Node, state_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from flowspan.api.models import Run
    from flowspan.cli.tree import Group, RunTree, StateKey

_TIME_WIDTH = 7
_LEAST_LABEL_WIDTH = 16
_USUAL_STATE_WIDTH = 14
_BAR_WIDTHS = (24, 12, 6)
_GUIDE_WIDTH = 3
_INDENTED_LEVELS = 20
_NAME_ROOM = 24
_STATE_ROOM = 30
_MAX_TOTALS = 20
_ARGUMENTS_WIDTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """Amount of detail that is drawn.

    Attributes:
        fold_above: Fold the runs of one function below one parent if there are more than this.
        notable: The number of runs of a folded group that are drawn nevertheless.
        expand_ended: True to draw the descendants of completed runs.
        max_entries: The maximum number of runs and groups drawn below one parent.
        max_depth: The maximum number of levels drawn.
    """

    fold_above: int
    notable: int
    expand_ended: bool = True
    max_entries: int = 100
    max_depth: int = 50


_ALL = 1_000_000_000
FULL = Detail(fold_above=_ALL, notable=0, max_entries=_ALL, max_depth=_ALL)
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
        states: The state, or the counts by state, in decreasing length.
        time: The running time so far.
        note: Further details, such as the attempt or the error.
        progress: The numbers of ended and of all runs, for a group that has not ended.
    """

    label: Text
    states: tuple[Text, ...] = ()
    time: str = ""
    note: Text = field(default_factory=Text)
    progress: tuple[int, int] | None = None


def fitting(
    tree: RunTree,
    *,
    now: datetime,
    max_lines: int,
    expected: Mapping[str, int] | None = None,
    indented_levels: int = _INDENTED_LEVELS,
) -> list[Line]:
    """Return the tree in as much detail as `max_lines` lines allow; see `lines`."""
    drawn: list[Line] = []
    for detail in _EVER_LESS:
        every = lines(
            tree, now=now, detail=detail, expected=expected, indented_levels=indented_levels
        )
        drawn = list(islice(every, max_lines + 1))
        if len(drawn) <= max_lines:
            return drawn
    return [*drawn[: max_lines - 1], Line(label=Text("… and more", "dim"))]


def lines(
    tree: RunTree,
    *,
    now: datetime,
    detail: Detail,
    expected: Mapping[str, int] | None = None,
    indented_levels: int = _INDENTED_LEVELS,
) -> Iterator[Line]:
    """Yield the lines of a tree from the root, each rendered on demand.

    Args:
        tree: The tree. Nothing is drawn until its root is known.
        now: The current time, for runs that have not ended.
        detail: The amount of detail.
        expected: The expected number of runs of a function below one parent, by function name, if
            it is known in advance.
        indented_levels: The number of levels that are indented. Deeper lines start with their
            depth.
    """
    if tree.root is None:
        return
    drawing = _Drawing(now, detail, expected or {}, indented_levels)
    yield drawing.node_line(tree.root, Text())
    under_way = [drawing.below(tree.root, _Place(0, ""))]
    while under_way:
        found = next(under_way[-1], None)
        if found is None:
            under_way.pop()
            continue
        line, deeper = found
        yield line
        if deeper is not None:
            under_way.append(deeper)


def indented_levels(width: int | None) -> int:
    """Return the number of levels that can be indented before names no longer fit."""
    if width is None:
        return _INDENTED_LEVELS
    return min(max((width - _NAME_ROOM - _STATE_ROOM) // _GUIDE_WIDTH, 2), _INDENTED_LEVELS)


@dataclass(frozen=True, slots=True)
class _Place:
    """A position in the tree: its depth and the guides of the levels above."""

    depth: int
    guides: str


_Part: TypeAlias = "tuple[Line, Iterator[_Part] | None]"
"""A line, and the lines below it."""


class _Drawing:
    def __init__(
        self, now: datetime, detail: Detail, expected: Mapping[str, int], indented_levels: int
    ) -> None:
        self._now = now
        self._detail = detail
        self._expected = expected
        self._indented_levels = indented_levels

    def node_line(self, node: Node, guide: Text) -> Line:
        """Return the line of a run."""
        run = node.run
        state = state_text(run.state.type, run.state.name)
        state.truncate(_STATE_ROOM, overflow="ellipsis")
        return Line(
            label=Text.assemble(guide, title(run)),
            states=(state,),
            time=fmt.run_duration(run, now=self._now),
            note=self._note(node),
        )

    def below(self, node: Node, place: _Place) -> Iterator[_Part]:
        """Yield the lines below a run: its children, or groups if a function has too many runs."""
        is_open = (
            self._detail.expand_ended
            or node.run.state.type is not StateType.COMPLETED
            or node.troubled_children > 0
        )
        if not is_open:
            return
        if place.depth >= self._detail.max_depth:
            yield from self._more(_states_below(node), place)
            return
        entries, left_out = self._entries(node)
        yield from self._siblings(entries, place, left_out)

    def _entries(self, node: Node) -> tuple[list[Node | Group], Counter[StateKey]]:
        """Return the children and groups to draw, and the states of the omitted children."""
        entries: list[Node | Group] = []
        for group in node.groups.values():
            if self._total(group) > self._detail.fold_above:
                entries.append(group)
            else:
                entries.extend(group.nodes)
        most = self._detail.max_entries
        left_out: Counter[StateKey] = Counter()
        if len(entries) <= most:
            return entries, left_out
        chosen = set(
            heapq.nsmallest(
                most, range(len(entries)), key=lambda index: (-_attention(entries[index]), index)
            )
        )
        for index, entry in enumerate(entries):
            if index not in chosen:
                left_out.update([state_key(entry.run)] if isinstance(entry, Node) else entry.counts)
        return [entries[index] for index in sorted(chosen)], left_out

    def _siblings(
        self, entries: Sequence[Node | Group], place: _Place, left_out: Counter[StateKey]
    ) -> Iterator[_Part]:
        for index, entry in enumerate(entries):
            is_last = index == len(entries) - 1 and not left_out
            guide, deeper = self._guide(place, is_last=is_last)
            if isinstance(entry, Node):
                yield self.node_line(entry, guide), self.below(entry, deeper)
            else:
                yield self._folded(entry, guide), self._notable(entry, deeper)
        yield from self._more(left_out, place)

    def _notable(self, group: Group, place: _Place) -> Iterator[_Part]:
        """Yield the runs of a folded group with the highest priority, in order of creation."""
        limit = self._detail.notable
        chosen = heapq.nsmallest(
            limit, group.notable, key=lambda node: (-node.attention, node.run.id)
        )
        left_out: Counter[StateKey] = Counter()
        if len(chosen) < len(group.notable):
            left_out.update(state_key(node.run) for node in group.notable.difference(chosen))
        chosen.sort(key=lambda node: node.run.id)
        yield from self._siblings(chosen, place, left_out)

    def _guide(self, place: _Place, *, is_last: bool) -> tuple[Text, _Place]:
        """Return the guide of a line and the place of the lines below it."""
        elbow = "└─ " if is_last else "├─ "
        depth = place.depth + 1
        if depth > self._indented_levels:
            return Text(f"… {depth:,} {elbow}", "dim"), _Place(depth, place.guides)
        further = place.guides + ("   " if is_last else "│  ")
        return Text(place.guides + elbow, "dim"), _Place(depth, further)

    def _more(self, left_out: Counter[StateKey], place: _Place) -> Iterator[_Part]:
        """Yield the line with the number of omitted runs, if there are any."""
        if left_out:
            guide, _ = self._guide(place, is_last=True)
            label = Text.assemble(guide, (f"… {fmt.count(left_out.total())} more", "dim"))
            yield Line(label=label, states=counts_texts(left_out)), None

    def _total(self, group: Group) -> int:
        return max(len(group.nodes), self._expected.get(group.name, 0))

    def _folded(self, group: Group, guide: Text) -> Line:
        total = self._total(group)
        return Line(
            label=Text.assemble(guide, fmt.visible(group.name), (f" ×{fmt.count(total)}", "bold")),
            states=counts_texts(group.counts),
            time=_span(group, self._now),
            progress=None if group.ended_count == total else (group.ended_count, total),
        )

    def _note(self, node: Node) -> Text:
        run = node.run
        parts: list[Text] = []
        if run.attempt > 1:
            parts.append(Text(f"attempt {run_details.attempts(run)}", "yellow"))
        wait = fmt.run_wait(run, now=self._now)
        if wait:
            parts.append(Text(f"waited {wait}", "dim"))
        if node.is_in_trouble and isinstance(run, TaskRun):
            # Among mapped runs, the arguments tell which element it was.
            arguments = fmt.visible(run_details.arguments(run, width=_ARGUMENTS_WIDTH))
            parts += [Text(arguments, "dim")] if arguments else []
        if run.state.type is not StateType.COMPLETED:
            reason = fmt.reason(run.state)
            if reason:
                parts.append(Text(reason, fmt.STYLES[run.state.type]))
        return Text(" · ").join(parts)


def _attention(entry: Node | Group) -> int:
    if isinstance(entry, Node):
        return entry.attention
    return max((node.attention for node in islice(entry.notable, 100)), default=0)


def _states_below(node: Node) -> Counter[StateKey]:
    """Return the number of descendants in each state."""
    counts: Counter[StateKey] = Counter()
    waiting = [node]
    while waiting:
        children = waiting.pop().children
        counts.update(state_key(child.run) for child in children)
        waiting.extend(children)
    return counts


def title(run: Run) -> Text:
    """Return the names of a run: the function's name and its own."""
    function_name, run_name = fmt.visible(run.function_name), fmt.visible(run.name)
    if run_name.startswith(function_name):  # "parse-3" already contains the function's name
        return Text(run_name)
    text = Text.assemble(function_name, (f" {run_name}", "dim"))
    text.rstrip()
    return text


def totals(tree: RunTree, *, limit: int = _MAX_TOTALS, width: int | None = None) -> list[Text]:
    """Return the number of runs of each function and their states, most frequent first."""
    sums = {name: sum(counts.values()) for name, counts in tree.counts.items()}
    if tree.root is not None and sums.get(tree.root.run.function_name) == 1 and len(sums) > 1:
        del sums[tree.root.run.function_name]  # the root has its own line
    shown = sorted(sums, key=lambda name: -sums[name])[:limit]
    names = [Text(fmt.visible(name)) for name in shown]
    name_width = max((name.cell_len for name in names), default=0)
    if width is not None:
        name_width = min(name_width, max(width - _STATE_ROOM - 12, _LEAST_LABEL_WIDTH))
    rows: list[Text] = []
    for name, label in zip(shown, names, strict=True):
        label.truncate(name_width, overflow="ellipsis", pad=True)
        row = Text.assemble(f"{sums[name]:>7,}  ", label, "  ")
        retried = f"  {tree.retried[name]:,} retried" if tree.retried[name] else ""
        room = None if width is None else width - row.cell_len - len(retried)
        row.append_text(longest(counts_texts(tree.counts[name]), room))
        row.append(retried, style="yellow")
        rows.append(row)
    if len(sums) > limit:
        rows.append(Text(f"         … {fmt.count(len(sums) - limit)} more functions", "dim"))
    if width is not None:
        for row in rows:
            row.truncate(width, overflow="ellipsis")
    return rows


def progress_text(done: int, total: int, *, room: int | None) -> Text:
    """Return the progress as figures, with a bar if there is room for one."""
    figures = _progress_figures(done, total)
    for bar_width in _BAR_WIDTHS:
        if room is None or bar_width + 1 + len(figures) <= room:
            filled = bar_width * done // total
            return Text.assemble(
                ("━" * filled, "green"), ("─" * (bar_width - filled), "dim"), f" {figures}"
            )
    return Text(figures)


def _progress_figures(done: int, total: int) -> str:
    return f"{fmt.count(done)}/{fmt.count(total)}"


def layout(drawn: Iterable[Line], *, width: int | None) -> list[Text]:
    """Return the lines in columns: label, state, time, note.

    Args:
        drawn: The lines.
        width: The width of the terminal, to which lines are cut; None never cuts.
    """
    drawn = list(drawn)
    columns = _columns(drawn, width)
    return [_row(line, columns) for line in drawn]


@dataclass(frozen=True, slots=True)
class _Columns:
    label: int
    state: int
    time: int
    width: int | None


def _columns(drawn: Sequence[Line], width: int | None) -> _Columns:
    label = max((line.label.cell_len for line in drawn), default=0)
    # The counts of a folded group may be longer than any state name. They may overhang.
    state_widths = [line.states[0].cell_len for line in drawn if line.states]
    state = max((w for w in state_widths if w <= _USUAL_STATE_WIDTH), default=0)
    time = _TIME_WIDTH
    if width is not None:
        room = width - state - time - 4
        if room < _LEAST_LABEL_WIDTH:  # the time column is dropped first
            time, room = 0, width - state - 2
        label = min(label, max(room, _LEAST_LABEL_WIDTH // 2))
    return _Columns(label, state, time, width)


def _row(line: Line, columns: _Columns) -> Text:
    width = columns.width
    row = line.label.copy()
    row.truncate(columns.label, overflow="ellipsis", pad=True)
    note = line.note
    used = columns.label + 2 + (columns.time + 2 if columns.time else 0)
    if line.progress is not None:
        used += 2 + len(_progress_figures(*line.progress))
    state = longest(line.states, None if width is None else width - used)
    row.append("  ")
    row.append_text(state)
    row.append(" " * max(columns.state - state.cell_len, 0))
    if columns.time:
        row.append(f"  {line.time:>{columns.time}}")
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


def _span(group: Group, now: datetime) -> str:
    """Return the time from the first start in a group to its last end."""
    if group.started_at is None:
        return ""
    is_over = group.ended_count == len(group.nodes)
    end = group.ended_at if is_over and group.ended_at is not None else now
    return fmt.between(group.started_at, end)
