"""`flowspan run logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowspan.api.models import RunFilter
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.lookup import find_run, short_id
from flowspan.cli.safe_text import clean
from flowspan.cli.session import session
from flowspan.cli.tree_view import title
from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import LogRecord, Run
    from flowspan.cli.session import Session

_LEVEL_STYLES = ((50, "bold red"), (40, "red"), (30, "yellow"), (20, ""), (0, "dim"))
_LEVEL_WIDTH = 8


def show_logs(
    ctx: typer.Context,
    run_id: options.RunId,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            "-l",
            metavar="LEVEL",
            help="Only records as grave as this, or graver: warning.",
        ),
    ] = None,
    own: Annotated[
        bool, typer.Option("--own", help="Without the records of the runs that it called.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what a run and the runs that it called have logged, in the order of arrival.

    Try:

        flowspan run logs latest --follow

        flowspan run logs 0199a1b2-c3d4 --level warning --json | jq -r .message
    """
    this = session(ctx)
    client = this.client()
    min_level = options.parse_level(level)
    run = find_run(client, run_id, now=this.now)
    fetch = client.tail_logs if follow else client.read_logs
    records = fetch(run.id, include_descendants=not own, min_level=min_level)
    if json:
        for record in records:
            this.print_json(json_output.log(record), at_once=follow)
        return
    _print_records(this, _Names(client, run), records, at_once=follow)


def _print_records(
    this: Session, names: _Names, records: Iterator[LogRecord], *, at_once: bool
) -> None:
    is_empty, now = True, this.now
    for record in records:
        is_empty = False
        this.print_parts(*_parts(record, names.of(record.run_id), now=now), at_once=at_once)
    if is_empty:
        this.err.print("No log records.", style="dim")


def _parts(record: LogRecord, name: str, *, now: datetime) -> tuple[tuple[str, str], ...]:
    style = next(style for least, style in _LEVEL_STYLES if record.level >= least)
    return (
        (f"{fmt.moment(record.logged_at, now=now)}  ", "dim"),
        (f"{json_output.level_name(record.level):<{_LEVEL_WIDTH}}", style),
        (name, "cyan"),
        (" | ", "dim"),
        (clean(record.message), style if record.level >= 30 else ""),
    )


class _Names:
    """The names of the runs in a tree, fetched when one is first needed."""

    def __init__(self, client: SyncFlowspanClient, run: Run) -> None:
        self._client = client
        self._root_run_id = run.root_run_id
        self._names = {run.id: _name(run)}
        self._is_loaded = False

    def of(self, run_id: UUID) -> str:
        """The name of a run; the beginning of its id if it is gone."""
        if run_id not in self._names and not self._is_loaded:
            self._is_loaded = True
            tree = RunFilter(root_run_id=self._root_run_id)
            for runs in (
                self._client.read_flow_runs(tree, page_size=1000),
                self._client.read_task_runs(tree, page_size=1000),
            ):
                self._names.update((run.id, _name(run)) for run in runs)
        if run_id not in self._names:
            self._names[run_id] = self._fetch(run_id)
        return self._names[run_id]

    def _fetch(self, run_id: UUID) -> str:
        for get in (self._client.read_task_run, self._client.read_flow_run):
            try:
                return _name(get(run_id))
            except ApiError as error:
                if error.reason != "NOT_FOUND":
                    raise
        return short_id(run_id)


def _name(run: Run) -> str:
    return title(run).plain
