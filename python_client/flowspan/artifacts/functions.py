"""Functions that create artifacts, with Prefect's names and arguments.

Each has an asynchronous counterpart with the prefix "a". All raise TypeError for data that is
not JSON-serializable, and ValueError for an invalid key or data that is too large.
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
    """Create a link artifact.

    Args:
        link: The URL.
        link_text: The text to show; the URL if None.
        key: The key that this is a version of: lower-case letters, digits and dashes.
        description: A description in Markdown.
        client: Ignored. Accepted for compatibility with Prefect.
        _sync: Ignored. The returned id can be awaited.

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
    """Create a link artifact; see `create_link_artifact`."""
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
    """Create a Markdown artifact.

    Args:
        markdown: The text.
        key: The key that this is a version of: lower-case letters, digits and dashes.
        description: A description in Markdown.
        _sync: Ignored. The returned id can be awaited.

    Returns:
        The artifact's id.
    """
    del _sync
    return MarkdownArtifact(markdown=markdown, key=key, description=description).create()


async def acreate_markdown_artifact(
    markdown: str, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Create a Markdown artifact; see `create_markdown_artifact`."""
    return await MarkdownArtifact(markdown=markdown, key=key, description=description).acreate()


def create_table_artifact(
    table: Table,
    key: str | None = None,
    description: str | None = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Create a table artifact.

    Args:
        table: A list of dictionaries or lists (the rows), a dictionary of lists (the columns), or
            a table, series or array of pandas, polars, pyarrow or numpy.
        key: The key that this is a version of: lower-case letters, digits and dashes.
        description: A description in Markdown.
        _sync: Ignored. The returned id can be awaited.

    Returns:
        The artifact's id.
    """
    del _sync
    return TableArtifact(table=table, key=key, description=description).create()


async def acreate_table_artifact(
    table: Table, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Create a table artifact; see `create_table_artifact`."""
    return await TableArtifact(table=table, key=key, description=description).acreate()


def create_progress_artifact(
    progress: float,
    key: str | None = None,
    description: str | None = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Create a progress bar; update it with `update_progress_artifact`.

    Args:
        progress: A percentage from 0 to 100. Values outside are clamped, with a warning.
        key: The key that this is a version of: lower-case letters, digits and dashes.
        description: A description in Markdown.
        _sync: Ignored. The returned id can be awaited.

    Returns:
        The artifact's id.
    """
    del _sync
    return ProgressArtifact(progress=progress, key=key, description=description).create()


async def acreate_progress_artifact(
    progress: float, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Create a progress bar; see `create_progress_artifact`."""
    return await ProgressArtifact(progress=progress, key=key, description=description).acreate()


def update_progress_artifact(
    artifact_id: UUID | str,
    progress: float,
    description: str | None = None,
    client: object = None,
    *,
    _sync: bool | None = None,
) -> ArtifactId:
    """Update a progress bar.

    Args:
        artifact_id: The artifact. If the service does not have it, nothing changes, and this
            process logs a warning.
        progress: A percentage from 0 to 100. Values outside are clamped, with a warning.
        description: The new description; unchanged if None.
        client: Ignored; see `create_link_artifact`.
        _sync: Ignored. The returned id can be awaited.

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
    """Update a progress bar; see `update_progress_artifact`."""
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
    """Create an image artifact.

    Args:
        image_url: The URL of the image, which must be accessible to its viewers.
        key: The key that this is a version of: lower-case letters, digits and dashes.
        description: A description in Markdown.
        _sync: Ignored. The returned id can be awaited.

    Returns:
        The artifact's id.
    """
    del _sync
    return ImageArtifact(image_url=image_url, key=key, description=description).create()


async def acreate_image_artifact(
    image_url: str, key: str | None = None, description: str | None = None
) -> ArtifactId:
    """Create an image artifact; see `create_image_artifact`."""
    return await ImageArtifact(image_url=image_url, key=key, description=description).acreate()
