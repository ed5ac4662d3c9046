"""Drawing a flow calls its function, but none of its tasks and subflows, and reports nothing."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from flowspan import flow, get_run_logger, runtime, tags, task
from flowspan.artifacts import (
    acreate_markdown_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from flowspan.context import FlowRunContext, TagsContext, TaskRunContext, get_run_context
from flowspan.drivers import process
from flowspan.exceptions import NoRunError, ParameterError, VisualizationError
from flowspan.futures import as_completed, wait
from flowspan.transactions import atransaction, get_transaction, transaction
from flowspan.variables import Variable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.recorder import Recorder


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


@flow(name="asks", flow_run_name="{day}", log_prints=True)
def asks(day: int) -> Any:
    """Do things that need a run or have side effects, besides calls."""
    log = get_run_logger()
    log.warning("not to be seen")
    log.getChild("more").warning("not to be seen")
    get_run_logger(get_run_context()).warning("not to be seen")
    print("printed", runtime.flow_run.name)  # noqa: T201 - the subject of the test
    asked_of_the_run()
    progress = create_progress_artifact(5)
    update_progress_artifact(progress, 500)
    assert create_markdown_artifact("text", key="about").version
    assert Variable.set("drawn", [1], overwrite=True).value == [1]
    assert not Variable.unset("drawn")
    with tags("more"), transaction(key="drawn") as around:
        around.set("value", first := load(day))
        assert get_transaction() is around
        assert "more" in TagsContext.get().current_tags
    submitted = later.submit(first)
    assert wait([submitted]).done == {submitted}
    assert list(as_completed([submitted])) == [submitted]
    assert submitted.state.is_completed()
    assert load.submit(submitted, return_state=True).is_completed()
    after = later.submit(submitted.result()).result()
    assert known.submit().result() == [1, 2]
    return [load(each) for each in known.map([1, 2])], load(after)


@flow(name="asks-later")
async def asks_later(day: int) -> Any:
    get_run_logger().warning("not to be seen")
    asked_of_the_run()
    await acreate_markdown_artifact("text", key="about")
    assert (await Variable.set("drawn", 1)).value == 1
    assert (await Variable.aset("drawn", 1)).value == 1
    assert not await Variable.unset("drawn")
    async with atransaction(key="drawn"):
        first = await later(day)
    return load(await later.submit(first))


def asked_of_the_run() -> None:
    context = get_run_context()
    assert isinstance(context, FlowRunContext)
    assert context.parameters == runtime.flow_run.parameters == {"day": 5}
    assert str(context.flow_run.id) == runtime.flow_run.id == runtime.deployment.flow_run_id
    assert context.flow.name == runtime.flow_run.flow_name == runtime.flow_run.name
    assert runtime.flow_run.run_count == 1
    assert runtime.task_run.id is None
    assert TaskRunContext.get() is None


@pytest.mark.parametrize("in_loop", [False, True], ids=["plain", "while a loop runs"])
@pytest.mark.parametrize("it", [asks, asks_later], ids=["plain flow", "asynchronous flow"])
def test_what_needs_a_run_finds_one_and_has_no_effect(
    it: Any, in_loop: bool, flowspan_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a recorder: no reporter is created, and no service is started for variables."""

    async def drawn() -> str:
        return it.generate_mermaid_graph("5")

    graph = lines(asyncio.run(drawn()) if in_loop else it.generate_mermaid_graph("5"))
    assert {"n0 --> n1", "n1 --> n2"} <= set(graph)
    if it is asks:
        assert "n2 --> n3" not in graph, "the state was not passed on"
        assert "n1 --> n3" in graph, "the future must stand for the task's result"
    assert not caplog.records
    assert process._process is None
    assert not flowspan_home.exists()
    assert FlowRunContext.get() is None


def test_a_flow_is_drawn_in_a_run_without_a_trace(recorder: Recorder) -> None:
    @flow(name="outer", log_prints=True)
    def outer() -> str:
        return asks.generate_mermaid_graph(5)

    assert "load-0" in outer()
    assert [run.function_name for run in recorder.runs] == ["outer"]
    assert not [line for line in recorder.logs() if "seen" in line]


def test_outside_of_drawing_there_is_no_run() -> None:
    asks.generate_mermaid_graph(5)
    with pytest.raises(NoRunError):
        get_run_logger()
    with pytest.raises(NoRunError):
        get_run_context()
    assert runtime.flow_run.id is None


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
