"""The live view for programs: shows a run of the program's own while it goes on.

It is a process of its own that follows the run through the service: what it shows is what anybody
would see, and code that keeps Python's interpreter lock busy does not hold it up (with four threads
of parsing, a view in the same process lagged by seconds). What the program prints meanwhile goes
through it, and is shown above the tree.
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
    """Shows a run of this program: `with LiveView() as view: …`, and `view.show(id)` in its flow.

    Does nothing where there is no terminal. Nothing that goes wrong with it disturbs the program: a
    view that cannot go on says why, and ends.

    While it shows a run, the runs' log lines are kept from the terminal: `flowspan run logs` has
    them.

    Args:
        address: Where the service is; the configured one if None.
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
        """Waits until the run's end is drawn, but not for long."""
        if self._process is None:
            return
        if isinstance(sys.stdout, _Above):
            sys.stdout.finish()
        sys.stdout = self._stdout
        set_console(self._had_console)
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_LINGER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def show(self, run_id: UUID | str) -> None:
        """Begins to show a run, which may be reported a little later."""
        if self._process is not None or not sys.stdout.isatty():
            return
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "flowspan.cli.live_view", str(run_id), self._address or ""],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._had_console = set_console(False)
        self._stdout, sys.stdout = sys.stdout, _Above(self._process.stdin, sys.stdout)

    def expect(self, function_name: str, count: int) -> None:
        """Says how many runs of a function one parent will call, for the progress bars."""
        if isinstance(sys.stdout, _Above):
            sys.stdout.send({"expect": {function_name: count}})


class _Above(io.TextIOBase):
    """The program's standard output while a view is shown: whole lines are sent to the view."""

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
        """Sends what has no end of line yet."""
        if self._line:
            self.write("\n")

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message to the view; prints it where there is no view any more."""
        try:
            self._view.write(json.dumps(message) + "\n")
        except (OSError, ValueError):
            if "print" in message:
                self._terminal.write(message["print"] + "\n")


def main() -> None:
    """The view's process: draws the run, and prints what the program sends on stdin."""
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
        return  # the program has been interrupted as well, and says what there is to say


def _read(console: Console, expected: dict[str, int], is_stopping: threading.Event) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        expected.update(message.get("expect", {}))
        if "print" in message:
            # What the program prints may be coloured: that much of it is obeyed.
            console.print(Text.from_ansi(message["print"]), soft_wrap=True)
    is_stopping.set()


if __name__ == "__main__":
    main()
