"""`flowspan run logs`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.api.models import FlowRun, RunFilter
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.lookup import find_run
from flowspan.cli.session import session
from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from flowspan.api.client import ServiceClient
    from flowspan.api.models import LogRecord, Run
    from flowspan.cli.session import Session

_LEVEL_STYLES = ((50, "bold red"), (40, "red"), (30, "yellow"), (20, ""), (0, "dim"))
_LEVEL_WIDTH = 8
_OLD = timedelta(hours=12)


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
    fetch = client.tail_logs if follow else client.list_logs
    records = fetch(run.id, include_descendants=not own, min_level=min_level)
    if json:
        for record in records:
            this.print_json(json_output.log(record))
        return
    _print_records(this, client, run, records)


def _print_records(
    this: Session, client: ServiceClient, run: Run, records: Iterator[LogRecord]
) -> None:
    names = _Names(client, run)
    began_at = run.started_at or run.created_at
    is_old = began_at is not None and this.now - began_at > _OLD
    is_empty = True
    for record in records:
        is_empty = False
        this.print(_line(record, names.of(record.run_id), with_date=is_old))
    if is_empty:
        this.err.print("No log records.", style="dim")


def _line(record: LogRecord, name: str, *, with_date: bool) -> Text:
    time = fmt.clock(record.logged_at)
    if with_date:
        time = f"{fmt.stamp(record.logged_at).partition(' ')[0]} {time}"
    style = next(style for least, style in _LEVEL_STYLES if record.level >= least)
    return Text.assemble(
        (time, "dim"),
        "  ",
        (f"{json_output.level_name(record.level):<{_LEVEL_WIDTH}}", style),
        (f"{name}", "cyan"),
        (" | ", "dim"),
        (record.message, style if record.level >= 30 else ""),
    )


class _Names:
    """The names of the runs in a tree, fetched when one is first needed."""

    def __init__(self, client: ServiceClient, run: Run) -> None:
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
                self._client.list_flow_runs(tree, page_size=1000),
                self._client.list_task_runs(tree, page_size=1000),
            ):
                self._names.update((run.id, _name(run)) for run in runs)
        if run_id not in self._names:
            self._names[run_id] = self._fetch(run_id)
        return self._names[run_id]

    def _fetch(self, run_id: UUID) -> str:
        for get in (self._client.get_task_run, self._client.get_flow_run):
            try:
                return _name(get(run_id))
            except ApiError as error:
                if error.reason != "NOT_FOUND":
                    raise
        return str(run_id)[:13]


def _name(run: Run) -> str:
    if not run.name or isinstance(run, FlowRun):
        return fmt.visible(f"{run.function_name} {run.name}".rstrip())
    return fmt.visible(run.name)
