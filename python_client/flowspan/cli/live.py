"""The live view of a run: its tree, drawn anew while the run goes on.

Programs may use it too: see `LiveView`.
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
_SHOWN_TOTALS = 5
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveTree:
    """A tree that one thread changes while another draws it."""

    def __init__(
        self, run_id: UUID, console: Console, *, expected: Mapping[str, int] | None = None
    ) -> None:
        """Begins with nothing known of the run.

        Args:
            run_id: The run that is shown.
            console: The terminal that it is drawn for.
            expected: How many runs of a function there will be below one parent; see
                `tree_view.lines`. May change.
        """
        self._expected = expected if expected is not None else {}
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
            drawn = tree_view.fitting(self._tree, now=now, max_lines=room, expected=self._expected)
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
        frame = int(now.timestamp() * _FRAMES_PER_S) % len(_SPINNER)
        mark = " " if run.state.is_terminal else _SPINNER[frame]
        rows: list[Text] = []
        for row in tree_view.totals(self._tree)[:_SHOWN_TOTALS]:
            rows.append(Text.assemble((f"{mark} ", "cyan"), row))
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


class LiveView:
    """Shows a run of this program while it goes on: `with LiveView() as view: view.show(run_id)`.

    The view follows the run in the background, through the service: what it shows is what anybody
    would see. Nothing that goes wrong with it disturbs the program: a view that cannot go on says
    why, and ends.

    Args:
        console: Where to draw; the terminal if None. Nothing is drawn where there is no terminal.
        address: Where the service is; the configured one if None.
    """

    _LINGER_S = 5.0

    def __init__(self, *, console: Console | None = None, address: str | None = None) -> None:
        self._console = console or Console(markup=False, highlight=False, emoji=False)
        self._address = address
        self._expected: dict[str, int] = {}
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until the run's end is drawn, but not for long."""
        self._is_stopping.set()
        if self._thread is not None:
            self._thread.join(self._LINGER_S)

    def show(self, run_id: UUID | str) -> None:
        """Begins to show a run, which may be reported a little later."""
        if self._thread is None and self._console.is_terminal:
            self._thread = threading.Thread(
                target=self._run, args=(UUID(str(run_id)),), name="flowspan-live", daemon=True
            )
            self._thread.start()

    def expect(self, function_name: str, count: int) -> None:
        """Says how many runs of a function one parent will call, for the progress bars."""
        self._expected[function_name] = count

    def _run(self, run_id: UUID) -> None:
        shown = LiveTree(run_id, self._console, expected=self._expected)
        try:
            with connect(self._address) as client, _drawing(shown, self._console):
                for item in _watch_when_there(client, run_id, self._is_stopping):
                    shown.apply(item)
        except FlowspanError as error:
            self._console.print(f"The live view ended: {error}", style="dim")


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
