"""The live view of a run: its tree, drawn anew while the run goes on.

Programs may use it too: `live_view` follows a run of theirs in the background, through the service
and not through their own memory, and so shows what anybody would see.
"""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flowspan.api.connect import connect
from flowspan.cli import tree_view
from flowspan.cli.tree import RunTree
from flowspan.exceptions import ApiError, FlowspanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowspan.api.client import ServiceClient
    from flowspan.api.models import Change, Run, RunSnapshot, SnapshotEnd

_FRAMES_PER_S = 8
# A run is reported some milliseconds after it began.
_APPEARS_WITHIN_S = 10.0
_POLL_S = 0.05
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveTree:
    """A tree that one thread changes while another draws it.

    Attributes:
        expected: How many runs of a function there will be below one parent, by the function's
            name, for the progress bars; see `tree_view.lines`.
        root_id: The run that is shown.
    """

    def __init__(self, run_id: UUID, console: Console) -> None:
        self.expected: dict[str, int] = {}
        self.root_id = run_id
        self._tree = RunTree(run_id)
        self._console = console
        self._lock = threading.Lock()

    def apply(self, item: RunSnapshot | SnapshotEnd | Change) -> Run | None:
        """Takes an item of a watch; returns the run that it changed."""
        with self._lock:
            return self._tree.apply(item)

    @property
    def run(self) -> Run | None:
        """The run at the root, as it is now."""
        root = self._tree.root
        return None if root is None else root.run

    def draw(self) -> Text:
        """What to show now: the tree, as large as the terminal allows, and the totals."""
        now = datetime.now(UTC)  # noqa: TID251 - a live view shows the time that passes
        width, height = self._console.size
        with self._lock:
            totals = self._totals(now)
            room = max(height - len(totals) - 3, 4)
            drawn = tree_view.fitting(self._tree, now=now, max_lines=room, expected=self.expected)
            rows = tree_view.layout(drawn, width=width - 1)
            if len(drawn) < len(self._tree):
                rows += [Text(), *totals]
        for row in rows:
            row.truncate(width - 1, overflow="ellipsis")
        return Text("\n", no_wrap=True).join(rows)

    def _totals(self, now: datetime) -> list[Text]:
        run = self.run
        if run is None:
            return [Text("waiting for the run …", style="dim")]
        names = sorted(self._tree.counts, key=lambda name: -sum(self._tree.counts[name].values()))
        mark = " " if run.state.is_terminal else _SPINNER[int(now.timestamp() * 8) % len(_SPINNER)]
        rows: list[Text] = []
        for name in names[:5]:
            counts = self._tree.counts[name]
            row = Text.assemble((f"{mark} ", "cyan"), f"{sum(counts.values()):>7,} {name}  ")
            row.append_text(tree_view.counts_text(counts))
            rows.append(row)
            mark = " "
        return rows


def follow(client: ServiceClient, run_id: UUID, console: Console) -> Run | None:
    """Shows a run until it has ended.

    Returns:
        The run as it ended; None if it was deleted meanwhile.
    """
    shown = LiveTree(run_id, console)
    with _drawing(shown, console):
        for item in client.watch(run_id):
            shown.apply(item)
    return shown.run


@contextlib.contextmanager
def live_view(
    run_id: UUID | str,
    *,
    console: Console | None = None,
    address: str | None = None,
    expected: Mapping[str, int] | None = None,
) -> Iterator[LiveTree]:
    """Shows a run in the background while the code below runs; ends with the run.

    Nothing that goes wrong with it disturbs the code: a view that cannot go on says why, and ends.

    Args:
        run_id: The run; it may be reported a little later.
        console: Where to draw; the terminal if None.
        address: Where the service is; the configured one if None.
        expected: See `LiveTree.expected`.
    """
    target = console or Console(markup=False, highlight=False, emoji=False)
    shown = LiveTree(UUID(str(run_id)), target)
    shown.expected.update(expected or {})
    view = _Background(shown, target, address)
    view.start()
    try:
        yield shown
    finally:
        view.stop()


class _Background(threading.Thread):
    """Follows a run in a thread of its own."""

    _LINGER_S = 5.0

    def __init__(self, shown: LiveTree, console: Console, address: str | None) -> None:
        super().__init__(name="flowspan-live", daemon=True)
        self._shown = shown
        self._console = console
        self._address = address
        self._is_stopping = threading.Event()

    def run(self) -> None:
        try:
            with connect(self._address) as client, _drawing(self._shown, self._console):
                self._follow(client)
        except FlowspanError as error:
            self._console.print(f"The live view ended: {error}", style="dim")

    def stop(self) -> None:
        """Waits for the run's end to be drawn, but not for long."""
        self._is_stopping.set()
        self.join(self._LINGER_S)

    def _follow(self, client: ServiceClient) -> None:
        for item in _watch_when_there(client, self._shown.root_id, self._is_stopping):
            self._shown.apply(item)


def _watch_when_there(
    client: ServiceClient, run_id: UUID, is_stopping: threading.Event
) -> Iterator[Any]:
    """Watches a run that the service may not know yet."""
    deadline_s = time.monotonic() + _APPEARS_WITHIN_S
    while True:
        try:
            yield from client.watch(run_id)
            return
        except ApiError as error:
            is_late = is_stopping.is_set() or time.monotonic() > deadline_s
            if error.reason != "NOT_FOUND" or is_late:
                raise
            is_stopping.wait(_POLL_S)


@contextlib.contextmanager
def _drawing(shown: LiveTree, console: Console) -> Iterator[None]:
    with Live(
        console=console,
        get_renderable=shown.draw,
        refresh_per_second=_FRAMES_PER_S,
        vertical_overflow="crop",
        redirect_stdout=True,
        redirect_stderr=True,
    ):
        yield
