"""Live view of a run: its tree, redrawn while it is running."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from flowspan import clock
from flowspan.cli import tree_view
from flowspan.cli.tree import RunTree
from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from uuid import UUID

    from rich.console import Console

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Change, Run, RunSnapshot, SnapshotEnd

_FRAMES_PER_S = 8
# A run is reported some milliseconds after it starts.
_APPEARS_WITHIN_S = 10.0
_POLL_S = 0.05
_SHOWN_TOTALS = 5
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveTree:
    """A tree that one thread updates while another draws it."""

    def __init__(
        self, run_id: UUID, console: Console, *, expected: Mapping[str, int] | None = None
    ) -> None:
        """Create a view of a run that has not been received yet.

        Args:
            run_id: The run to show.
            console: The terminal to draw for.
            expected: The number of runs of a function expected below one parent, by function name;
                see `tree_view.lines`. May change.
        """
        self._expected = expected if expected is not None else {}
        self._tree = RunTree(run_id)
        self._console = console
        self._lock = threading.Lock()

    def apply(self, item: RunSnapshot | SnapshotEnd | Change) -> Run | None:
        """Apply an item of a watch; return the run that it changed."""
        with self._lock:
            return self._tree.apply(item)

    @property
    def run(self) -> Run | None:
        """The current state of the root run."""
        root = self._tree.root
        return None if root is None else root.run

    def draw(self) -> Text:
        """Return the tree, fitted to the terminal, and the totals."""
        now = datetime.now(UTC)  # noqa: TID251 - a live view shows the time that passes
        width, height = self._console.size
        with self._lock:
            if self._tree.root is None:
                return Text.assemble(("waiting for the run …", "dim"))
            totals = self._totals(now, width=width - 1)
            room = max(height - len(totals) - 3, 4)
            drawn = tree_view.fitting(
                self._tree,
                now=now,
                max_lines=room,
                expected=self._expected,
                indented_levels=tree_view.indented_levels(width - 1),
            )
            rows = tree_view.layout(drawn, width=width - 1)
            if len(drawn) < len(self._tree):
                rows += [Text(), *totals]
        for row in rows:
            row.truncate(width - 1, overflow="ellipsis")
        return Text("\n", no_wrap=True).join(rows)

    def _totals(self, now: datetime, *, width: int) -> list[Text]:
        run = self.run
        frame = int(now.timestamp() * _FRAMES_PER_S) % len(_SPINNER)
        mark = " " if run is not None and run.state.is_final() else _SPINNER[frame]
        rows: list[Text] = []
        for row in tree_view.totals(self._tree, limit=_SHOWN_TOTALS, width=width - 2):
            rows.append(Text.assemble((f"{mark} ", "cyan"), row))
            mark = " "
        return rows


def follow(client: SyncFlowspanClient, run_id: UUID, console: Console) -> Run | None:
    """Draw a run until it ends.

    Returns:
        The run in its final state; None if it was deleted in the meantime.
    """
    shown = LiveTree(run_id, console)
    with drawing(shown, console):
        for item in client.watch(run_id):
            shown.apply(item)
    return shown.run


def watch_when_there(
    client: SyncFlowspanClient, run_id: UUID, is_stopping: threading.Event
) -> Iterator[RunSnapshot | SnapshotEnd | Change]:
    """Watch a run that the service may not know yet.

    Args:
        client: The service.
        run_id: The run.
        is_stopping: When set, stop waiting for the run to appear.

    Raises:
        ApiError: The run did not appear in time, or the watch failed.
    """
    deadline_s = clock.monotonic() + _APPEARS_WITHIN_S
    while True:
        try:
            yield from client.watch(run_id)
            return
        except ApiError as error:
            is_late = is_stopping.is_set() or clock.monotonic() > deadline_s
            if error.reason != "NOT_FOUND" or is_late:
                raise
            is_stopping.wait(_POLL_S)


@contextlib.contextmanager
def drawing(shown: LiveTree, console: Console) -> Iterator[None]:
    """Redraw a tree while the block runs, and once more when it ends."""
    with Live(
        console=console,
        get_renderable=shown.draw,
        refresh_per_second=_FRAMES_PER_S,
        vertical_overflow="crop",
        redirect_stdout=True,
        redirect_stderr=True,
    ):
        yield
