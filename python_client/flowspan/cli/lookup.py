"""Lookup of runs and artifacts by id, part of an id, name, key or `latest`."""

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
"""One more than a message lists, to detect that there are more."""
# Eight digits distinguish a million runs. Longer suffixes are used if the listed ids collide.
_SHORT_ID_LENGTHS = (8, 10, 12, 17, 22, 27)
_ADVICE = "List the runs with `flowspan run ls`, or use `latest` for the newest."


def find_run(client: SyncFlowspanClient, text: str, *, now: datetime) -> Run:
    """Return the run that the text identifies.

    Args:
        client: The service.
        text: An id, a unique prefix or suffix of one, the name of a run, or `latest`. A prefix
            matches flow runs before task runs, because the ids of a flow run and of the tasks that
            it called at once share their prefix. A suffix, as shown in tables, matches any run.
        now: The current time, for the message that lists several runs.

    Raises:
        typer.BadParameter: The text is empty or ambiguous.
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
    """Return the artifact that the text identifies: the latest of a key, or one by id.

    Args:
        client: The service.
        text: A key, an id, or a unique prefix or suffix of an id. A key takes precedence over a
            part of an id.
        now: The current time, for the message that lists several artifacts.

    Raises:
        typer.BadParameter: The text is empty or ambiguous.
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
            advice="List the keys with `flowspan artifact ls`, or every artifact with --all.",
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
    """Return the last eight characters of an id. Ids created close together share a prefix."""
    return str(run_id)[-_SHORT_ID_LENGTHS[0] :]


def short_ids(run_ids: list[UUID]) -> list[str]:
    """Return the shortest unique suffix of each id, in order; at least eight characters."""
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
    try:
        return client.read_run(text)
    except ApiError as error:
        if error.reason != "NOT_FOUND":
            raise
        raise CommandError(f"there is no run with the id {text}", advice=_ADVICE) from None


def _by_part_of_id(client: SyncFlowspanClient, part: str) -> list[Run]:
    """Return the runs whose id starts or ends with the part. Prefix matches are of one kind."""
    found: dict[UUID, Run] = {}
    for run in _candidates(client, RunFilter(id_prefix=part)):
        found[run.id] = run
    by_end = RunFilter(id_suffix=part)
    for read in (client.read_flow_runs, client.read_task_runs):
        page: Iterator[Run] = read(by_end, page_size=_MOST)
        found.update((run.id, run) for run in islice(page, _MOST) if _is_part(part, run.id))
    return list(found.values())


def _is_part(part: str, id_: UUID) -> bool:
    """Return True if an id starts or ends with the part.

    An older service ignores the suffix filter and returns runs that do not match.
    """
    if "-" in part:
        return str(id_).startswith(part) or str(id_).endswith(part)
    return id_.hex.startswith(part) or id_.hex.endswith(part)


def _candidates(client: SyncFlowspanClient, run_filter: RunFilter) -> list[Run]:
    """Return matching runs of the first kind that has any, at most `_MOST` of them."""
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
    """Return the error for a text with several matches, which lists them."""
    lines = [f"{what}:", *(f"  {one_line(line)}" for line in listed[:_MAX_LISTED])]
    if len(listed) > _MAX_LISTED:
        lines.append("  … and more")
    lines.append("Use a full id from this list.")
    return typer.BadParameter("\n".join(lines))
