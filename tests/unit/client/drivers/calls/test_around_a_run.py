"""`flowspan.runtime`, `flowspan.context`, and errors under their Prefect names."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from flowspan import exceptions, flow, runtime, tags, task
from flowspan.context import (
    EngineContext,
    FlowRunContext,
    TagsContext,
    TaskRunContext,
    get_run_context,
)
from flowspan.exceptions import ConfigError, MissingContextError
from flowspan.states import (
    Cancelled,
    Crashed,
    Failed,
    Running,
    State,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.recorder import Recorder

    from flowspan.core.run import Run


def test_runtime_facts(recorder: Recorder) -> None:
    @task(tags=["t"], retries=1)
    def inner() -> dict[str, Any]:
        if runtime.task_run.run_count == 1:
            raise ValueError
        return {
            "task": (runtime.task_run.name, runtime.task_run.task_name, runtime.task_run.tags),
            "flow": (runtime.flow_run.flow_name, runtime.flow_run.parameters),
            "ids": (runtime.task_run.id, runtime.flow_run.id),
        }

    @flow(version="7")
    def middle(x: int) -> dict[str, Any]:
        assert runtime.flow_run.flow_version == "7"
        assert runtime.flow_run.parent_flow_run_id == recorder.run("outer").id
        assert runtime.flow_run.root_flow_run_id == recorder.run("outer").id
        assert runtime.flow_run.run_count == 1
        assert runtime.task_run.id is None
        return inner()

    @flow
    def outer() -> dict[str, Any]:
        assert runtime.flow_run.parent_flow_run_id is None
        return middle("3")  # type: ignore[arg-type]

    facts = outer()
    assert facts["task"] == ("inner-0", "inner", ["t"])
    assert facts["flow"] == ("middle", {"x": 3})
    assert facts["ids"] == (recorder.run("inner").id, recorder.run("middle").id)


def test_runtime_outside_of_runs() -> None:
    before = time.time()
    assert {name: getattr(runtime.flow_run, name) for name in dir(runtime.flow_run)} == {
        "api_url": None,
        "flow_name": None,
        "flow_version": None,
        "id": None,
        "job_variables": None,
        "name": None,
        "parameters": {},
        "parent_deployment_id": None,
        "parent_flow_run_id": None,
        "root_flow_run_id": None,
        "run_count": 0,
        "scheduled_start_time": ANY,
        "tags": [],
        "ui_url": None,
    }
    assert before <= runtime.flow_run.scheduled_start_time.timestamp() <= time.time()
    assert {name: getattr(runtime.task_run, name) for name in dir(runtime.task_run)} == {
        "api_url": None,
        "id": None,
        "name": None,
        "parameters": {},
        "run_count": 0,
        "tags": [],
        "task_name": None,
        "ui_url": None,
    }
    assert {name: getattr(runtime.deployment, name) for name in dir(runtime.deployment)} == {
        "flow_run_id": None,
        "id": None,
        "name": None,
        "parameters": {},
        "version": None,
    }
    for module in (runtime.flow_run, runtime.task_run, runtime.deployment):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = module.nonsense


def test_the_environment_overrides_runtime_facts(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (
        ("FLOW_RUN__NAME", "mine"),
        ("FLOW_RUN__RUN_COUNT", "3"),
        ("FLOW_RUN__TAGS", "a, b"),
        ("FLOW_RUN__PARAMETERS", '{"x": 1}'),
        ("FLOW_RUN__SCHEDULED_START_TIME", "2026-01-02T03:04:05"),
        ("TASK_RUN__TAGS", '["a,b"]'),
        ("DEPLOYMENT__NAME", "nightly"),
        ("DEPLOYMENT__SOMETHING", "new"),
    ):
        monkeypatch.setenv(f"FLOWSPAN__RUNTIME__{name}", text)

    @flow
    def inside() -> None:
        assert runtime.flow_run.name == "mine"
        assert runtime.flow_run.run_count == 3
        assert runtime.flow_run.tags == ["a", "b"]
        assert runtime.flow_run.parameters == {"x": 1}
        assert runtime.flow_run.scheduled_start_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert runtime.task_run.tags == ["a,b"]
        assert runtime.deployment.name == "nightly"
        assert runtime.deployment.something == "new"
        assert runtime.flow_run.flow_name in {None, "inside"}

    inside()
    inside.fn()
    monkeypatch.setenv("FLOWSPAN__RUNTIME__FLOW_RUN__PARAMETERS", "[1]")
    with pytest.raises(ConfigError, match=r"FLOW_RUN__PARAMETERS='.*expected a JSON object"):
        _ = runtime.flow_run.parameters
    monkeypatch.setenv("FLOWSPAN__RUNTIME__FLOW_RUN__RUN_COUNT", "three")
    with pytest.raises(ConfigError, match="RUN_COUNT"):
        _ = runtime.flow_run.run_count


def test_the_arguments_of_a_task_while_it_runs(recorder: Recorder) -> None:
    seen = []

    @task
    def plain(x: int, *rest: int, y: str = "z") -> None:
        seen.append(runtime.task_run.parameters)

    @task(timeout_seconds=10)
    def limited(x: int) -> None:
        seen.append(runtime.task_run.parameters)

    @task
    async def later(x: int) -> None:
        seen.append(runtime.task_run.parameters)

    @task(timeout_seconds=10)
    def values(x: int) -> Iterator[int]:
        seen.append(runtime.task_run.parameters)
        yield x

    @task
    async def values_later(x: int) -> AsyncIterator[int]:
        seen.append(runtime.task_run.parameters)
        yield x

    async def consume() -> None:
        async for _ in values_later(10):
            pass

    @flow
    def outer(day: str) -> None:
        plain(1, 2, 3)
        limited(x=4)
        plain.submit(plain.submit(5)).wait()
        asyncio.run(later(6))
        later.submit(7).wait()
        list(values(8))
        values.submit(9).wait()
        asyncio.run(consume())
        seen.append(runtime.task_run.parameters)

    outer("monday")
    assert seen == [
        {"x": 1, "rest": (2, 3), "y": "z"},
        {"x": 4},
        {"x": 5, "rest": (), "y": "z"},
        {"x": None, "rest": (), "y": "z"},
        {"x": 6},
        {"x": 7},
        {"x": 8},
        {"x": 9},
        {"x": 10},
        {},
    ]


def test_hooks_see_the_arguments_of_a_task(recorder: Recorder) -> None:
    seen = []

    @task(on_running=[lambda task, run, state: seen.append((state.name, run.parameters))])
    def step(x: int, y: int = 2) -> None: ...

    @step.on_completion
    async def ended(task: object, run: Run, state: State) -> None:
        seen.append((state.name, run.parameters))

    step(1)
    step.submit(3, y=4).wait()
    first, second = {"x": 1, "y": 2}, {"x": 3, "y": 4}
    assert seen == [
        ("Running", first),
        ("Completed", first),
        ("Running", second),
        ("Completed", second),
    ]


def test_a_future_keeps_no_argument_alive(recorder: Recorder) -> None:
    class Large:
        pass

    @task
    def takes(value: Large) -> None:
        assert runtime.task_run.parameters["value"] is value

    @flow
    def outer() -> None:
        value = Large()
        gone = weakref.ref(value)
        future = takes.submit(value)
        del value
        future.wait()
        gc.collect()
        assert gone() is None

    outer()


def test_the_run_context(recorder: Recorder) -> None:
    @task(tags=["io"])
    def step(x: int) -> None:
        context = get_run_context()
        assert isinstance(context, TaskRunContext)
        assert context == TaskRunContext.get()
        assert context.task is step
        assert str(context.task_run.id) == recorder.run("step").id
        assert (context.task_run.name, context.task_run.tags) == ("step-0", ["io", "a"])
        assert (context.task_run.run_count, context.parameters) == (1, {"x": 3})
        assert isinstance(context.task_run.state, State)
        assert FlowRunContext.get().flow is outer
        inner()

    @flow
    def inner() -> None:
        assert TaskRunContext.get() is None
        assert get_run_context().flow is inner

    @flow(log_prints=True)
    def outer(day: str) -> str:
        before = time.time()
        context = get_run_context()
        assert isinstance(context, FlowRunContext)
        assert context == EngineContext.get() != "something else"
        assert (context.flow, context.task_runner) == (outer, outer.task_runner)
        assert context.flow_run.name == recorder.run("outer").run_name
        assert (context.parameters, context.log_prints) == ({"day": "monday"}, True)
        assert context.start_time.timestamp() <= before
        assert len({context, FlowRunContext.get()}) == 1
        assert context.flow_run.name in repr(context)
        step(3)
        return str(context.flow_run.id)

    with tags("a"):
        assert TagsContext.get().current_tags == {"a"}
        assert outer("monday") == recorder.run("outer").id
    assert TagsContext.get().current_tags == set()


def test_there_is_no_run_context_outside_of_runs() -> None:
    assert (FlowRunContext.get(), TaskRunContext.get()) == (None, None)
    with pytest.raises(MissingContextError, match="outside of a flow or task run"):
        get_run_context()


def test_the_context_of_asynchronous_runs(recorder: Recorder) -> None:
    @task
    async def step(x: int) -> tuple[str, int]:
        await asyncio.sleep(0)
        context = get_run_context()
        return context.task.name, context.parameters["x"]

    @flow
    async def outer() -> list[tuple[str, int]]:
        found = await asyncio.gather(*(step(x) for x in range(3)))
        assert str(get_run_context().flow_run.id) == runtime.flow_run.id == recorder.run("outer").id
        return found

    assert asyncio.run(outer()) == [("step", 0), ("step", 1), ("step", 2)]


def test_errors_have_prefects_names_too(recorder: Recorder) -> None:
    with pytest.raises(exceptions.ReservedArgumentError, match="wait_for"):
        task(lambda wait_for: None, name="x")
    with pytest.raises(exceptions.UnfinishedRun):
        Running().result()
    with pytest.raises(exceptions.CrashedRun):
        Crashed().result()
    with pytest.raises(exceptions.FailedRun):
        Failed().result()
    with pytest.raises(exceptions.CancelledRun):
        Cancelled().result()

    @flow
    def typed(x: int) -> None: ...

    with pytest.raises(exceptions.ParameterTypeError):
        typed("no number")
    with pytest.raises(exceptions.ParameterBindError):
        typed()  # type: ignore[call-arg]
