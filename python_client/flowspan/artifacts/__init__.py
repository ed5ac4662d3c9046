"""Artifacts that runs publish for people: links, Markdown, tables, progress and images.

Inside a run, creating or changing an artifact does not block. It is reported in order with the
states of the run, and spooled with them while the service is unreachable. Outside runs, a call
returns when the service has stored the artifact, or when it is safely spooled on disk. Reads go
to the service, after the reports of this process have arrived there.

See docs/artifacts-and-variables.md.
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
