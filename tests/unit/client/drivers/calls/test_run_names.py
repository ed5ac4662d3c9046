"""Run names: generated in the run's own context, reported with the run, and never fatal."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, get_run_logger, runtime, tags, task
from flowspan.artifacts import create_markdown_artifact
from flowspan.context import TagsContext, get_run_context
from flowspan.core.events import ARTIFACT, CREATED, LOG
from flowspan.exceptions import CancelRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Recorder

WAIT_S = 30.0


def told_here() -> str:
    """Return a name with everything that code can learn about its run."""
    context = get_run_context()
    run = runtime.task_run if context.run.definition.kind == "Task" else runtime.flow_run
    assert run.id == str(context.run.id)
    assert run.parameters == context.parameters
    said = [f"{key}={value}" for key, value in run.parameters.items()]
    of_flow = f"{runtime.flow_run.flow_name}:{sorted(runtime.flow_run.parameters)}"
    return "|".join([*said, of_flow, *sorted(run.tags), *sorted(TagsContext.get().current_tags)])


def function_of(kind: str) -> Callable[..., Any]:
    def plain(x: int) -> int:
        return x

    async def later(x: int) -> int:
        return x

    def values(x: int) -> Any:
        yield x

    async def later_values(x: int) -> Any:
        yield x

    return {"plain": plain, "async": later, "generator": values, "async generator": later_values}[
        kind
    ]


def ended(value: Any) -> Any:
    async def gone_through() -> list[Any]:
        return [each async for each in value]

    if hasattr(value, "__aiter__"):
        return asyncio.run(gone_through())
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    return list(value) if hasattr(value, "__next__") else value


KINDS = pytest.mark.parametrize("kind", ["plain", "async", "generator", "async generator"])


@KINDS
def test_a_flow_at_the_top_is_named_in_its_context(recorder: Recorder, kind: str) -> None:
    it = flow(name="it", flow_run_name=told_here)(function_of(kind))
    with tags("t"):
        ended(it("5"))
    assert recorder.run("it").run_name == "x=5|it:['x']|t|t", "its validated parameters"


@KINDS
def test_a_subflow_is_not_named_in_its_callers_context(recorder: Recorder, kind: str) -> None:
    it = flow(name="it", flow_run_name=told_here)(function_of(kind))

    @flow
    def outer(y: int) -> None:
        ended(it(7))

    outer(1)
    assert recorder.run("it").run_name == "x=7|it:['x']"


@KINDS
@pytest.mark.parametrize("way", ["called", "submitted", "mapped", "top"])
def test_a_task_is_named_in_its_context(recorder: Recorder, kind: str, way: str) -> None:
    it = task(name="it", task_run_name=told_here, tags=["own"])(function_of(kind))

    def begin() -> None:
        if way in {"called", "top"}:
            ended(it(7))
        elif way == "submitted":
            it.submit(7).wait()
        else:
            it.map([7]).wait()

    if way == "top":
        begin()
    else:
        flow(name="outer")(begin)()
    of_flow = "None:[]" if way == "top" else "outer:[]"
    assert recorder.run("it").run_name == f"x=7|{of_flow}|own"


def test_a_nested_task_is_not_named_in_its_callers_context(recorder: Recorder) -> None:
    inner = task(name="inner", task_run_name=told_here)(lambda x: x)

    @task
    def middle(y: int) -> None:
        inner(2)
        inner.submit(3).wait()

    @flow
    def outer(z: int) -> None:
        middle(1)

    outer(0)
    names = [run.run_name for run in recorder.runs if run.function_name == "inner"]
    assert names == ["x=2|outer:['z']", "x=3|outer:['z']"]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_the_results_that_a_run_waits_for_are_in_its_name(
    recorder: Recorder, is_async: bool
) -> None:
    gate = threading.Event()

    @task
    def load() -> int:
        assert gate.wait(WAIT_S)
        return 7

    by_template = task(name="by_template", task_run_name="{x}-{more[0]}")(lambda x, more=(None,): x)
    by_function = task(name="by_function", task_run_name=told_here)(
        function_of("async" if is_async else "plain")
    )

    @flow
    def outer() -> None:
        loaded = load.submit()
        by_template.submit(loaded, more=[loaded])
        by_template.map([loaded, 8])
        by_function.submit(loaded)
        gate.set()

    outer()
    names = {run.run_name for run in recorder.runs}
    assert {"7-7", "7-None", "8-None", "x=7|outer:[]"} <= names


def test_a_run_whose_input_fails_has_its_default_name(recorder: Recorder) -> None:
    @task
    def fails() -> None:
        raise ValueError

    it = task(name="it", task_run_name=told_here)(lambda x: x)

    @flow
    def outer() -> None:
        failed = fails.submit()
        it.submit(failed, return_state=True)
        waits = it.submit(later.submit())
        assert waits.cancel()
        with pytest.raises(CancelRun):
            waits.result()
        gate.set()

    gate = threading.Event()
    later = task(name="later")(lambda: gate.wait(WAIT_S))
    outer()
    names = [run.run_name for run in recorder.runs if run.function_name == "it"]
    assert names == ["it-0", "it-1"]
    assert {recorder.end(run) for run in recorder.runs if run.function_name == "it"} == {
        ("CANCELLED", "NotReady"),
        ("CANCELLED", "Cancelled"),
    }


def test_what_is_done_for_a_name_is_reported_after_the_run(recorder: Recorder) -> None:
    @task
    def look_up(x: int) -> int:
        get_run_logger().info("in the task")
        return x + 1

    @flow
    def below(x: int) -> int:
        return look_up.submit(x).result()

    def name() -> str:
        get_run_logger().info("making a name")
        print("printed")  # noqa: T201 - the subject of the test
        create_markdown_artifact("about the name")
        return f"{look_up(1)}-{below(2)}"

    @flow(flow_run_name=name, log_prints=True)
    def outer() -> str | None:
        look_up(3)
        return runtime.flow_run.name

    assert outer() == "2-3"
    assert recorder.run("outer").run_name == "2-3"
    kinds = [event[0] for event in recorder.events]
    assert kinds[0] == CREATED
    assert {LOG, ARTIFACT} <= set(kinds)
    assert recorder.logs("outer")[:2] == ["making a name", "printed"]
    parents = {run.function_name: run.parent_run_id for run in recorder.runs}
    assert parents["below"] == recorder.run("outer").id


def raising() -> str:
    raise LookupError("no name")


async def asynchronous() -> str:
    return "never"


def call(way: str, it: Any) -> Any:
    """Return the state of a run that was started in one of the ways, within a flow unless "top"."""

    def begin() -> Any:
        if way == "submitted":
            return it.submit(1, return_state=True)
        if way == "mapped":
            return it.map([1], return_state=True)[0]
        value = it(1, return_state=True)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    found: list[Any] = []
    if way == "top":
        return begin()
    flow(name="outer")(lambda: found.append(begin()))()
    return found[0]


BAD_NAMES = {
    "raises": (raising, LookupError, "no name"),
    "no text": (lambda: 5, TypeError, "must return a string, not 5"),
    "coroutine": (asynchronous, TypeError, "synchronous function"),
    "unknown parameter": ("{y}", ValueError, r"'\{y\}' cannot be filled in .* parameters: x"),
    "no such attribute": ("{x.missing}", ValueError, "cannot be filled in"),
    "needs arguments": (lambda y: y, TypeError, "'y'"),
}


@KINDS
@pytest.mark.parametrize("way", ["flow", "subflow", "top", "called", "submitted", "mapped"])
@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_name_that_cannot_be_made_fails_the_run(
    recorder: Recorder, kind: str, way: str, name: Any
) -> None:
    template, error, words = name
    what: Any = flow if way.endswith("flow") else task
    option = f"{what.__name__}_run_name"
    it = what(name="it", retries=1, **{option: template})(function_of(kind))
    state = call("top" if way == "flow" else way, it)
    assert state.is_failed()
    with pytest.raises(error, match=words) as caught:
        state.result()
    if template is raising:
        assert option in " ".join(caught.value.__notes__)
    assert recorder.states("it") == [("Failed", 1)], "the function was not called"
    assert recorder.run("it").run_name


def test_a_property_that_raises_fails_the_run(recorder: Recorder) -> None:
    class Order:
        @property
        def number(self) -> int:
            raise ConnectionError("the database is away")

    it = task(name="it", task_run_name="{order.number}")(lambda order: order)
    with pytest.raises(ValueError, match="ConnectionError: the database is away"):
        it(Order())
    assert recorder.end("it") == ("FAILED", "Failed")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["flow", "task", "submitted"])
def test_what_stops_the_program_leaves_no_run_open(
    recorder: Recorder, way: str, stop: type[BaseException]
) -> None:
    def stops() -> str:
        raise stop

    @flow
    def outer() -> None:
        if way == "submitted":
            it.submit(1)
        it(1)

    what: Any = flow if way == "flow" else task
    it = what(name="it", **{f"{what.__name__}_run_name": stops})(function_of("plain"))
    with pytest.raises(stop):
        outer()
    assert recorder.end("it") == ("CRASHED", "Crashed")
    assert recorder.end("outer") == ("CRASHED", "Crashed")


@pytest.mark.parametrize("empty", ["", "  \n", lambda: ""], ids=["template", "blank", "function"])
def test_an_empty_name_leaves_the_default(recorder: Recorder, empty: Any) -> None:
    task(name="it", task_run_name=empty)(lambda: None)()
    flow(name="other", flow_run_name=empty)(lambda: None)()
    assert recorder.run("it").run_name.startswith("it-")
    assert recorder.run("other").run_name.count("-") == 1


def test_functions_that_take_the_parameters(recorder: Recorder) -> None:
    class Namer:
        def __call__(self, parameters: dict[str, Any]) -> str:
            return f"object {parameters['x']}"

        def method(self, *, parameters: dict[str, Any]) -> str:
            return f"method {parameters['x']}"

    def with_more(prefix: str, parameters: dict[str, Any]) -> str:
        return f"{prefix} {parameters['x']}"

    @functools.wraps(with_more)
    def wrapper(*args: Any, **kwargs: Any) -> str:
        return with_more("wrapped", *args, **kwargs)

    namers = (Namer(), Namer().method, functools.partial(with_more, "partial"), wrapper)
    for namer in namers:
        task(name="it", task_run_name=namer)(lambda x: x)(7)
    names = [run.run_name for run in recorder.runs]
    assert names == ["object 7", "method 7", "partial 7", "wrapped 7"]


def test_names_in_many_threads_at_once(recorder: Recorder) -> None:
    together = threading.Barrier(8)

    def name() -> str:
        together.wait(WAIT_S)
        get_run_logger().info("named")
        return f"run {runtime.flow_run.parameters['x']}"

    it = flow(name="it", flow_run_name=name)(lambda x: runtime.flow_run.name)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda x=x: found.append(it(x))) for x in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"run {x}" for x in range(8)]
    for run in recorder.runs:
        assert recorder.logs(run)[0] == "named"
