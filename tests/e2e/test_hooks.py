"""Hooks of flows and tasks, sync and async, as a real service sees their effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import run_queries as queries
from tests.support.reported_program import Told, told

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc
    from tests.support.flow_processes import FlowProcess

PROGRAM = """
    import asyncio, logging, os, signal, time
    from contextlib import suppress
    from flowspan import flow, get_run_logger, runtime, task
    from flowspan import get_client
    from flowspan.exceptions import CancelRun, ObjectNotFound
    from flowspan.states import Cancelled, Completed, Crashed, Failed

    def note(definition, run, state):
        which = "task" if runtime.task_run.id else "flow"
        assert str(run.id) == (runtime.task_run.id or runtime.flow_run.id)
        log = get_run_logger().info
        log("%s of %s: %s, attempt %s", which, definition.name, state.name, run.run_count)

    async def note_later(definition, run, state):
        await asyncio.sleep(0)
        note(definition, run, state)

    FOR_FLOWS = ("on_running", "on_completion", "on_failure", "on_cancellation", "on_crashed")
    FOR_TASKS = FOR_FLOWS[:3]

    def call(it, *args, **kwargs):
        with suppress(Exception, CancelRun, SystemExit):
            outcome = it(*args, **kwargs)
            return asyncio.run(outcome) if asyncio.iscoroutine(outcome) else outcome

    def made(kind, name, body, **options):
        for suffix, hook in (("plain", note), ("async", note_later)):
            hooks = {option: [hook] for option in (FOR_FLOWS if kind is flow else FOR_TASKS)}
            if suffix == "plain":
                def function():
                    return body()
            else:
                async def function():
                    await asyncio.sleep(0)
                    value = body()
                    await asyncio.sleep(60 if name.startswith("interrupted") else 0)
                    return value
            it = kind(name=f"{name}-{suffix}", **{**hooks, **options})(function)
            yield it

    def raising(error):
        def body():
            raise error
        return body

    # Ends of runs, and their hooks.
    endings = {
        "completed": lambda: 5,
        "named": lambda: Completed(name="Skipped"),
        "failed": raising(ValueError("no")),
        "returned": lambda: Failed(message="no"),
        "cancelled": raising(CancelRun("by itself")),
        "exited": raising(SystemExit(3)),
        "interrupted": lambda: os.kill(os.getpid(), signal.SIGINT),
    }
    for name, body in endings.items():
        for it in (*made(flow, f"{name}-flow", body), *made(task, f"{name}-task", body)):
            try:
                call(it)
            except KeyboardInterrupt:
                print(f"{it.name}: KeyboardInterrupt")

    # Retries.
    for kind in (flow, task):
        for it in made(kind, f"retried-{kind.__name__}", raising(ValueError()), retries=2):
            call(it)

    # A hook that raises.
    def breaks(*_):
        raise RuntimeError("the hook is broken")

    async def breaks_later(*_):
        raise RuntimeError("the hook is broken")

    for kind in (flow, task):
        for it in made(kind, f"broken-{kind.__name__}", lambda: 5):
            for option in FOR_TASKS:
                getattr(it, option)(breaks)
                getattr(it, option)()(breaks_later)
                getattr(it, option)(note)
            print(f"{it.name}: {call(it)}")

    # Runs that never started.
    for suffix in ("plain", "async"):
        def wrong(n: int):
            return n

        async def wrong_later(n: int):
            return n

        function = wrong if suffix == "plain" else wrong_later
        hooks = {option: [note] for option in FOR_FLOWS}
        call(flow(name=f"wrong-flow-{suffix}", **hooks)(function), "x")
        hooks = {option: [note] for option in FOR_TASKS}
        call(task(name=f"wrong-task-{suffix}", task_run_name="{nobody}", **hooks)(function), 5)

    # Submitted and mapped tasks.
    @task(on_completion=[note, note_later])
    def mapped(n):
        return n

    @task(on_completion=[note, note_later])
    async def mapped_later(n):
        return n

    @flow
    def maps():
        mapped.map(range(2))
        mapped_later.map(range(2))

    maps()

    # Hooks that call tasks and flows.
    @task
    def clean_up():
        pass

    @flow
    def tell():
        clean_up()

    def calls(*_):
        clean_up()
        clean_up.submit()
        tell()

    for it in made(flow, "calling", lambda: 5, on_completion=[calls]):
        call(it)

    # The service's data while a hook runs, and the effects when the call returns.
    seen = []

    def asks(definition, run, state):
        with get_client(sync_client=True) as client:
            while not seen or seen[-1] != run.id:
                with suppress(ObjectNotFound):
                    if client.read_flow_run(run.id).state.is_completed():
                        seen.append(run.id)

    async def asks_later(definition, run, state):
        await asyncio.to_thread(asks, definition, run, state)

    async def nothing():
        pass

    call(flow(name="asking-plain", on_completion=[asks])(lambda: 5))
    call(flow(name="asking-async", on_completion=[asks_later])(nothing))
    print("seen:", len(seen))

    # Copies.
    @task(name="original", on_completion=[note])
    def original():
        pass

    @original.on_running
    def begins(*_):
        get_run_logger().info("begins")

    original.with_options(name="copy")()
    original.with_options(name="replaced", on_completion=[begins], on_running=[])()

    # Ctrl-C in a hook.
    def interrupts(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    after = lambda *_: get_run_logger().info("after")
    done = task(name="done", on_completion=[interrupts, after])(lambda: 5)
    begun = task(name="begun", on_running=[interrupts, after])(lambda: get_run_logger().info("ran"))

    @flow(name="around-done", on_crashed=[note])
    def around_done():
        done()

    @flow(name="around-begun", on_crashed=[note])
    def around_begun():
        begun()

    for it in (around_done, around_begun):
        try:
            it()
        except KeyboardInterrupt:
            print(f"{it.name}: KeyboardInterrupt")

    # Cancelled from outside.
    def waits():
        while True:
            time.sleep(0.005)
            clean_up_nothing()

    @task
    def clean_up_nothing():
        pass

    @task
    async def waits_later():
        await asyncio.sleep(600)

    cleaning = [lambda *_: clean_up()]
    call(flow(name="stopped-plain", on_cancellation=[note, *cleaning])(waits))

    async def stopped():
        await waits_later()

    call(flow(name="stopped-async", on_cancellation=[note_later, *cleaning])(stopped))
"""


def cancel_some(channel: grpc.Channel, process: FlowProcess) -> None:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="by the test")
    for name in ("stopped-plain", "stopped-async"):

        def running(name: str = name) -> str:
            assert process.process.poll() is None, process.errors
            runs = [run for run in queries.flow_runs(channel) if run.flow_name == name]
            return runs[0].id if runs and runs[0].state.name == "Running" else ""

        run_id = queries.wait_until(running, name)
        stub.SetFlowRunState(flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("hooks")
    with told(PROGRAM, folder=folder, meanwhile=cancel_some) as program:
        yield program


KINDS = pytest.mark.parametrize("kind", ["plain", "async"])
RUN_LOGGERS = {"flow": "flowspan.flow_runs", "task": "flowspan.task_runs"}


def hooks_of(program: Told, what: str, name: str) -> list[str]:
    """Return the messages that a run's hooks logged, in order."""
    run = program.flow(name) if what == "flow" else program.task(name)
    start = f"{what} of {name}: "
    return [text.removeprefix(start) for text in program.logs(run) if text.startswith(start)]


@KINDS
@pytest.mark.parametrize(
    ("ending", "states"),
    [
        ("completed", ["Running, attempt 1", "Completed, attempt 1"]),
        ("named", ["Running, attempt 1", "Skipped, attempt 1"]),
        ("failed", ["Running, attempt 1", "Failed, attempt 1"]),
        ("returned", ["Running, attempt 1", "Failed, attempt 1"]),
        ("cancelled", ["Running, attempt 1", "Cancelled, attempt 1"]),
        ("exited", ["Running, attempt 1", "Crashed, attempt 1"]),
        ("wrong", ["Failed, attempt 1"]),
        (
            "retried",
            [
                "Running, attempt 1",
                "Retrying, attempt 2",
                "Retrying, attempt 3",
                "Failed, attempt 3",
            ],
        ),
    ],
)
def test_each_ending_has_its_hooks(
    program: Told, ending: str, states: list[str], kind: str
) -> None:
    flow, task = f"{ending}-flow-{kind}", f"{ending}-task-{kind}"
    assert hooks_of(program, "flow", flow) == states
    assert program.flow(flow).state.name == states[-1].partition(",")[0]
    of_tasks = [state for state in states if not state.startswith(("Cancelled", "Crashed"))]
    assert hooks_of(program, "task", task) == of_tasks
    assert program.task(task).state.name == states[-1].partition(",")[0]


@KINDS
def test_ctrl_c_calls_the_hooks_of_crashes(program: Told, kind: str) -> None:
    """Also where asyncio.run handles it by cancelling the flow."""
    states = ["Running, attempt 1", "Crashed, attempt 1"]
    assert hooks_of(program, "flow", f"interrupted-flow-{kind}") == states
    assert "keyboard" in program.flow(f"interrupted-flow-{kind}").state.message
    assert hooks_of(program, "task", f"interrupted-task-{kind}") == states[:1]
    assert program.printed(f"interrupted-flow-{kind}") == "KeyboardInterrupt"


@KINDS
@pytest.mark.parametrize("what", ["flow", "task"])
def test_a_broken_hook_is_logged_and_changes_nothing(program: Told, what: str, kind: str) -> None:
    name = f"broken-{what}-{kind}"
    run = program.flow(name) if what == "flow" else program.task(name)
    assert program.printed(name) == "5"
    assert program.history(run) == ["Running", "Completed"]
    # The hooks before and after the broken ones.
    assert [text.partition(",")[0] for text in hooks_of(program, what, name)] == [
        "Running",
        "Running",
        "Completed",
        "Completed",
    ]
    errors = [text for text in program.logs(run) if "the hook is broken" in text]
    assert [text.partition("\n")[0] for text in errors] == [
        f"The {option} hook {hook!r} raised:"
        for option in ("on_running", "on_completion")
        for hook in ("breaks", "breaks_later")
    ]


def test_submitted_and_mapped_tasks_have_hooks(program: Told) -> None:
    for name in ("mapped", "mapped_later"):
        runs = [run for run in program.tasks if run.task_name == name]
        assert len(runs) == 2
        for run in runs:
            hooks = [text for text in program.logs(run) if text.startswith("task of")]
            assert hooks == [f"task of {name}: Completed, attempt 1"] * 2


@KINDS
def test_what_hooks_call_are_children_of_the_run(program: Told, kind: str) -> None:
    run = program.flow(f"calling-{kind}")
    children = program.children(run)
    assert [child.state.name for child in children] == ["Completed"] * 3
    assert sorted(hasattr(child, "flow_name") for child in children) == [False, False, True]


def test_the_end_is_reported_before_its_hooks_and_the_call_returns_after(program: Told) -> None:
    assert program.printed("seen") == "2"


def test_copies_keep_or_replace_hooks(program: Told) -> None:
    copy, replaced = program.task("copy"), program.task("replaced")
    assert program.logs(copy) == ["begins", "task of copy: Completed, attempt 1"]
    assert program.logs(replaced) == ["begins"]


def test_ctrl_c_in_a_hook_of_the_end_goes_on_to_the_caller(program: Told) -> None:
    assert program.printed("around-done") == "KeyboardInterrupt"
    done, around = program.task("done"), program.flow("around-done")
    assert program.history(done) == ["Running", "Completed"]
    assert program.logs(done) == []
    assert program.history(around) == ["Running", "Crashed"]
    assert hooks_of(program, "flow", "around-done") == ["Crashed, attempt 1"]


def test_ctrl_c_in_a_hook_of_running_breaks_the_run_off(program: Told) -> None:
    assert program.printed("around-begun") == "KeyboardInterrupt"
    begun = program.task("begun")
    assert program.history(begun) == ["Running", "Crashed"]
    assert "ran" not in program.logs(begun)
    assert program.history(program.flow("around-begun")) == ["Running", "Crashed"]


@KINDS
def test_a_run_that_is_cancelled_from_outside_cleans_up(program: Told, kind: str) -> None:
    name = f"stopped-{kind}"
    run = program.flow(name)
    assert program.history(run) == ["Running", "Cancelling", "Cancelled"]
    assert hooks_of(program, "flow", name) == ["Cancelled, attempt 1"]
    (cleaned,) = [each for each in program.children(run) if each.task_name == "clean_up"]
    assert cleaned.state.name == "Completed"
