"""Artifacts of a class: what creating them returns."""

import asyncio
import uuid

from prefect import flow
from prefect.artifacts import Artifact, MarkdownArtifact, ProgressArtifact, update_progress_artifact


@flow
def plain():
    made = MarkdownArtifact(markdown="text", key="made", description="why").create()
    found = Artifact.get("made")
    print(isinstance(made.id, uuid.UUID), found.id == made.id, found.data, found.description)
    progress = ProgressArtifact(progress=1, key="progress").create()
    update_progress_artifact(progress.id, progress=50)
    print(float(Artifact.get("progress").data))


@flow
async def later():
    made = await MarkdownArtifact(markdown="later", key="later").acreate()
    found = await Artifact.aget("later")
    print(isinstance(made.id, uuid.UUID), found.id == made.id, found.data)


plain()
asyncio.run(later())

# prints: True True text why
# prints: 50.0
# prints: True True later
