"""Expected types of artifacts and variables; read by type checkers, never run."""

from __future__ import annotations

from typing import assert_type

from flowspan import get_client
from flowspan.artifacts import (
    Artifact,
    ArtifactId,
    acreate_table_artifact,
    create_markdown_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from flowspan.client import Artifact as StoredArtifact
from flowspan.client import ArtifactFilter
from flowspan.client import Variable as StoredVariable
from flowspan.variables import Variable


def plain() -> None:
    assert_type(create_markdown_artifact("x", key="k"), ArtifactId)
    assert_type(create_table_artifact([{"a": 1}]), ArtifactId)
    assert_type(create_table_artifact({"a": [1]}), ArtifactId)
    assert_type(Artifact.get("k"), Artifact | None)
    assert_type(Artifact.get_or_create("k"), tuple[Artifact, bool])
    update_progress_artifact(create_markdown_artifact("x"), 5)
    create_markdown_artifact()  # type: ignore[call-arg]
    create_table_artifact(3)  # type: ignore[arg-type]
    assert_type(Variable[int].get("x"), int | None)
    assert_type(Variable[int].get("x", 5), int)
    assert_type(Variable.set("x", 5), Variable[int])
    assert_type(Variable.unset("x"), bool)
    with get_client(sync_client=True) as client:
        assert_type(next(client.read_artifacts(ArtifactFilter(key="k"))), StoredArtifact)
        assert_type(client.read_variable_by_name("x"), StoredVariable | None)


async def asynchronous() -> None:
    assert_type(await acreate_table_artifact([[1]]), ArtifactId)
    assert_type(await create_markdown_artifact("x"), ArtifactId)
    assert_type(await Artifact.aget("k"), Artifact | None)
    assert_type(await Variable[str].aget("x"), str | None)
    assert_type(await Variable[str].aget("x", "y"), str)
