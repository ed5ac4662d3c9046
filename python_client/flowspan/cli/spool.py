"""`flowspan spool ls` and `spool push`: what processes left behind while the service was away."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.session import CommandError, session
from flowspan.config import get_config

if TYPE_CHECKING:
    from flowspan.cli.session import Session
    from flowspan.config import Config
    from flowspan.reporter.orphans import PushResult, SpoolInfo


def list_spools(ctx: typer.Context, *, json: options.Json = False) -> None:
    """List what waits on this machine to be sent to the service.

    Spools are sent by the next flow that reaches the service, or at once by `spool push`.

    Try:

        flowspan spool ls --json | jq -r .path
    """
    # The reporter costs each command 30 ms, and only these two need it.
    from flowspan.reporter import orphans  # noqa: PLC0415

    this = session(ctx)
    spools = orphans.list_spools(_config(this))
    if json:
        for info in spools:
            this.print_json(_as_json(info))
        return
    if not spools:
        this.print("No spools: everything was sent.")
        return
    this.print_table(
        ("MADE", "SIZE", "PROCESS", "FOR", "STATUS", "PATH"),
        (_row(this, info) for info in spools),
    )


def push_spools(
    ctx: typer.Context,
    *,
    any_address: Annotated[
        bool,
        typer.Option("--any-address", help="Also what was meant for a service elsewhere."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Send what waits on this machine to the service, and say what is left, and why.

    What a running process uses, or what is meant for another service, is left; that is no error.
    Exit code 1 if something that was tried cannot be sent.

    Try:

        flowspan spool ls && flowspan spool push
    """
    from flowspan.reporter import orphans  # noqa: PLC0415 - as above

    this = session(ctx)
    results = orphans.push_spools(_config(this), any_address=any_address)
    for result in results:
        if json:
            this.print_json({**json_output.record(result), "path": str(result.path)})
        else:
            this.print(_outcome(result))
    tried = [result for result in results if not result.left]
    if not tried and not json:
        this.print("Nothing to send." if not results else "Nothing else to send.")
    failed = [result for result in tried if not result.is_done]
    if failed:
        raise CommandError(f"{len(failed)} of {len(tried)} spools were not sent")


def _config(this: Session) -> Config:
    config = get_config()
    return config if this.address is None else dataclasses.replace(config, address=this.address)


def _row(this: Session, info: SpoolInfo) -> tuple[str | Text, ...]:
    made = datetime.fromtimestamp(info.created_at, UTC) if info.created_at else None
    if info.problem:
        status = Text.assemble((info.problem, "red"))
    else:
        status = Text("in use") if info.is_owned else Text.assemble(("waits", "yellow"))
    return (
        fmt.ago(made, now=this.now),
        fmt.size(info.size_bytes),
        f"{info.process_id or ''} {info.hostname}".strip(),
        info.address or "local service",
        status,
        str(info.path),
    )


def _as_json(info: SpoolInfo) -> dict[str, object]:
    made = datetime.fromtimestamp(info.created_at, UTC) if info.created_at else None
    return {
        **json_output.record(info),
        "path": str(info.path),
        "created_at": None if made is None else json_output.timestamp(made),
    }


def _outcome(result: PushResult) -> Text:
    if result.is_done:
        return Text(f"Sent {fmt.count(result.events, 'event')} of session {result.session_id}.")
    if result.left:
        return Text.assemble(("Left: ", "yellow"), f"{result.path}: {result.left}.")
    return Text.assemble(("Not sent: ", "red"), f"{result.path}: {result.problem}")
