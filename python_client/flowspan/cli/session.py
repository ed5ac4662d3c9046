"""What every command needs: where the service is, where to write, what time it is."""

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
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import typer
    from rich.console import Console

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.cli.tree import Node

# What the local service stores in, in its home.
DATABASE_FILE = "flowspan.db"


class CommandError(FlowspanError):
    """A command cannot do what it was asked for; the message says why, `advice` what to do."""

    code = "command"

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class Session:
    """One call of the `flowspan` command.

    Attributes:
        address: What `--address` said, or None.
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
        """The time."""
        return datetime.now(UTC)  # noqa: TID251 - the command's one clock

    @property
    def width(self) -> int | None:
        """The width to which lines are cut, or None where they are not."""
        return self.out.width if self.out.is_terminal else None

    def client(
        self, *, start_local: bool = True, even_if_empty: bool = False
    ) -> SyncFlowspanClient:
        """The connection to the service, made at the first call.

        Args:
            start_local: Whether the local service may be started where it sleeps. It is not
                started where it has never stored anything: there is nothing to read then.
            even_if_empty: Start it there, too: the command waits for what is to come.

        Raises:
            ServiceUnavailableError: It is not reached; the message says what to do.
        """
        if self._client is None:
            # gRPC takes nearly as long to import as all the rest, and not every command calls.
            from flowspan.api.client import SyncFlowspanClient  # noqa: PLC0415

            may_start = start_local and (
                even_if_empty or _exists(get_config().home / DATABASE_FILE)
            )
            client = SyncFlowspanClient(self.address, start_local=may_start)
            self._client = client.open()
        return self._client

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def print(self, line: str | Text = "", *, at_once: bool = False) -> None:
        """Prints a line, never wrapped.

        Args:
            line: The line.
            at_once: Whether somebody may be waiting for it, rather than for the whole output.
        """
        if self._is_terminal:
            self.out.print(line, soft_wrap=True)
        else:
            self._write(str(line), at_once=at_once)

    def print_parts(self, *parts: tuple[str, str], at_once: bool = False) -> None:
        """Prints a line made of texts, each with its style; for `at_once` see `print`."""
        if self._is_terminal:
            self.out.print(Text.assemble(*parts), soft_wrap=True)
        else:
            # Several times as fast as by way of rich: a log may have a million lines.
            self._write("".join([text for text, _ in parts]), at_once=at_once)

    def print_json(self, value: Any, *, at_once: bool = False) -> None:
        """Prints a JSON object on a line of its own; for `at_once` see `print`."""
        self._write(json_output.line(value, escaped=self._is_ascii), at_once=at_once)

    def print_json_tree(self, node: Node) -> None:
        """Print a run with those that it called as a JSON object on a line of its own."""
        for piece in json_output.tree(node, escaped=self._is_ascii):
            sys.stdout.write(piece)
        self._write("", at_once=False)

    @cached_property
    def _is_ascii(self) -> bool:
        """True if the output cannot be written in every character: JSON is escaped then."""
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
        """Prints rows in columns, which on a terminal fit its width."""
        for line in lines(header, rows, width=self.width):
            self.print(line)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on its way that may not be read: the service says so
        return True


def session(ctx: typer.Context) -> Session:
    """The session of a command's context."""
    return ctx.ensure_object(Session)
