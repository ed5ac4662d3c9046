"""The functions that make artifacts; names and arguments are Prefect's.

Each has a twin for coroutines, whose name begins with "a". All may raise TypeError (it is nothing
that JSON can hold) and ValueError (a bad key, or too large).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowspan.artifacts.objects import (
    ImageArtifact,
    LinkArtifact,
    MarkdownArtifact,
    ProgressArtifact,
    TableArtifact,
    checked_progress,
    flush_in_thread,
)
from flowspan.artifacts.reporting import is_in_run, report_change
from flowspan.drivers.process import flush_reports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from flowspan.artifacts.reporting import ArtifactId
    from flowspan.core.values.tables import DataTable

    Table = dict[str, list[Any]] | Sequence[dict[str, Any]] | Sequence[Sequence[Any]] | DataTable


def create_link_artifact(
    link: str,
    link_text: str | None = None,
    key: str | None = None,
    description: str | None = None,
    client: object = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Makes a link.

    Args:
        link: Where it leads.
        link_text: What is to be read; the link itself if None.
        key: What it is a version of: lower-case letters, digits and dashes.
        description: What it is about, in Markdown.
        client: Has no effect. It is there so that calls written for Prefect go on working.
        _sync: Has no effect: the id that is returned can be awaited, too.

    Returns:
        The artifact's id.
    """
    del client, _sync
    return LinkArtifact(link=link, link_text=link_text, key=key, description=description).create()


async def acreate_link_artifact(
    link: str,
    link_text: str | None = None,
    key: str | None = None,
    description: str | None = None,
    client: object = None,
) -> ArtifactId:
    """Makes a link; see `create_link_artifact`."""
    del client
    return await LinkArtifact(
        link=link, link_text=link_text, key=key, description=description
    ).acreate()


def create_markdown_artifact(
    markdown: str,
    key: str | None = None,
    description: str | None = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Makes a text in Markdown.

    Args:
        markdown: The text.
        key: What it is a version of: lower-case letters, digits and dashes.
        description: What it is about, in Markdown.
        _sync: Has no effect: the id that is returned can be awaited, too.

    Returns:
        The artifact's id.
    """
    del _sync
    return MarkdownArtifact(markdown=markdown, key=key, description=description).create()


async def acreate_markdown_artifact(
    markdown: str, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Makes a text in Markdown; see `create_markdown_artifact`."""
    return await MarkdownArtifact(markdown=markdown, key=key, description=description).acreate()


def create_table_artifact(
    table: Table,
    key: str | None = None,
    description: str | None = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Makes a table.

    Args:
        table: A list of dictionaries or of lists, the rows; a dictionary of lists, the columns; or
            a table, series or array of pandas, polars, pyarrow or numpy.
        key: What it is a version of: lower-case letters, digits and dashes.
        description: What it is about, in Markdown.
        _sync: Has no effect: the id that is returned can be awaited, too.

    Returns:
        The artifact's id.
    """
    del _sync
    return TableArtifact(table=table, key=key, description=description).create()


async def acreate_table_artifact(
    table: Table, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Makes a table; see `create_table_artifact`."""
    return await TableArtifact(table=table, key=key, description=description).acreate()


def create_progress_artifact(
    progress: float,
    key: str | None = None,
    description: str | None = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Makes a progress bar; `update_progress_artifact` moves it on.

    Args:
        progress: From 0 to 100. What is below or above becomes that, with a warning.
        key: What it is a version of: lower-case letters, digits and dashes.
        description: What it is about, in Markdown.
        _sync: Has no effect: the id that is returned can be awaited, too.

    Returns:
        The artifact's id.
    """
    del _sync
    return ProgressArtifact(progress=progress, key=key, description=description).create()


async def acreate_progress_artifact(
    progress: float, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Makes a progress bar; see `create_progress_artifact`."""
    return await ProgressArtifact(progress=progress, key=key, description=description).acreate()


def update_progress_artifact(
    artifact_id: UUID | str,
    progress: float,
    description: str | None = None,
    client: object = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Moves a progress bar on.

    Args:
        artifact_id: Which artifact. Changing one that the service does not have does nothing, with
            a warning in the log of this process.
        progress: From 0 to 100. What is below or above becomes that, with a warning.
        description: What it is about; as it is if None.
        client: Has no effect; see `create_link_artifact`.
        _sync: Has no effect: the id that is returned can be awaited, too.

    Returns:
        The artifact's id.
    """
    del client, _sync
    changed = report_change(artifact_id, description, checked_progress(progress))
    if not is_in_run():
        flush_reports()
    return changed


async def aupdate_progress_artifact(
    artifact_id: UUID | str,
    progress: float,
    description: str | None = None,
    client: object = None,
) -> ArtifactId:
    """Moves a progress bar on; see `update_progress_artifact`."""
    del client
    changed = report_change(artifact_id, description, checked_progress(progress))
    if not is_in_run():
        await flush_in_thread()
    return changed


def create_image_artifact(
    image_url: str,
    key: str | None = None,
    description: str | None = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Makes an image that people can open.

    Args:
        image_url: Where it is.
        key: What it is a version of: lower-case letters, digits and dashes.
        description: What it is about, in Markdown.
        _sync: Has no effect: the id that is returned can be awaited, too.

    Returns:
        The artifact's id.
    """
    del _sync
    return ImageArtifact(image_url=image_url, key=key, description=description).create()


async def acreate_image_artifact(
    image_url: str, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Makes an image that people can open; see `create_image_artifact`."""
    return await ImageArtifact(image_url=image_url, key=key, description=description).acreate()
