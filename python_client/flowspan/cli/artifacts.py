"""`flowspan artifact ls`, `artifact inspect` and `artifact delete`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.api.models import ArtifactFilter
from flowspan.cli import artifact_view, json_output, options, table
from flowspan.cli import format as fmt
from flowspan.cli.lookup import find_artifact, find_run, short_id, short_ids
from flowspan.cli.session import CommandError, session
from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Artifact, Run
    from flowspan.cli.session import Session

_PAGE_SIZE = 100
_SHOWN_WITH_RUN = 10
_MAX_COUNTED = 1000

ArtifactName = Annotated[
    str,
    typer.Argument(
        metavar="KEY_OR_ID",
        help="Artifact key or id; a unique prefix or suffix of an id is enough.",
        show_default=False,
        callback=options.refuse_blank,
    ),
]


_Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        "-k",
        metavar="KEY",
        help="Show every version of this key.",
        callback=options.refuse_blank,
    ),
]
_Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        "-t",
        metavar="TYPE",
        help="Filter by type, such as table or link. Repeatable.",
        callback=options.refuse_blank,
    ),
]
_Owner = Annotated[
    str | None,
    typer.Option(
        "--run",
        "-r",
        metavar="ID",
        help="Filter by run, including its descendants.",
        callback=options.refuse_blank,
    ),
]
_All = Annotated[
    bool,
    typer.Option("--all", "-a", help="List every artifact, including those without a key."),
]


def list_artifacts(
    ctx: typer.Context,
    *,
    key: _Key = None,
    type_: _Types = None,
    run: _Owner = None,
    all_: _All = False,
    limit: options.Limit = 20,
    json: options.Json = False,
) -> None:
    """List artifacts.

    By default, list the latest artifact of each key. Filters and --all list
    every version.

    Try:

        flowspan artifact ls --run latest

        flowspan artifact ls --key sales-report --json | jq .data
    """
    this = session(ctx)
    client = this.client()
    is_each = bool(key or type_ or run or all_)
    size = min(limit + 1, _PAGE_SIZE) if limit else _PAGE_SIZE
    found: Iterator[Artifact]
    if is_each:
        owner = None if run is None else find_run(client, run, now=this.now).id
        wanted = ArtifactFilter(
            key=key,
            types=tuple(type_ or ()),
            run_id=owner,
            include_descendants=owner is not None,
        )
        found = client.read_artifacts(wanted, without_data=not json, page_size=size)
    else:
        found = client.read_latest_artifacts(without_data=not json, page_size=size)
    if json:
        for artifact in islice(found, limit or None):
            this.print_json(json_output.record(artifact))
        return
    none = "No artifacts." if is_each else "No artifacts with a key. Use --all to list the others."
    _print_list(this, found, limit, none=none)


def _print_list(this: Session, found: Iterator[Artifact], limit: int, *, none: str) -> None:
    """Print at most `limit` artifacts as a table, or the text `none`."""
    rows = list(islice(found, limit or None))
    if not rows:
        this.print(none)
        return
    _print_rows(this, rows)
    if limit and next(found, None) is not None:
        this.print(Text(f"… and more. Use --limit {limit * 5}, or --limit 0 for all.", style="dim"))


def _print_rows(this: Session, artifacts: list[Artifact]) -> None:
    ends = short_ids([each.id for each in artifacts])
    this.print_table(
        ("ID", "KEY", "TYPE", "CREATED", "RUN", "DESCRIPTION"),
        (
            _row(artifact, short, now=this.now)
            for artifact, short in zip(artifacts, ends, strict=True)
        ),
    )


def inspect_artifact(
    ctx: typer.Context, artifact: ArtifactName, *, json: options.Json = False
) -> None:
    """Show an artifact, or the latest version of a key.

    Try:

        flowspan artifact inspect sales-report

        flowspan artifact inspect sales-report --json | jq '.data[0]'
    """
    this = session(ctx)
    client = this.client()
    found = find_artifact(client, artifact, now=this.now)
    if json:
        this.print_json(json_output.record(found))
        return
    for line in artifact_view.head(found, now=this.now):
        this.print(line)
    this.print()
    for line in artifact_view.body(found, width=this.width):
        this.print(line)
    earlier = _count_earlier(client, found)
    if earlier:
        this.print()
        text = f"History ({earlier} earlier): flowspan artifact ls --key {found.key}"
        this.print(Text(text, style="dim"))


def delete_artifact(
    ctx: typer.Context, artifact: ArtifactName, *, json: options.Json = False
) -> None:
    """Delete an artifact, or every version of a key.

    Try:

        flowspan artifact delete sales-report

        flowspan artifact delete 0199a1b2-c3d4
    """
    this = session(ctx)
    client = this.client()
    found = find_artifact(client, artifact, now=this.now)
    name = artifact.strip()  # stripped, as in `find_artifact`
    is_key = found.key == name
    if is_key:
        count = client.delete_artifacts_of_key(name)
    else:
        count = int(client.delete_artifact(found.id))
    if not count:
        raise CommandError(f"{name!r} has already been deleted by another client")
    if json:
        this.print_json(
            {
                "id": None if is_key else str(found.id),
                "key": found.key,
                "deleted_artifact_count": count,
            }
        )
    elif is_key:
        this.print(f"Deleted {fmt.count(count, 'artifact')} with the key {name}.")
    else:
        this.print(f"Deleted the {found.type} {found.id}.")


def print_artifacts_of(this: Session, client: SyncFlowspanClient, run: Run) -> None:
    """Print the first artifacts of a run and its descendants, one per line.

    Print nothing if there are no artifacts.
    """
    wanted = ArtifactFilter(run_id=run.id, include_descendants=True)
    found = client.read_artifacts(
        wanted,
        oldest_first=True,
        without_data=True,
        limit=_SHOWN_WITH_RUN + 1,
        page_size=_SHOWN_WITH_RUN + 1,
    )
    try:
        listed = list(found)
    except ApiError as error:
        if error.status == "UNIMPLEMENTED":  # an older service without artifacts
            return
        raise
    if not listed:
        return
    this.print()
    rows = [
        (Text(fmt.visible(each.type), "dim"), each.key or str(each.id), _description(each))
        for each in listed[:_SHOWN_WITH_RUN]
    ]
    width = None if this.width is None else this.width - 2
    for line in table.draw(("TYPE", "ID", "DESCRIPTION"), rows, width=width)[1:]:
        this.print(Text("  ").append_text(line))
    if len(listed) > _SHOWN_WITH_RUN:
        this.print(Text("  … and more", style="dim"))
    this.print(Text(f"Artifacts: flowspan artifact ls --run {short_id(run.id)}", style="dim"))


def _row(artifact: Artifact, short: str, *, now: datetime) -> tuple[str | Text, ...]:
    return (
        short,
        artifact.key or "",
        artifact.type,
        fmt.ago(artifact.created_at, now=now),
        short_id(artifact.run_id) if artifact.run_id is not None else "",
        _description(artifact),
    )


def _description(artifact: Artifact) -> str:
    return fmt.visible(artifact.description.strip().partition("\n")[0])


def _count_earlier(client: SyncFlowspanClient, artifact: Artifact) -> str:
    """Return the number of older artifacts of the same key as text; empty if there are none."""
    if artifact.key is None:
        return ""
    wanted = ArtifactFilter(key=artifact.key)
    history = list(
        client.read_artifacts(wanted, without_data=True, limit=_MAX_COUNTED, page_size=_MAX_COUNTED)
    )
    count = sum(each.id < artifact.id for each in history)
    if len(history) == _MAX_COUNTED:
        return f"{fmt.count(count)} or more"
    return fmt.count(count) if count else ""
