"""`flowspan run watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.api.models import Change, SnapshotEnd, StateType
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options, tree_view
from flowspan.cli.live import follow
from flowspan.cli.lookup import find_run, short_id
from flowspan.cli.session import session
from flowspan.cli.state_view import state_text
from flowspan.cli.tree import RunTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flowspan.api.models import Run, RunSnapshot
    from flowspan.cli.session import Session

_STATE_WIDTH = 14


def watch_run(
    ctx: typer.Context,
    run_id: options.RunId,
    *,
    exit_status: Annotated[
        bool,
        typer.Option("--exit-status", help="End with exit code 1 if the run does not complete."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Watch a run until it has ended: its tree on a terminal, else a line for each change.

    Try:

        flowspan run watch latest

        flowspan run watch latest --json | jq -r .transition.state.name
    """
    this = session(ctx)
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    if json:
        ended = _print_items(this, run, client.watch(run.id))
    elif this.out.is_terminal:
        ended = follow(client, run.id, this.out)
        this.print()
        this.print(Text(f"Its log: flowspan run logs {short_id(run.id)}", style="dim"))
    else:
        ended = _print_changes(this, run, client.watch(run.id))
    if exit_status and (ended is None or ended.state.type is not StateType.COMPLETED):
        raise typer.Exit(1)


def _print_items(
    this: Session, run: Run, items: Iterator[RunSnapshot | SnapshotEnd | Change]
) -> Run | None:
    tree = RunTree(run.id)
    for item in items:
        tree.apply(item)
        this.print_json(json_output.watch_item(item), at_once=True)
    return None if tree.root is None else tree.root.run


def _print_changes(
    this: Session, run: Run, items: Iterator[RunSnapshot | SnapshotEnd | Change]
) -> Run | None:
    """A line for the run as it is, and one for each transition after that."""
    tree = RunTree(run.id)
    for item in items:
        changed = tree.apply(item)
        if isinstance(item, SnapshotEnd):
            root = tree.root
            if root is not None:
                this.print(_line(root.run, now=this.now))
                this.print(
                    Text(f"({fmt.count(item.run_count, 'run')} so far)", style="dim"), at_once=True
                )
        elif isinstance(item, Change) and changed is not None:
            this.print(_line(changed, now=this.now), at_once=True)
    return None if tree.root is None else tree.root.run


def _line(run: Run, *, now: datetime) -> Text:
    state = run.state
    line = Text.assemble((fmt.moment(state.entered_at, now=now), "dim"), "  ")
    line.append_text(state_text(state.type, f"{state.name:<{_STATE_WIDTH}}"))
    line.append(tree_view.title(run).plain)
    if state.is_final():
        took, waited = fmt.run_duration(run, now=now), fmt.run_wait(run, now=now)
        line.append(f"  {took}" if took else "")
        line.append(f"  waited {waited}" if waited else "", style="dim")
    reason = fmt.reason(state) if state.type is not StateType.COMPLETED else ""
    if reason:
        line.append(f"  {reason}", style=fmt.STYLES[state.type])
    return line
