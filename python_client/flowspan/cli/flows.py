"""`flowspan flow ls`."""

from __future__ import annotations

import typer  # noqa: TC002 - typer reads the annotations

from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.session import session


def list_flows(ctx: typer.Context, *, json: options.Json = False) -> None:
    """List every flow that has run, by name.

    Try:

        flowspan flow ls --json | jq -r .name
    """
    this = session(ctx)
    flows = this.client().read_flows(page_size=1000)
    if json:
        for flow in flows:
            this.print_json(json_output.flow(flow))
        return
    rows = [
        (
            flow.name,
            fmt.ago(flow.last_run_at, now=this.now),
            fmt.ago(flow.created_at, now=this.now),
            str(flow.id),
        )
        for flow in flows
    ]
    if rows:
        this.print_table(("FLOW", "LAST RUN", "FIRST SEEN", "ID"), rows)
    else:
        this.print("No flows.")
