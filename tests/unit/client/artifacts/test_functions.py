"""Events of created artifacts, and arguments that are rejected before anything is reported."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from flowspan import flow, task
from flowspan.artifacts import (
    Artifact,
    ArtifactId,
    TableArtifact,
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
from flowspan.core.events import ARTIFACT, ARTIFACT_CHANGE, LOG, STATE

if TYPE_CHECKING:
    from tests.support.recorder import Recorder

ROWS = [{"city": "Ulm", "degrees": float("nan")}]


def artifacts(recorder: Recorder) -> list[tuple[Any, ...]]:
    """Return the created artifacts: (id, run id, key, type, description, data)."""
    return [
        (*event[1:6], json.loads(event[6])) for event in recorder.events if event[0] == ARTIFACT
    ]


def changes(recorder: Recorder) -> list[tuple[Any, ...]]:
    """Return the updates: (id, description, data)."""
    return [
        (*event[1:3], json.loads(event[3]))
        for event in recorder.events
        if event[0] == ARTIFACT_CHANGE
    ]


EXPECTED = [
    ("", "link", "", "[https://x](https://x)"),
    ("a-link", "link", "where", "[here](https://x)"),
    ("", "markdown", "", "# Title"),
    ("a-table", "table", "", [{"city": "Ulm", "degrees": None}]),
    ("", "image", "", "https://x/y.png"),
    ("", "progress", "", 10.0),
]


def make_all() -> list[UUID]:
    progress = create_progress_artifact(10)
    made = [
        create_link_artifact("https://x"),
        create_link_artifact("https://x", "here", key="a-link", description="where"),
        create_markdown_artifact("# Title"),
        create_table_artifact(ROWS, "a-table"),
        create_image_artifact("https://x/y.png"),
        progress,
    ]
    update_progress_artifact(progress, 50)
    update_progress_artifact(str(progress), 100, "done")
    return made


async def make_all_async() -> list[UUID]:
    progress = await acreate_progress_artifact(10)
    made = [
        await acreate_link_artifact("https://x"),
        await acreate_link_artifact("https://x", "here", key="a-link", description="where"),
        await acreate_markdown_artifact("# Title"),
        await acreate_table_artifact(ROWS, "a-table"),
        await acreate_image_artifact("https://x/y.png"),
        progress,
    ]
    await aupdate_progress_artifact(progress, 50)
    await aupdate_progress_artifact(progress, 100, "done")
    return made


def check(recorder: Recorder, made: list[UUID], run_id: str) -> None:
    found = sorted(artifacts(recorder), key=lambda each: made.index(UUID(each[0])))
    assert [each[2:] for each in found] == EXPECTED
    assert {each[1] for each in found} == {run_id}
    assert all(identifier.version == 7 for identifier in made)
    progress = str(made[-1])
    assert changes(recorder) == [(progress, None, 50.0), (progress, "done", 100.0)]


@pytest.mark.parametrize("kind", [flow, task])
@pytest.mark.parametrize("function", [make_all, make_all_async])
def test_in_runs_they_are_reported_in_order(recorder: Recorder, kind: Any, function: Any) -> None:
    called = kind(function)()
    made = asyncio.run(called) if asyncio.iscoroutine(called) else called
    (run,) = recorder.runs
    check(recorder, made, run.id)
    codes = [event[0] for event in recorder.events if event[0] != LOG]
    running, completed = (index for index, code in enumerate(codes) if code == STATE)
    assert codes[running + 1 : completed] == [ARTIFACT] * 6 + [ARTIFACT_CHANGE] * 2
    assert recorder.flushes == 1, "it must be reported only at the end of the run"


@pytest.mark.parametrize("function", [make_all, make_all_async])
def test_outside_of_runs_each_is_waited_for(recorder: Recorder, function: Any) -> None:
    called = function()
    made = asyncio.run(called) if asyncio.iscoroutine(called) else called
    check(recorder, made, "")
    assert recorder.flushes == 8


def test_a_thread_without_the_context_is_outside_of_the_run(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        thread = threading.Thread(target=create_markdown_artifact, args=("x",))
        thread.start()
        thread.join()

    outer()
    ((_, run_id, *_),) = artifacts(recorder)
    assert run_id == ""


def test_the_id_may_be_awaited(recorder: Recorder) -> None:
    @flow
    async def outer() -> tuple[UUID, UUID]:
        made = await create_progress_artifact(1)
        return made, await update_progress_artifact(made, 2)

    made, changed = asyncio.run(outer())
    assert made == changed
    assert isinstance(made, UUID)
    assert made == UUID(str(made))
    assert hash(made) == hash(UUID(str(made)))
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own pickle
    assert len(artifacts(recorder)) == 1


@pytest.mark.parametrize("key", ["", "Report", "a b", "a_b", "ä", "a/b", "k" * 257])
def test_bad_keys_are_refused(recorder: Recorder, key: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        create_markdown_artifact("x", key=key)
    assert Artifact.get(key) is None  # The service is not called.
    with pytest.raises(ValueError, match="lower-case letters"):
        Artifact.get_or_create(key, data="x")
    assert recorder.events == []


def test_what_cannot_be_shown_is_refused(recorder: Recorder) -> None:
    class Thing:
        pass

    with pytest.raises(TypeError, match="Thing cannot be represented in JSON"):
        create_table_artifact([{"x": Thing()}])
    with pytest.raises(TypeError, match="a table must be a list of dictionaries"):
        create_table_artifact("no table")  # type: ignore[arg-type] # on purpose
    with pytest.raises(ValueError, match="create a link"):
        create_markdown_artifact("x" * (1 << 20))
    with pytest.raises(ValueError, match="description"):
        create_markdown_artifact("x", description="ä" * 16_385)
    with pytest.raises(ValueError, match="type"):
        Artifact(type="t" * 65, data=1).create()
    with pytest.raises(ValueError, match="not a number"):
        create_progress_artifact(float("nan"))
    with pytest.raises(ValueError, match="UUID"):
        update_progress_artifact("no id", 5)
    assert recorder.events == []


def test_the_largest_that_may_be_shown(recorder: Recorder) -> None:
    create_markdown_artifact("x" * ((1 << 20) - 2), key="k" * 256, description="ä" * 16_384)
    assert len(artifacts(recorder)) == 1


def test_text_that_is_none_is_made_readable(recorder: Recorder) -> None:
    create_markdown_artifact("a\0\ud800", description="b\0\ud800")
    ((_, _, _, _, description, shown),) = artifacts(recorder)
    assert description == "b\N{SYMBOL FOR NULL}\\ud800"
    assert shown == "a\0\ud800", "JSON can represent it"


def test_a_progress_beyond_its_ends_is_warned_of(recorder: Recorder) -> None:
    @flow
    def outer() -> None:
        made = create_progress_artifact(-3)
        update_progress_artifact(made, 100.5)

    outer()
    assert artifacts(recorder)[0][-1] == 0.0
    assert changes(recorder)[0][-1] == 100.0
    assert recorder.logs("outer", level=30) == [
        "A progress of -3 % is shown as 0 %.",
        "A progress of 100.5 % is shown as 100 %.",
    ]


def test_artifacts_as_objects(recorder: Recorder) -> None:
    table = TableArtifact(table={"a": [1, 2]}, key="k", description="d")
    assert table.id is None
    made = table.create()
    assert table.id == made
    assert isinstance(made, ArtifactId)
    other = asyncio.run(Artifact(type="my-own", data={"x": None}).acreate())
    assert Artifact(data=1).type == "data"
    assert artifacts(recorder) == [
        (str(made), "", "k", "table", "d", {"a": [1, 2]}),
        (str(other), "", "", "my-own", "", {"x": None}),
    ]


def test_changing_what_another_process_made(recorder: Recorder) -> None:
    identifier = uuid4()
    assert update_progress_artifact(identifier, 1) == identifier
    assert changes(recorder) == [(str(identifier), None, 1.0)]


def test_the_import_is_light() -> None:
    code = (
        "import sys; import flowspan.artifacts, flowspan.variables;"
        "print([n for n in ('grpc', 'pydantic', 'asyncio', 'google') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
