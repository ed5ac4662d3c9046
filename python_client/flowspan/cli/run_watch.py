"""`flowspan run watch`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.api.models import Change, SnapshotEnd, StateType
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options, tree_view
from flowspan.cli.live import follow
from flowspan.cli.lookup import find_run, short_id
from flowspan.cli.session import CommandError, session
from flowspan.cli.state_view import state_text
from flowspan.cli.trace_links import TraceLinks, linked
from flowspan.cli.tree import RunTree
from flowspan.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import FlowRun, Run, RunSnapshot, Transition
    from flowspan.cli.session import Session

_STATE_WIDTH = 14


def watch_run(
    ctx: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Run id (or a unique prefix or suffix), run name, or 'latest'.",
            show_default=False,
            callback=options.refuse_blank,
        ),
    ] = None,
    *,
    next_: Annotated[
        bool,
        typer.Option(
            "--next", help="Wait for the next flow run to start and watch it. Replaces ID."
        ),
    ] = False,
    flow: Annotated[
        list[str] | None,
        typer.Option(
            "--flow",
            "-f",
            metavar="NAME",
            help="With --next, wait for a run of this flow. Repeatable.",
            callback=options.refuse_blank,
        ),
    ] = None,
    exit_status: Annotated[
        bool,
        typer.Option("--exit-status", help="Exit with code 1 if the run does not complete."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Watch a run until it ends.

    On a terminal, draw the run's tree. Otherwise, print a line for each
    change.

    Try:

        flowspan run watch latest

        flowspan run watch --next --flow etl --exit-status

        flowspan run watch latest --json | jq -r .transition.state.name
    """
    this = session(ctx)
    if next_ == (run_id is not None):
        raise typer.BadParameter("give either a run ID or --next", param_hint="ID")
    if flow and not next_:
        raise typer.BadParameter("it requires --next", param_hint="--flow")
    if run_id is None:
        client = this.client(even_if_empty=True)
        run: Run = _next_run(this, client, flow_names=flow or ())
    else:
        client = this.client()
        run = find_run(client, run_id, now=this.now)
    if json:
        ended = _print_items(this, run, client.watch(run.id), TraceLinks.of(client))
    elif this.out.is_terminal:
        ended = follow(client, run.id, this.out)
        this.print()
        this.print(Text(f"Logs: flowspan run logs {short_id(run.id)}", style="dim"))
        url = TraceLinks.of(client).url_of(run)
        if url is not None:
            this.print(Text("Trace: ", style="dim").append_text(linked(url)))
    else:
        ended = _print_changes(this, run, client.watch(run.id))
    if exit_status and (ended is None or ended.state.type is not StateType.COMPLETED):
        raise typer.Exit(1)


def _next_run(this: Session, client: SyncFlowspanClient, *, flow_names: Sequence[str]) -> FlowRun:
    """Wait for the next top-level flow run that starts, and return it."""
    for item in client.watch(flow_runs_only=True, changes_only=True):
        if isinstance(item, SnapshotEnd):
            of = f" of {' or '.join(flow_names)}" if flow_names else ""
            this.err.print(Text(f"Waiting for the next run{of} …", style="dim"))
            continue
        if not isinstance(item, Change):
            continue
        run = _started(client, item.transition)
        if (
            run is not None
            and run.parent_run_id is None
            and (not flow_names or run.flow_name in flow_names)
        ):
            return run
    raise CommandError("the service ended the watch. Run the command again")


def _started(client: SyncFlowspanClient, change: Transition) -> FlowRun | None:
    """Return the flow run that starts with this transition; None if it is not a start."""
    state = change.state
    is_start = state.type is StateType.RUNNING or state.is_final()
    if change.attempt > 1 or not is_start or state.type is StateType.CANCELLED:
        return None
    with suppress(ObjectNotFound):  # deleted in the meantime
        run = client.read_flow_run(change.run_id)
        # A run that was never RUNNING starts and ends at once, for example with invalid
        # arguments.
        if run.started_at is None or run.started_at == state.entered_at:
            return run
    return None


def _print_items(
    this: Session,
    run: Run,
    items: Iterator[RunSnapshot | SnapshotEnd | Change],
    links: TraceLinks,
) -> Run | None:
    tree = RunTree(run.id)
    for item in items:
        tree.apply(item)
        this.print_json(json_output.watch_item(item, links.url_of), at_once=True)
    return None if tree.root is None else tree.root.run


def _print_changes(
    this: Session, run: Run, items: Iterator[RunSnapshot | SnapshotEnd | Change]
) -> Run | None:
    """Print a line for the current state of the run, and one for each later transition."""
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
