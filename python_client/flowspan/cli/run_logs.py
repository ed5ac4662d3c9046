"""`flowspan run logs`."""

from __future__ import annotations

import re
import warnings
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
_SHOWN_PATTERN = 100

_Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Follow the logs until the run ends.")
]
_Level = Annotated[
    str | None,
    typer.Option(
        "--level",
        "-l",
        metavar="LEVEL",
        help="Show records at or above this level, such as warning.",
    ),
]
_Logger = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME",
        help="Show records of this logger and its children. Repeatable.",
        callback=options.refuse_blank,
    ),
]
_Grep = Annotated[
    str | None,
    typer.Option(
        "--grep",
        "-g",
        metavar="PATTERN",
        help="Show records whose message matches this regular expression.",
    ),
]
_Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Show records logged at or after WHEN: an age (30m, 2h, 7d), or a date and time.",
    ),
]
_Limit = Annotated[
    int,
    typer.Option(
        "--limit",
        "-n",
        metavar="N",
        min=0,
        help="Show only the last N matching records; 0 for all.",
        callback=options.bounded,
    ),
]
_Own = Annotated[bool, typer.Option("--own", help="Exclude the records of child runs.")]


def show_logs(
    ctx: typer.Context,
    run_id: options.RunId,
    *,
    follow: _Follow = False,
    level: _Level = None,
    logger: _Logger = None,
    grep: _Grep = None,
    since: _Since = None,
    limit: _Limit = 0,
    own: _Own = False,
    json: options.Json = False,
) -> None:
    """Show the logs of a run and its descendants, in order of arrival.

    A record must match every filter. With --follow, the filters apply to new
    records as well, and -n counts the records present at the start.

    Try:

        flowspan run logs latest --follow -n 20

        flowspan run logs latest --since 10m --logger app --grep 'took [0-9]{3,} s'

        flowspan run logs 0199a1b2-c3d4 --level warning --json | jq -r .message
    """
    this = session(ctx)
    min_level = options.parse_level(level)
    pattern = _parse_pattern(grep)
    logged_after = options.parse_moment(since, now=this.now, option="--since")
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    fetch = client.tail_logs if follow else client.read_logs
    records = fetch(
        run.id,
        include_descendants=not own,
        min_level=min_level,
        loggers=logger or (),
        logged_after=logged_after,
        pattern=pattern,
        last=limit or None,
    )
    if json:
        for record in records:
            this.print_json(json_output.log(record), at_once=follow)
        return
    _print_records(this, _Names(client, run), records, at_once=follow)


def _parse_pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    if not text:
        raise typer.BadParameter("'' is empty", param_hint="--grep")
    try:
        with warnings.catch_warnings():  # deprecations of the re syntax
            warnings.simplefilter("ignore")
            return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        shown = text if len(text) <= _SHOWN_PATTERN else f"{text[:_SHOWN_PATTERN]}…"
        raise typer.BadParameter(
            f"{shown!r} is not a regular expression: {error}. Escape a special character with a "
            "backslash",
            param_hint="--grep",
        ) from None


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
    """The names of the runs in a tree, fetched on first use."""

    def __init__(self, client: SyncFlowspanClient, run: Run) -> None:
        self._client = client
        self._root_run_id = run.root_run_id
        self._names = {run.id: _name(run)}
        self._is_loaded = False

    def of(self, run_id: UUID) -> str:
        """Return the name of a run, or its short id if the run is gone."""
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
        try:
            return _name(self._client.read_run(run_id))
        except ApiError as error:
            if error.reason != "NOT_FOUND":
                raise
        return short_id(run_id)


def _name(run: Run) -> str:
    return title(run).plain
