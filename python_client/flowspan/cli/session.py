"""State shared by all commands: the client, the output streams and the clock."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.text import Text

from flowspan.cli import json_output
from flowspan.cli.output import make_console
from flowspan.cli.table import lines
from flowspan.config import get_config
from flowspan.exceptions import FlowspanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import typer
    from rich.console import Console

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.cli.json_output import UrlOf
    from flowspan.cli.tree import Node

# The database file of the local service, in its home.
DATABASE_FILE = "flowspan.db"


class CommandError(FlowspanError):
    """Raised when a command cannot do what was asked. `advice` is what the user can do."""

    code = "command"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class Session:
    """One invocation of the `flowspan` command.

    Attributes:
        address: The value of `--address`, or None.
    """

    def __init__(self) -> None:
        self.address: str | None = None
        self._client: SyncFlowspanClient | None = None

    @cached_property
    def out(self) -> Console:
        """The standard output."""
        return make_console()

    @cached_property
    def err(self) -> Console:
        """The standard error."""
        return make_console(stderr=True)

    @property
    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the command's one clock

    @property
    def width(self) -> int | None:
        """The width to which lines are cut; None if they are not cut."""
        return self.out.width if self.out.is_terminal else None

    def client(
        self, *, start_local: bool = True, even_if_empty: bool = False
    ) -> SyncFlowspanClient:
        """Return the client of the service; connect on the first call.

        Args:
            start_local: True to start the local service if it has shut down. It is not started if
                it has never stored anything, because there is nothing to read.
            even_if_empty: True to start it even then, for a command that waits for new runs.

        Raises:
            ServiceUnavailableError: The service is unreachable; the message says what to do.
        """
        if self._client is None:
            # gRPC takes nearly as long to import as everything else, and not every command
            # needs it.
            from flowspan.api.client import SyncFlowspanClient  # noqa: PLC0415

            may_start = start_local and (
                even_if_empty or _exists(get_config().home / DATABASE_FILE)
            )
            client = SyncFlowspanClient(self.address, start_local=may_start)
            self._client = client.open()
        return self._client

    def close(self) -> None:
        """Close the client, if one is open."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def print(self, line: str | Text = "", *, at_once: bool = False) -> None:
        """Print a line without wrapping.

        Args:
            line: The line.
            at_once: True to flush immediately, for output that someone may be waiting for.
        """
        if self._is_terminal:
            self.out.print(line, soft_wrap=True)
        else:
            self._write(str(line), at_once=at_once)

    def print_parts(self, *parts: tuple[str, str], at_once: bool = False) -> None:
        """Print a line assembled from (text, style) pairs. For `at_once`, see `print`."""
        if self._is_terminal:
            self.out.print(Text.assemble(*parts), soft_wrap=True)
        else:
            # Several times as fast as rich; a log may have a million lines.
            self._write("".join([text for text, _ in parts]), at_once=at_once)

    def print_json(self, value: Any, *, at_once: bool = False) -> None:
        """Print a JSON object on its own line. For `at_once`, see `print`."""
        self._write(json_output.line(value, escaped=self._is_ascii), at_once=at_once)

    def print_json_tree(self, node: Node, url_of: UrlOf, *, labels: Mapping[str, str]) -> None:
        """Print a run with its labels and its descendants as a JSON object on one line."""
        for piece in json_output.tree(node, url_of, labels=labels, escaped=self._is_ascii):
            sys.stdout.write(piece)
        self._write("", at_once=False)

    @cached_property
    def _is_ascii(self) -> bool:
        """True if the output's encoding is not UTF; JSON is then escaped to ASCII."""
        encoding = sys.stdout.encoding
        return encoding is not None and not encoding.lower().startswith("utf")

    @cached_property
    def _is_terminal(self) -> bool:
        return self.out.is_terminal

    def _write(self, line: str, *, at_once: bool) -> None:
        sys.stdout.write(line + "\n")
        if at_once:
            sys.stdout.flush()

    def print_table(self, header: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """Print rows in columns, fitted to the width of the terminal."""
        for line in lines(header, rows, width=self.width):
            self.print(line)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a parent folder is not readable; the service reports that
        return True


def session(ctx: typer.Context) -> Session:
    """Return the session of a command's context."""
    return ctx.ensure_object(Session)
