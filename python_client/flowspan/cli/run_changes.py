"""`flowspan run cancel`, `run delete` and `run label`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flowspan.api.models import FlowRun, StateType
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options, tree_view
from flowspan.cli.lookup import find_run
from flowspan.cli.session import CommandError, session
from flowspan.cli.trace_links import TraceLinks

if TYPE_CHECKING:
    from flowspan.api.models import Run


def cancel_run(ctx: typer.Context, run_id: options.RunId, *, json: options.Json = False) -> None:
    """Cancel a run and all runs that it called.

    The processes that execute the runs are notified at once. Each run stops
    at its next cancellation point.

    Try:

        flowspan run cancel latest && flowspan run watch latest
    """
    this = session(ctx)
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    ask = client.cancel_flow_run if isinstance(run, FlowRun) else client.cancel_task_run
    verdict, after, asked = ask(run.id, reason="Cancelled from the command line.")
    if json:
        of_run = json_output.run(after, TraceLinks.of(client).url_of)
        shown = {"verdict": json_output.record(verdict), "run": of_run}
        this.print_json({**shown, "asked_run_count": asked})
    if not verdict.is_accepted:
        raise CommandError(f"{_called(run)} was not cancelled: {verdict.reason}")
    if not json:
        below = asked - (after.state.type is StateType.CANCELLING)
        others = f", and {fmt.count(below, 'run')} below it was asked to stop" if below == 1 else ""
        if below > 1:
            others = f", and {fmt.count(below, 'run')} below it were asked to stop"
        this.print(f"{_called(run)} is {fmt.visible(after.state.name)}{others}.")


def delete_run(
    ctx: typer.Context,
    run_id: options.RunId,
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Delete a run that has not ended. Later reports of the run are lost."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Delete a flow run and its descendants, with their history and logs.

    Try:

        flowspan run delete 0199a1b2-c3d4
    """
    this = session(ctx)
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    if not isinstance(run, FlowRun):
        raise CommandError(
            f"{_called(run)} is a task run", advice="Delete the flow run that it belongs to."
        )
    count = client.delete_flow_run(run.id, force=force)
    if json:
        this.print_json({"id": str(run.id), "deleted_run_count": count})
    else:
        below = f", and {fmt.count(count - 1, 'run')} below it" if count > 1 else ""
        this.print(f"Deleted {_called(run)}{below}.")


def label_run(
    ctx: typer.Context,
    run_id: options.RunId,
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Labels to set.",
            show_default=False,
            callback=options.refuse_blank,
        ),
    ] = None,
    *,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove",
            metavar="KEY",
            help="Remove the label with this key. Repeatable.",
            callback=options.refuse_blank,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Set or remove labels of a flow run or task run, and show all its labels.

    Other labels of the run stay as they are.

    Try:

        flowspan run label latest team=data ticket=DATA-17

        flowspan run label latest --remove ticket
    """
    new = _parse_labels(labels or [])
    this = session(ctx)
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    if new or remove:
        shown = client.set_labels(run.id, new, removed_keys=remove or ())
    else:
        shown = client.get_labels(run.id)
    if json:
        this.print_json({"run_id": str(run.id), "labels": shown})
        return
    text = fmt.visible(fmt.labels(shown)) if shown else "no labels"
    this.print(f"{_called(run)}: {text}")


def _parse_labels(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        if key in found:
            raise typer.BadParameter(f"the key {key!r} is given twice")
        found[key] = value
    return found


def _called(run: Run) -> str:
    return f"{tree_view.title(run).plain} ({run.id})"
