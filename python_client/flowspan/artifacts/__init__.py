"""Artifacts: what runs show to people. Links, Markdown, tables, progress, images.

Inside of a run, making or changing an artifact waits for nothing: it is reported with the states of
the run, in order, and is spooled with them while the service is away. Outside of runs it returns
when the service has stored it, or when it is safe on disk. Reading asks the service, after what
this process has reported is there.

docs/artifacts-and-variables.md shows all of it.
"""

from __future__ import annotations

from flowspan.artifacts.functions import (
    acreate_image_artifact,
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from flowspan.artifacts.objects import (
    Artifact,
    ImageArtifact,
    LinkArtifact,
    MarkdownArtifact,
    ProgressArtifact,
    TableArtifact,
)
from flowspan.artifacts.reporting import ArtifactId

__all__ = [
    "Artifact",
    "ArtifactId",
    "ImageArtifact",
    "LinkArtifact",
    "MarkdownArtifact",
    "ProgressArtifact",
    "TableArtifact",
    "acreate_image_artifact",
    "acreate_link_artifact",
    "acreate_markdown_artifact",
    "acreate_progress_artifact",
    "acreate_table_artifact",
    "aupdate_progress_artifact",
    "create_image_artifact",
    "create_link_artifact",
    "create_markdown_artifact",
    "create_progress_artifact",
    "create_table_artifact",
    "update_progress_artifact",
]
