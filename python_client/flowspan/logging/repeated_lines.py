"""Folding of similar lines: 2,000 task runs that fail in the same way do not need 2,000 lines.

Only flowspan's own lines about runs are folded, and only on the console: the service stores all of
them. The first lines of a kind are shown unchanged, the rest are counted, and the count is shown
periodically and at the end of the flow run. Lines about cancelled runs are counted from the first
one on, because runs that are cancelled together are a single event.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowspan.core.run import Run

SHOWN_FIRST = 3
"""Number of lines of a kind that are shown before the rest are only counted."""
CANCELLED = "Cancelled"
_TICK_S = 0.25
_FIRST_WAIT_TICKS = 4
_LONGEST_WAIT_TICKS = 240
_IDLE_TICKS = 120
"""Time without a line of a kind after which its next line counts as the first again."""
_MAX_REASONS = 3
_MAX_CLOSED = 1024


class Line(NamedTuple):
    """A line about a run.

    Attributes:
        run: The run.
        level: The level, as in `logging`.
        message: The text.
        kind: The kind of event: the name of the state that the run entered, or the beginning of the
            text.
        reason: The reason, in one line; lines with the same reason are counted together.
        state_name: The name of the state that the run entered; empty if the reason includes it.
    """

    run: Run
    level: int
    message: str
    kind: str
    reason: str
    state_name: str = ""


class _Group:
    """The lines of one kind: of the runs of one task in one flow run that ended in the same way.

    Attributes:
        shown: Number of lines shown.
        held: Number of lines held back since the last summary.
        reasons: Number of held lines for each reason.
        last: The last held line.
        quiet_ticks: Time without a new line.
        wait_ticks: Time between the first held line and the summary.
        due_ticks: Time until the summary.
    """

    __slots__ = (
        "due_ticks",
        "held",
        "last",
        "quiet_ticks",
        "reasons",
        "shown",
        "wait_ticks",
    )

    def __init__(self) -> None:
        self.shown = self.held = self.quiet_ticks = 0
        self.reasons: dict[str, int] = {}
        self.last: Line | None = None
        self.wait_ticks = self.due_ticks = _FIRST_WAIT_TICKS


class Folding:
    """The policy that decides which lines are shown.

    Args:
        show: Shows a line about a run: (run, level, message).
        start: Calls a function every quarter of a second until it returns False.
    """

    def __init__(
        self,
        show: Callable[[Run, int, str], None],
        start: Callable[[Callable[[], bool]], None],
    ) -> None:
        self._show = show
        self._start = start
        self._lock = threading.RLock()
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._closed: deque[str] = deque(maxlen=_MAX_CLOSED)
        self._is_ticking = False

    def hold(self, line: Line) -> bool:
        """Return True if a line is counted instead of shown."""
        owner = _owner_of(line.run)
        if line.run.parent is None and line.kind == CANCELLED:
            return False  # the one line about the cancellation itself
        key = ("" if owner is None else owner.record.id, line.run.definition.name, line.kind)
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = _Group()
            is_first = not group.held
            group.quiet_ticks = 0
            if line.kind != CANCELLED and group.shown < SHOWN_FIRST:
                group.shown += 1
                self._keep_ticking()
                return False
            group.held += 1
            group.last = line
            _count(group.reasons, line.reason)
            if is_first:
                group.due_ticks = group.wait_ticks
            self._keep_ticking()
        return True

    def close(self, owner: Run) -> int:
        """Show the counted lines of a flow run that ends.

        Returns:
            The number of runs that were cancelled with it, which are not shown separately.
        """
        self._closed.append(owner.record.id)
        if not self._groups:
            return 0
        cancelled = 0
        lines = []
        with self._lock:
            for key in [key for key in self._groups if key[0] == owner.record.id]:
                group = self._groups.pop(key)
                if key[2] == CANCELLED and _is_stopped(group):
                    cancelled += group.held
                else:
                    lines += _summary(key[2], group)
        self._show_all(lines)
        return cancelled

    def flush(self) -> None:
        """Show all counted lines."""
        lines = []
        with self._lock:
            for key, group in self._groups.items():
                lines += _summary(key[2], group)
        self._show_all(lines)

    def _keep_ticking(self) -> None:
        if not self._is_ticking:
            try:
                self._start(self._tick)
            except RuntimeError:  # no thread available: counts are shown at the end
                return
            self._is_ticking = True

    def _tick(self) -> bool:
        """Show the summaries that are due; return False if there is nothing left to wait for."""
        lines = []
        with self._lock:
            for key, group in list(self._groups.items()):
                is_quiet = group.quiet_ticks > 0
                group.quiet_ticks += 1
                group.due_ticks -= 1
                if group.held and self._is_due(key, group, is_quiet=is_quiet):
                    lines += _summary(key[2], group)
                    group.wait_ticks = min(group.wait_ticks * 4, _LONGEST_WAIT_TICKS)
                elif not group.held and group.quiet_ticks > _IDLE_TICKS:
                    del self._groups[key]
            self._is_ticking = bool(self._groups)
        self._show_all(lines)
        return self._is_ticking

    def _is_due(self, key: tuple[str, str, str], group: _Group, *, is_quiet: bool) -> bool:
        if key[2] != CANCELLED:
            return group.due_ticks <= 0
        if _is_stopped(group) and key[0] not in self._closed:
            return False  # reported at the end of the flow run
        return is_quiet or group.due_ticks <= -_LONGEST_WAIT_TICKS

    def _show_all(self, lines: list[tuple[Run, int, str]]) -> None:
        for line in lines:
            self._show(*line)


def _owner_of(run: Run) -> Run | None:
    """Return the flow run that called a run, or the task run outside of flows."""
    parent = run.parent
    return None if parent is None else parent.flow_run or parent


def _is_stopped(group: _Group) -> bool:
    """Return True if the flow run itself, or its attempt, was asked to stop."""
    owner = None if group.last is None else _owner_of(group.last.run)
    return owner is not None and owner.scope.cancelled


def _count(reasons: dict[str, int], reason: str) -> None:
    if reason in reasons or len(reasons) < _MAX_REASONS:
        reasons[reason] = reasons.get(reason, 0) + 1


def _summary(kind: str, group: _Group) -> list[tuple[Run, int, str]]:
    """Return the summary of the lines a group holds, and reset it; empty if it holds none."""
    last, held, reasons = group.last, group.held, group.reasons
    if last is None or not held:
        return []
    group.last, group.held, group.reasons = None, 0, {}
    owner = _owner_of(last.run)
    if held == 1:
        return [(last.run, last.level, last.message)]
    what = f"{last.run.definition.kind.lower()} runs of {last.run.definition.name!r}"
    more = "" if kind == CANCELLED else " more"
    ended = f"{last.state_name}. " if last.state_name else ""
    others = held - sum(reasons.values())
    why = [
        f"{reason} (×{count:,})" if len(reasons) > 1 or others else reason
        for reason, count in reasons.items()
    ]
    if others:
        why.append(f"other reasons (×{others:,})")
    return [(owner or last.run, last.level, f"{held:,}{more} {what}: {ended}{'; '.join(why)}")]


def cancelled_words(count: int) -> str:
    """Return the phrase about runs cancelled with a flow run, for the line about its end."""
    if not count:
        return ""
    return f" {count:,} {'run in it was' if count == 1 else 'runs in it were'} cancelled."
