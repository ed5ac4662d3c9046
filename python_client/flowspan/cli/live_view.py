"""Live view for programs: draws one of the program's own runs while it is running.

The view is a separate process that follows the run through the service. It therefore shows what
any client would see, and code that holds the GIL does not delay it (with four parsing threads,
a view in the same process lagged by seconds). The program's output is passed through the view
and printed above the tree.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID

from rich.text import Text

from flowspan.api.client import SyncFlowspanClient
from flowspan.cli.live import LiveTree, drawing, watch_when_there
from flowspan.cli.output import make_console
from flowspan.exceptions import FlowspanError
from flowspan.logging import set_console

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

_LINGER_S = 5.0


class LiveView:
    """Context manager that draws a run of this program.

    Use `with LiveView() as view: …`, and call `view.show(id)` inside the flow. Without a
    terminal it is a no-op. A failing view never disturbs the program: it prints the reason and
    ends.

    While a run is shown, its log lines are not printed to the terminal; read them with
    `flowspan run logs`.

    Args:
        address: The service's address; the configured one if None.
    """

    def __init__(self, *, address: str | None = None) -> None:
        self._address = address
        self._process: subprocess.Popen[str] | None = None
        self._stdout: Any = None
        self._had_console = True

    def __enter__(self) -> LiveView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait, up to five seconds, until the end of the run is drawn."""
        if self._process is None:
            return
        if isinstance(sys.stdout, _Above):
            sys.stdout.finish()
        sys.stdout = self._stdout
        set_console(self._had_console)
        assert self._process.stdin is not None  # noqa: S101 - opened with stdin=PIPE
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_LINGER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(self, run_id: UUID | str) -> None:
        """Start drawing a run. The service may learn of the run a little later."""
        if self._process is not None or not sys.stdout.isatty():
            return
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "flowspan.cli.live_view", str(run_id), self._address or ""],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin is not None  # noqa: S101 - opened with stdin=PIPE
        self._had_console = set_console(False)
        self._stdout, sys.stdout = sys.stdout, _Above(self._process.stdin, sys.stdout)

    def expect(self, function_name: str, count: int) -> None:
        """Announce how many runs of a function one parent will call, for the progress bars."""
        if isinstance(sys.stdout, _Above):
            sys.stdout.send({"expect": {function_name: count}})


class _Above(io.TextIOBase):
    """The program's standard output while a view is shown. Whole lines are sent to the view."""

    def __init__(self, view: IO[str], terminal: Any) -> None:
        self._view = view
        self._terminal = terminal
        self._line = ""
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override] # a constant elsewhere
        return str(self._terminal.encoding)

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._terminal.fileno())

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self.send({"print": line})
        return len(text)

    def finish(self) -> None:
        """Send a last line that has no newline yet."""
        if self._line:
            self.write("\n")

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the view, or print its text if the view has ended."""
        try:
            self._view.write(json.dumps(message) + "\n")
        except (OSError, ValueError):
            if "print" in message:
                self._terminal.write(message["print"] + "\n")


def main() -> None:
    """Run the view's process: draw the run, and print the lines received on stdin."""
    run_id, address = UUID(sys.argv[1]), sys.argv[2] or None
    console = make_console()
    expected: dict[str, int] = {}
    is_stopping = threading.Event()
    reader = threading.Thread(target=_read, args=(console, expected, is_stopping), daemon=True)
    try:
        shown = LiveTree(run_id, console, expected=expected)
        with SyncFlowspanClient(address) as client, drawing(shown, console):
            reader.start()
            for item in watch_when_there(client, run_id, is_stopping):
                shown.apply(item)
    except FlowspanError as error:
        console.print(f"The live view ended: {error}", style="dim")
    except KeyboardInterrupt:
        return  # the program is interrupted too and reports it


def _read(console: Console, expected: dict[str, int], is_stopping: threading.Event) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        expected.update(message.get("expect", {}))
        if "print" in message:
            # The program's own output may be coloured; only colours are interpreted.
            console.print(Text.from_ansi(message["print"]), soft_wrap=True)
    is_stopping.set()


if __name__ == "__main__":
    main()
