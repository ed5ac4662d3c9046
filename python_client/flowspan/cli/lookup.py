"""Finds what an id, the beginning of one, a name or `latest` stands for: a run, an artifact."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from flowspan.api.models import ArtifactFilter, RunFilter
from flowspan.cli import format as fmt
from flowspan.cli import options
from flowspan.cli.session import CommandError
from flowspan.exceptions import ApiError, ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Artifact, Run

LATEST = "latest"
_ID = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{0,4}-?[0-9a-f]{0,4}-?[0-9a-f]{0,4}-?[0-9a-f]{0,12}|[0-9a-f]{4,8}"
)
_KEY = re.compile(r"[a-z0-9-]+")
_ID_DIGITS = 32
_MAX_LISTED = 10
_SHORT_ID_LENGTH = 13
_ADVICE = "`flowspan run ls` lists the runs there are; `latest` stands for the newest."


def find_run(client: SyncFlowspanClient, text: str, *, now: datetime) -> Run:
    """The run that a text stands for.

    Args:
        client: The service.
        text: An id, a unique beginning of one, the name of a run, or `latest`. A beginning stands
            for a flow run before it stands for a task run: the ids of a run and of the tasks that
            it called at once begin alike.
        now: The time, for the message that lists several.

    Raises:
        typer.BadParameter: The text is empty, or stands for several runs.
        CommandError: There is no such run.
    """
    text = options.refuse_blank(text).strip()
    if text == LATEST:
        return _latest(client)
    is_id = _ID.fullmatch(text.lower()) is not None
    if is_id and len(text.replace("-", "")) == _ID_DIGITS:
        return _by_id(client, str(UUID(text)))
    candidates: list[Run] = []
    if is_id:
        candidates = _candidates(client, id_prefix=text.lower())
    what = f"has an id that begins with {text!r}" if is_id else f"is named {text!r}"
    if not candidates:  # names may look like ids: "cafe"
        candidates = _candidates(client, run_name=text)
    if not candidates:
        raise CommandError(f"no run {what}", advice=_ADVICE)
    if len(candidates) > 1:
        listed = [
            f"{run.id}  {run.function_name} {run.name}  {run.state.name}  "
            f"{fmt.ago(run.created_at, now=now)}"
            for run in candidates
        ]
        raise _ambiguous(f"more than one run {what}", listed)
    return candidates[0]


def find_artifact(client: SyncFlowspanClient, text: str, *, now: datetime) -> Artifact:
    """The artifact that a text stands for: the latest of a key, or one by its id.

    Args:
        client: The service.
        text: A key, an id, or a unique beginning of one; a key before the beginning of an id.
        now: The time, for the message that lists several.

    Raises:
        typer.BadParameter: The text is empty, or stands for several artifacts.
        CommandError: There is no such artifact.
    """
    text = options.refuse_blank(text).strip()
    is_id = _ID.fullmatch(text.lower()) is not None
    if _KEY.fullmatch(text) is not None:
        with suppress(ObjectNotFound):
            return client.read_latest_artifact(text)
    candidates: list[Artifact] = []
    if is_id:
        wanted = ArtifactFilter(id_prefix=text.lower())
        most = _MAX_LISTED + 1
        candidates = list(client.read_artifacts(wanted, limit=most, page_size=most))
    if not candidates:
        what = "key or id" if is_id else "key"
        raise CommandError(
            f"no artifact has the {what} {text!r}",
            advice="`flowspan artifact ls` lists the keys, with --all every artifact.",
        )
    if len(candidates) > 1:
        listed = [
            f"{each.id}  {each.type} {each.key or ''}  {fmt.ago(each.created_at, now=now)}"
            for each in candidates
        ]
        raise _ambiguous(f"more than one artifact has an id that begins with {text!r}", listed)
    return candidates[0]


def short_id(run_id: UUID) -> str:
    """The beginning of an id by which a top-level run is usually found: its time of creation."""
    return str(run_id)[:_SHORT_ID_LENGTH]


def short_ids(run_ids: list[UUID]) -> list[str]:
    """Beginnings of ids, long enough to tell these ids apart."""
    texts = [str(run_id) for run_id in run_ids]
    for length in (_SHORT_ID_LENGTH, 18, 23):
        if len({text[:length] for text in texts}) == len(set(texts)):
            return [text[:length] for text in texts]
    return texts


def _latest(client: SyncFlowspanClient) -> Run:
    newest = next(iter(client.read_flow_runs(RunFilter(top_level_only=True), page_size=1)), None)
    if newest is None:
        raise CommandError("no flow has run yet", advice="Run one: python examples/hello.py")
    return newest


def _by_id(client: SyncFlowspanClient, text: str) -> Run:
    for get in (client.read_flow_run, client.read_task_run):
        try:
            return get(text)
        except ApiError as error:
            if error.reason != "NOT_FOUND":
                raise
    raise CommandError(f"there is no run with the id {text}", advice=_ADVICE)


def _candidates(
    client: SyncFlowspanClient, *, id_prefix: str | None = None, run_name: str | None = None
) -> list[Run]:
    """Runs that fit, of the first kind of which there are any; one more than a message lists."""
    most = _MAX_LISTED + 1
    top_level = RunFilter(id_prefix=id_prefix, run_name=run_name, top_level_only=True)
    anywhere = RunFilter(id_prefix=id_prefix, run_name=run_name)
    queries: tuple[Iterator[Run], ...] = (
        client.read_flow_runs(top_level, limit=most, page_size=most),
        client.read_flow_runs(anywhere, limit=most, page_size=most),
        client.read_task_runs(anywhere, limit=most, page_size=most),
    )
    for found in queries:
        runs = list(found)
        if runs:
            return runs
    return []


def _ambiguous(what: str, listed: list[str]) -> typer.BadParameter:
    """The error for a text that stands for several things, which are listed."""
    lines = [f"{what}:", *(f"  {line}" for line in listed[:_MAX_LISTED])]
    if len(listed) > _MAX_LISTED:
        lines.append("  … and more")
    lines.append("Name one of them by its id.")
    return typer.BadParameter("\n".join(lines))
