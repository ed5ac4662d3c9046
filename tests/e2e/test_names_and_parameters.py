"""Run names, annotations, wrappers, options and numbers as they reach a real service.

One program makes all of the calls; the tests read the service's data.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.reported_program import Told, told

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
    from __future__ import annotations

    import asyncio, functools, inspect, os, sys, threading
    from contextlib import suppress
    from typing import TYPE_CHECKING, Protocol, TextIO

    from pydantic import BaseModel
    from flowspan import flow, get_run_logger, runtime, tags, task
    from flowspan.artifacts import create_markdown_artifact
    from flowspan.context import get_run_context
    from flowspan.task_runners import ProcessPoolTaskRunner
    from flowspan.variables import Variable

    if TYPE_CHECKING:
        from decimal import Decimal as Money

    # Names of runs.

    def named():
        context, flow_run, task_run = get_run_context(), runtime.flow_run, runtime.task_run
        assert str(context.run.id) == (task_run.id or flow_run.id)
        get_run_logger().info("naming %s", context.run.definition.name)
        own = task_run.parameters or flow_run.parameters
        return f"{own.get('x')} in {flow_run.flow_name} {sorted(flow_run.parameters)}"

    @task
    def load(x):
        return x

    @task(task_run_name=named)
    def plain(x):
        return x

    @task(task_run_name=named)
    async def later(x):
        return x

    @task(task_run_name=named)
    def nested(x):
        return plain.with_options(name="in-nested")(x + 1)

    @task(task_run_name="{x.real}+{x}")
    def templated(x):
        return x

    @flow(flow_run_name=named)
    def below(x):
        return x

    @flow(flow_run_name=named)
    async def below_later(x):
        return x

    def fill(runner):
        below(2), asyncio.run(below_later(3)), plain(4), asyncio.run(later(5)), nested(6)
        loaded = load.submit(7)
        plain.with_options(name="submitted").submit(8)
        plain.with_options(name="waits").submit(loaded)
        later.with_options(name="waits-later").submit(loaded)
        templated.submit(loaded)
        plain.with_options(name="mapped").map([9])

    @flow(flow_run_name=named)
    def top(x):
        fill(None)

    @flow(flow_run_name=named, task_runner=ProcessPoolTaskRunner(max_workers=2))
    def top_of_processes(x):
        plain.with_options(name="in-process").submit(1).wait()
        nested.with_options(name="nests-in-process").submit(load.submit(2)).wait()

    def looked_up():
        create_markdown_artifact("made for a name", key="for-a-name")
        return f"found {load.with_options(name='looks-up')(5)}"

    def no_name():
        raise LookupError("nobody knows")

    @flow(flow_run_name=looked_up)
    def looks_up_its_name():
        pass

    @flow(flow_run_name=no_name, retries=2)
    def nameless():
        print("called")

    @flow
    def has_nameless():
        task(name="nameless-task", task_run_name=no_name)(load.fn).submit(1, return_state=True)
        task(name="nameless-template", task_run_name="{x.missing}")(load.fn)(1, return_state=True)

    top(1)
    with tags("nightly"):
        top_of_processes(1)
    looks_up_its_name()
    with suppress(LookupError):
        nameless()
    has_nameless()

    # Annotations.

    class Reader(Protocol):
        def read(self) -> str: ...

    class Book:
        def read(self):
            return "book"

    def local_flow():
        class Local(BaseModel):
            n: int

        @flow
        def local(model: Local, models: list[Local]) -> int:
            return model.n + models[0].n

        return local

    @flow
    def unchecked(price: Money, reader: Reader, readers: list[Reader], file: TextIO, n: int):
        return file.read(), n

    assert local_flow()({"n": "1"}, [{"n": 2}]) == 3
    if sys.version_info < (3, 14):
        import pydantic.v1

        class Old(pydantic.v1.BaseModel):
            n: int

        @flow
        def old(model: Old, n: int):
            return model.n, n

        assert old(Old(n=1), "5") == (1, 5)
    for _ in range(2):
        with open(os.devnull) as file:
            assert unchecked(1, Book(), [Book()], file, "5") == ("", 5)

    # Wrappers.

    def noting(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return [list(args), kwargs]
        return wrapper

    @flow
    @noting
    def wrapped(a: int, b: int = 2, *rest: int, c: int = 3, **more: int): ...

    @flow
    @noting
    def wrapped_by_position(a: int, /, b: int = 2): ...

    assert wrapped(b="5", a="4", z="6") == [[], {"b": 5, "a": 4, "z": "6"}]
    assert wrapped_by_position("1") == [[1], {}]

    # The calls of a web framework.

    async def in_background(function, *args):
        if inspect.iscoroutinefunction(function):
            await function(*args)
        else:
            await asyncio.to_thread(function, *args)

    class Store:
        @flow(name="of-a-method")
        async def method(self, x: int): ...

        @task(name="task-of-a-method")
        async def do(self, x: int): ...

    async def served():
        for function in (
            flow(name="served")(load.fn),
            flow(name="served-later")(later.fn),
            task(name="served-task")(later.fn).with_options(retries=1),
            Store().method,
            Store().do,
        ):
            await in_background(function, 5)

    asyncio.run(served())

    # Options.

    @task(retries=None, retry_delay_seconds=None, timeout_seconds=None, tags=None)
    def my_task():
        pass

    @flow(retries=None, retry_delay_seconds=None, task_runner=None)
    def my_flow():
        my_task()
        for wrong in (
            lambda: my_task.submit(wait_fro=[]),
            lambda: my_task.with_options(retry=3),
            lambda: task(retry=3),
        ):
            try:
                wrong()
            except TypeError as error:
                print(f"refused: {error}")

    my_flow()

    # Numbers.

    def ends(x=1):
        return x

    async def ends_later(x=1):
        return x

    for number, seconds in enumerate((float("inf"), 1e10, 10**400)):
        runner = ProcessPoolTaskRunner(max_workers=1) if number < 2 else None

        @flow(name="in-time", timeout_seconds=seconds, task_runner=runner)
        def in_time():
            for function in (ends, ends_later):
                it = task(name="ends-in-time", timeout_seconds=seconds)(function)
                value = it()
                asyncio.run(value) if inspect.iscoroutine(value) else value
                it.submit().result(timeout=seconds)

        in_time()
        thread = threading.Thread(target=in_time)
        thread.start()
        thread.join()
        asyncio.run(flow(name="in-time", timeout_seconds=seconds)(ends_later)())

    # Drawing.

    @flow(name="drawn", flow_run_name=named, log_prints=True)
    def drawn(x: int):
        get_run_logger().info("drawing %s", runtime.flow_run.id)
        assert get_run_context().parameters == runtime.flow_run.parameters == {"x": 5}
        create_markdown_artifact("drawn", key="drawn")
        Variable.set("drawn", 1)
        return templated(asyncio.run(later(load(x))))

    graph = drawn.generate_mermaid_graph("5")
    assert {"n0 --> n1", "n1 --> n2"} <= {line.strip() for line in graph.splitlines()}
    print(f"drawn: {Variable.get('drawn')}")
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(PROGRAM, folder=tmp_path_factory.mktemp("calls")) as said:
        yield said


def test_flows_are_named_in_their_own_context(program: Told) -> None:
    names = {flow: program.flow(flow).name for flow in ("top", "below", "below-later")}
    assert names == {
        "top": "1 in top ['x']",
        "below": "2 in below ['x']",
        "below-later": "3 in below-later ['x']",
    }


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("nested", "6 in top ['x']"),
        ("later", "5 in top ['x']"),
        ("in-nested", None),
        ("submitted", "8 in top ['x']"),
        ("waits", "7 in top ['x']"),
        ("waits-later", "7 in top ['x']"),
        ("templated", "7+7"),
        ("mapped", "9 in top ['x']"),
        ("in-process", "1 in top-of-processes ['x']"),
        ("nests-in-process", "2 in top-of-processes ['x']"),
    ],
)
def test_tasks_are_named_in_their_own_context(program: Told, task: str, name: str | None) -> None:
    if name is not None:
        assert program.task(task).name == name
    else:  # One in a thread, one in a worker process.
        names = {run.name for run in program.tasks if run.task_name == task}
        assert names == {"7 in top ['x']", "3 in top-of-processes ['x']"}


def test_a_name_may_be_looked_up_by_a_task(program: Told) -> None:
    run = program.flow("looks-up-its-name")
    assert run.name == "found 5"
    assert [child.task_name for child in program.children(run)] == ["looks-up"]
    assert program.logs(program.flow("top"))[0] == "naming top"


def test_a_name_that_cannot_be_made_fails_the_run(program: Told) -> None:
    run = program.flow("nameless")
    assert program.history(run) == ["Failed"]
    assert run.state.message == "LookupError: nobody knows"
    assert "Raised by the flow_run_name function" in run.state.failure.stack_trace
    assert "called" not in program.output
    assert program.task("nameless-task").state.name == "Failed"
    template = program.task("nameless-template")
    assert "'{x.missing}' cannot be filled in" in template.state.message
    assert program.flow("has-nameless").state.name == "Completed"


def test_what_cannot_be_checked_is_said_once(program: Told) -> None:
    runs = [run for run in program.flows if run.flow_name == "unchecked"]
    said = [line for run in runs for line in program.logs(run) if "is not validated" in line]
    assert len(runs) == 2
    assert [line.partition(" is not validated")[0] for line in said] == [
        f"Flow 'unchecked': parameter {name!r}" for name in ("price", "reader", "readers", "file")
    ]
    for line, annotation in zip(said, ("Money", "Reader", "list[Reader]", "TextIO"), strict=True):
        assert f"its annotation {annotation} cannot be checked" in line
    assert {run.state.name for run in runs} == {"Completed"}
    assert json.loads(runs[0].parameters.data)["n"] == 5


def test_models_of_functions_and_of_pydantic_1(program: Told) -> None:
    local = program.flow("local")
    assert json.loads(local.parameters.data) == {"model": {"n": 1}, "models": [{"n": 2}]}
    assert not [line for line in program.logs(local) if "validated" in line]
    olds = [run for run in program.flows if run.flow_name == "old"]
    for run in olds:
        (said,) = [line for line in program.logs(run) if "is not validated" in line]
        assert "Old is a model of pydantic 1" in said


def test_the_parameters_of_wrapped_flows_are_stored_in_full(program: Told) -> None:
    stored = json.loads(program.flow("wrapped").parameters.data)
    assert stored == {"a": 4, "b": 5, "rest": [], "c": 3, "more": {"z": "6"}}
    assert json.loads(program.flow("wrapped-by-position").parameters.data) == {"a": 1, "b": 2}


def test_what_runs_in_the_background_runs(program: Told) -> None:
    for name in ("served", "served-later", "of-a-method"):
        assert program.flow(name).state.name == "Completed"
    for name in ("served-task", "task-of-a-method"):
        assert program.task(name).state.name == "Completed"


def test_options(program: Told) -> None:
    assert program.history(program.task("my_task")) == ["Running", "Completed"]
    assert program.history(program.flow("my-flow")) == ["Running", "Completed"]
    refused = [line for line in program.output.splitlines() if line.startswith("refused: ")]
    assert refused == [
        "refused: `submit` of task 'my_task' has no option 'wait_fro'; did you mean 'wait_for'?",
        "refused: `Task.with_options` has no option 'retry'; did you mean 'retries'?",
        "refused: `@task` has no option 'retry'; did you mean 'retries'?",
    ]


def test_deadlines_that_never_pass(program: Told) -> None:
    flows = [run.state.name for run in program.flows if run.flow_name == "in-time"]
    tasks = [run.state.name for run in program.tasks if run.task_name == "ends-in-time"]
    assert flows == ["Completed"] * 9
    assert tasks == ["Completed"] * 24


def test_drawing_leaves_no_trace(program: Told) -> None:
    assert not [run for run in program.flows if run.flow_name == "drawn"]
    assert program.printed("drawn") == "None"
