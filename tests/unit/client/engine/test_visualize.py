"""Drawing flows: their function is called, but nothing that it calls, and nothing is reported."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from flowspan import flow, task
from flowspan.exceptions import ParameterError, VisualizationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.client.engine.recorder import Recorder


@task
def load(day: Any) -> list[int]:
    raise AssertionError("executed")


@task
async def later(value: Any) -> int:
    raise AssertionError("executed")


@task
def pages(value: Any) -> Any:
    raise AssertionError("executed")
    yield


@task(viz_return_value=[1, 2])
def known() -> list[int]:
    raise AssertionError("executed")


@flow
def below(value: Any) -> int:
    raise AssertionError("executed")


@flow
def plain(day: int) -> Any:
    first = load(day)
    mapped = load.map([first, {"k": first}])
    after = later.submit(mapped, wait_for=[first]).result()
    below(load(pages(after), return_state=True))
    numbers = known()
    return load([numbers, sum(numbers)])


@flow
async def asynchronous(day: int) -> Any:
    first = await later(day)
    second = await later.submit(first)
    return below([second])


def lines(graph: str) -> list[str]:
    return [line.strip() for line in graph.splitlines()[1:]]


def test_a_plain_flow(recorder: Recorder) -> None:
    assert sorted(lines(plain.generate_mermaid_graph("5"))) == [
        "n0 --> n1",
        "n0 --> n2",
        'n0["load-0"]',
        "n1 --> n2",
        'n1["load-1"]',
        "n2 --> n3",
        'n2["later-0"]',
        "n3 --> n4",
        'n3["pages-0"]',
        "n4 --> n5",
        'n4["load-2"]',
        'n5[["below-0"]]',
        "n6 --> n7",
        'n6["known-0"]',
        'n7["load-3"]',
    ]
    assert not recorder.events


def test_an_asynchronous_flow(recorder: Recorder) -> None:
    graph = lines(asynchronous.generate_dot_graph(day=5))
    assert 'n2 [label="below-0", peripheries=2];' in graph
    assert graph[-3:] == ["n0 -> n1;", "n1 -> n2;", "}"]
    assert not recorder.events


def test_while_an_event_loop_runs(recorder: Recorder) -> None:
    @flow
    async def pages_of(day: int) -> Any:
        yield await later(day)

    async def graphs() -> list[str]:
        return [each.generate_mermaid_graph(5) for each in (asynchronous, plain, pages_of)]

    graphs_there = asyncio.run(graphs())
    assert graphs_there[:2] == [each.generate_mermaid_graph(5) for each in (asynchronous, plain)]
    assert lines(graphs_there[2]) == ['n0["later-0"]']
    assert not recorder.events


def test_what_cannot_be_drawn_is_said(recorder: Recorder) -> None:
    @flow
    def looks() -> None:
        if load(1)[0]:
            load(2)

    with pytest.raises(VisualizationError, match=r"'load-0'.*viz_return_value"):
        looks.generate_mermaid_graph()
    with pytest.raises(ParameterError, match="'day'"):
        plain.generate_mermaid_graph("many")


def test_drawing_by_graphviz(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VisualizationError, match=r"not installed.*generate_mermaid_graph"):
        plain.visualize(5)
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\n/bin/cat > "$3"\n')
    program.chmod(0o755)
    file = plain.visualize(5)
    assert file.name == "plain.svg"
    assert file.read_text() == plain.generate_dot_graph(5)
    program.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    with pytest.raises(VisualizationError, match="no"):
        plain.visualize(5)
    assert os.listdir(tmp_path)


def test_parameters_are_serialized_as_they_are_stored() -> None:
    class Model(pydantic.BaseModel):
        x: int

    plain_values = plain.serialize_parameters({"day": Model(x=1), "other": print})
    assert plain_values["day"] == {"x": 1}
    assert "$unserializable" in plain_values["other"]
