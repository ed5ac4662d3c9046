"""`flowspan spool ls` and `spool push`: events spooled while the service was unreachable."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.cli import format as fmt
from flowspan.cli import json_output, options
from flowspan.cli.session import CommandError, session
from flowspan.config import config_for, get_config

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.cli.session import Session
    from flowspan.config import Config
    from flowspan.reporter.spool.drain import PushResult
    from flowspan.reporter.spool.orphans import SpoolInfo


def list_spools(ctx: typer.Context, *, json: options.Json = False) -> None:
    """List the spools on this machine that wait to be sent or are damaged.

    The next flow that reaches the service sends its spools, or `spool push`
    sends them at once. The readable part of a damaged spool is sent; the file
    is kept as FILE.damaged until you remove it.

    The exit code is 1 if a spool is damaged or cannot be read.

    Try:

        flowspan spool ls --json | jq -r .path
    """
    # Importing the reporter takes 30 ms, and only these two commands need it.
    from flowspan.reporter.spool import orphans  # noqa: PLC0415

    this = session(ctx)
    spools = orphans.list_spools(_config(this))
    if json:
        for info in spools:
            this.print_json(_as_json(info))
    elif not spools:
        this.print("No spools. All events have been sent.")
    else:
        this.print_table(
            ("CREATED", "SIZE", "PROCESS", "FOR", "STATUS", "PATH"),
            (_row(this, info) for info in spools),
        )
    bad = sum(1 for info in spools if info.is_damaged or info.problem)
    if bad:
        raise CommandError(f"{bad} of {len(spools)} spools are damaged or cannot be read")


def push_spools(
    ctx: typer.Context,
    *,
    any_address: Annotated[
        bool,
        typer.Option("--any-address", help="Also send spools addressed to another service."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Send the spools on this machine to the service.

    Spools that a running process uses, or that are addressed to another
    service, are skipped; that is not an error. The readable part of a damaged
    spool is sent, and the file is kept as FILE.damaged.

    The exit code is 1 if a spool could not be sent or was damaged.

    Try:

        flowspan spool ls; flowspan spool push
    """
    from flowspan.reporter.spool import orphans  # noqa: PLC0415 - as above

    this = session(ctx)
    results = orphans.push_spools(_config(this), any_address=any_address)
    for result in results:
        if json:
            this.print_json(
                {
                    **json_output.record(dataclasses.replace(result, damaged_path=None)),
                    "path": _shown(result.path),
                    "damaged_path": result.damaged_path and _shown(result.damaged_path),
                }
            )
        else:
            this.print(_outcome(result))
    tried = [result for result in results if not result.left]
    if not tried and not json:
        this.print("Nothing to send." if not results else "Nothing else to send.")
    failed = [result for result in tried if not result.is_done]
    if failed:
        how = "not sent completely" if any(each.events for each in failed) else "not sent"
        raise CommandError(f"{len(failed)} of {len(tried)} spools were {how}")


def _config(this: Session) -> Config:
    return get_config() if this.address is None else config_for(this.address)


def _row(this: Session, info: SpoolInfo) -> tuple[str | Text, ...]:
    made = datetime.fromtimestamp(info.created_at, UTC) if info.created_at else None
    if info.is_set_aside:
        status = Text.assemble((f"damaged: {_missing(info.missing_events)}, rest sent", "red"))
    elif info.problem:
        status = Text.assemble((info.problem, "red"))
    elif info.is_damaged:
        status = Text.assemble((f"waiting, damaged: {_missing(info.missing_events)}", "red"))
    else:
        status = Text("in use") if info.is_owned else Text.assemble(("waiting", "yellow"))
    return (
        fmt.ago(made, now=this.now),
        fmt.size(info.size_bytes),
        f"{info.process_id or ''} {info.hostname}".strip(),
        info.address or "local service",
        status,
        _shown(info.path),
    )


def _as_json(info: SpoolInfo) -> dict[str, object]:
    made = datetime.fromtimestamp(info.created_at, UTC) if info.created_at else None
    return {
        **json_output.record(info),
        "path": _shown(info.path),
        "created_at": None if made is None else json_output.timestamp(made),
    }


def _outcome(result: PushResult) -> Text:
    path = _shown(result.path)
    if result.left:
        return Text.assemble(("Skipped: ", "yellow"), f"{path}: {result.left}.")
    sent = f"Sent {fmt.count(result.events, 'event')} of session {result.session_id}."
    if result.is_done:
        return Text(sent)
    kept = f" The file is kept as {_shown(result.damaged_path)}." if result.damaged_path else ""
    if result.events:
        return Text.assemble(sent, (" Incomplete: ", "red"), f"{path}: {result.problem}.{kept}")
    return Text.assemble(("Not sent: ", "red"), f"{path}: {result.problem}.{kept}")


def _missing(events: int) -> str:
    return f"{fmt.count(events, 'event')} missing" if events else "events may be missing"


def _shown(path: Path) -> str:
    """Return a path as printable text, whatever bytes it contains."""
    return os.fsencode(path).decode(errors="backslashreplace")
