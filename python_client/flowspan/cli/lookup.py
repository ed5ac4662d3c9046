"""Finds what an id, an end of one, a name or `latest` stands for: a run, an artifact."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from flowspan.api.models import ArtifactFilter, RunFilter
from flowspan.cli import format as fmt
from flowspan.cli import options
from flowspan.cli.safe_text import one_line
from flowspan.cli.session import CommandError
from flowspan.exceptions import ApiError, ObjectNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Artifact, Run

LATEST = "latest"
_PART_OF_ID = re.compile(r"(?=[0-9a-f-]{4,36}$)-?[0-9a-f]+(-[0-9a-f]+)*-?")
_KEY = re.compile(r"[a-z0-9-]+")
_ID_DIGITS = 32
_ID_LENGTH = 36
_MAX_LISTED = 10
_MOST = _MAX_LISTED + 1
"""One more than a message lists, to know whether there are more."""
# Eight digits tell a million runs apart; more where those that are listed need more.
_SHORT_ID_LENGTHS = (8, 10, 12, 17, 22, 27)
_ADVICE = "`flowspan run ls` lists the runs there are; `latest` stands for the newest."


def find_run(client: SyncFlowspanClient, text: str, *, now: datetime) -> Run:
    """The run that a text stands for.

    Args:
        client: The service.
        text: An id, a unique end or beginning of one, the name of a run, or `latest`. A beginning
            stands for a flow run before it stands for a task run: the ids of a run and of the
            tasks that it called at once begin alike. An end, as the tables show it, stands for
            whatever run it is of.
        now: The time, for the message that lists several.

    Raises:
        typer.BadParameter: The text is empty, or stands for several runs.
        CommandError: There is no such run.
    """
    text = options.refuse_blank(text).strip()
    if text == LATEST:
        return _latest(client)
    part = text.lower()
    is_id = _PART_OF_ID.fullmatch(part) is not None
    if is_id and len(part.replace("-", "")) == _ID_DIGITS:
        return _by_id(client, str(UUID(part)))
    candidates = _by_part_of_id(client, part) if is_id else []
    what = f"has an id that begins or ends with {text!r}"
    if not candidates:  # names may look like ids: "cafe"
        candidates = _candidates(client, RunFilter(run_name=text))
        what = f"is named {text!r}" + (", or has such an id" if is_id else "")
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
        text: A key, an id, or a unique end or beginning of one; a key before a part of an id.
        now: The time, for the message that lists several.

    Raises:
        typer.BadParameter: The text is empty, or stands for several artifacts.
        CommandError: There is no such artifact.
    """
    text = options.refuse_blank(text).strip()
    part = text.lower()
    is_id = _PART_OF_ID.fullmatch(part) is not None
    if _KEY.fullmatch(text) is not None:
        with suppress(ObjectNotFound):
            return client.read_latest_artifact(text)
    candidates: list[Artifact] = []
    if is_id:
        found: dict[UUID, Artifact] = {}
        for wanted in (ArtifactFilter(id_prefix=part), ArtifactFilter(id_suffix=part)):
            page = client.read_artifacts(wanted, limit=_MOST, page_size=_MOST)
            found.update((each.id, each) for each in page if _is_part(part, each.id))
        candidates = list(found.values())
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
        what = f"has an id that begins or ends with {text!r}"
        raise _ambiguous(f"more than one artifact {what}", listed)
    return candidates[0]


def short_id(run_id: UUID) -> str:
    """Return the end of an id, by which a run is found: ids of one time begin alike."""
    return str(run_id)[-_SHORT_ID_LENGTHS[0] :]


def short_ids(run_ids: list[UUID]) -> list[str]:
    """Return for each id its shortest end, of eight characters or more, that no other one has."""
    texts = [str(run_id) for run_id in run_ids]
    distinct = set(texts)
    ends = {
        length: Counter(text[-length:] for text in distinct)
        for length in (*_SHORT_ID_LENGTHS, _ID_LENGTH)
    }
    return [
        next(text[-length:] for length, count in ends.items() if count[text[-length:]] == 1)
        for text in texts
    ]


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


def _by_part_of_id(client: SyncFlowspanClient, part: str) -> list[Run]:
    """Runs whose id begins or ends so; those whose id begins so are of one kind."""
    found: dict[UUID, Run] = {}
    for run in _candidates(client, RunFilter(id_prefix=part)):
        found[run.id] = run
    by_end = RunFilter(id_suffix=part)
    for read in (client.read_flow_runs, client.read_task_runs):
        page: Iterator[Run] = read(by_end, page_size=_MOST)
        found.update((run.id, run) for run in islice(page, _MOST) if _is_part(part, run.id))
    return list(found.values())


def _is_part(part: str, id_: UUID) -> bool:
    """True if an id begins or ends so. An older service does not know ends, and finds anything."""
    if "-" in part:
        return str(id_).startswith(part) or str(id_).endswith(part)
    return id_.hex.startswith(part) or id_.hex.endswith(part)


def _candidates(client: SyncFlowspanClient, run_filter: RunFilter) -> list[Run]:
    """Runs that fit, of the first kind of which there are any; enough of them for a message."""
    top_level = replace(run_filter, top_level_only=True)
    queries: tuple[Iterator[Run], ...] = (
        client.read_flow_runs(top_level, page_size=_MOST),
        client.read_flow_runs(run_filter, page_size=_MOST),
        client.read_task_runs(run_filter, page_size=_MOST),
    )
    for found in queries:
        runs = list(islice(found, _MOST))
        if runs:
            return runs
    return []


def _ambiguous(what: str, listed: list[str]) -> typer.BadParameter:
    """The error for a text that stands for several things, which are listed."""
    lines = [f"{what}:", *(f"  {one_line(line)}" for line in listed[:_MAX_LISTED])]
    if len(listed) > _MAX_LISTED:
        lines.append("  … and more")
    lines.append("Name one of them by its id.")
    return typer.BadParameter("\n".join(lines))
