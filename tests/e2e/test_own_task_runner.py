"""A task runner written outside of flowspan, against its public names alone."""

from __future__ import annotations

import ast
import asyncio
import threading
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowspan import flow, get_run_logger, task, unmapped
from flowspan.context import get_run_context
from flowspan.exceptions import CancelRun, RunTimeout
from flowspan.states import Cancelling, State
from flowspan.task_runners import (
    Cancellable,
    RunningTaskRunner,
    RunsCoroutines,
    SubmittedTask,
    TaskRunner,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from flowspan.testing import Harness

WAIT_S = 60.0


class ExecutorTaskRunner:
    """Runs submitted tasks on the threads of an executor."""

    def __init__(self, max_workers: int = 4) -> None:
        self.max_workers = max_workers
        self.opened: list[Any] = []

    def open(self, name: str) -> RunningTaskRunner:
        self.opened.append(self.running(name))
        return self.opened[-1]  # type: ignore[no-any-return] # a list of Any

    def running(self, name: str) -> RunningTaskRunner:
        return OnExecutor(ThreadPoolExecutor(self.max_workers, thread_name_prefix=f"mine-{name}"))


class OnExecutor:
    """The runner of one flow run: all that flowspan needs."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.closed = 0

    def start(self, call: Callable[[], None]) -> None:
        self.executor.submit(call)

    def close(self) -> None:
        self.closed += 1
        self.executor.shutdown(wait=False)


class WithCoroutines(OnExecutor):
    """The same, which also runs asynchronous tasks: each on a loop of its own."""

    def start_async(
        self,
        call: Callable[[], Coroutine[Any, Any, None]],
        context: Context,
        at_end: Callable[[], None],
    ) -> None:
        future = self.executor.submit(lambda: context.run(asyncio.run, call()))
        future.add_done_callback(lambda _: at_end())


class CoroutineTaskRunner(ExecutorTaskRunner):
    def running(self, name: str) -> RunningTaskRunner:
        return WithCoroutines(ThreadPoolExecutor(self.max_workers, f"mine-{name}"))


class RemoteTaskRunner(ExecutorTaskRunner):
    """Calls the functions elsewhere: here, on another thread."""

    def running(self, name: str) -> RunningTaskRunner:
        return Remote(ThreadPoolExecutor(self.max_workers), ThreadPoolExecutor(2, "far-away"))


class Remote(OnExecutor):
    def __init__(self, executor: Executor, cluster: Executor) -> None:
        super().__init__(executor)
        self.cluster = cluster

    def function_for(self, task: SubmittedTask) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            get_run_logger().info("calls %s", task.name)
            future = self.cluster.submit(task.fn, *args, **kwargs)
            return asyncio.run(future.result()) if task.is_async else future.result()

        return call

    def close(self) -> None:
        super().close()
        self.cluster.shutdown(wait=False)


@pytest.fixture(params=[ExecutorTaskRunner, CoroutineTaskRunner])
def runner(request: pytest.FixtureRequest) -> Any:
    return request.param()


def check_closed(runner: ExecutorTaskRunner, count: int) -> None:
    """Each flow run (and each retry of one) opened the runner once, and has closed it."""
    assert [running.closed for running in runner.opened] == [1] * count


setting: ContextVar[str] = ContextVar("setting", default="")


@task
def double(x: int) -> int:
    assert threading.current_thread().name.startswith("mine-"), "on the runner's thread"
    return 2 * x


@task
async def double_later(x: int) -> tuple[int, str]:
    await asyncio.sleep(0)
    return 2 * x, setting.get()


def test_the_program_uses_public_names_alone() -> None:
    names = set()
    for node in ast.walk(ast.parse(Path(__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flowspan"):
            names.add(node.module)
    assert names <= {
        *("flowspan", "flowspan.context", "flowspan.exceptions", "flowspan.states"),
        *("flowspan.task_runners", "flowspan.testing"),
    }


def test_it_has_the_types_of_the_protocol(runner: ExecutorTaskRunner) -> None:
    option: TaskRunner = runner
    running = option.open("flow")
    assert isinstance(running, RunningTaskRunner)
    assert isinstance(running, RunsCoroutines) == (type(runner) is CoroutineTaskRunner)
    assert not isinstance(running, Cancellable)
    running.close()


def test_submit_map_and_wait_for(runner: ExecutorTaskRunner, flowspan_harness: Harness) -> None:
    order: list[str] = []

    @task
    def note(name: str) -> str:
        time.sleep(0.05 if name == "first" else 0)
        order.append(name)
        return name

    @task
    def add(a: int, b: int) -> int:
        return a + b

    @flow(task_runner=runner)
    def outer() -> tuple[list[int], str]:
        first = note.submit("first")
        second = note.submit("second", wait_for=[first])
        doubled = double.map(range(20))
        return add.map(doubled, unmapped(double.submit(1))).result(), second.result()

    assert outer() == ([2 * n + 2 for n in range(20)], "second")
    assert order == ["first", "second"]
    check_closed(runner, 1)
    runs = flowspan_harness.task_runs
    assert len(runs) == 43
    assert all(run.states == ["Pending", "Running", "Completed"] for run in runs)


def test_asynchronous_tasks(runner: ExecutorTaskRunner, flowspan_harness: Harness) -> None:
    @flow(task_runner=runner)
    def plain() -> list[tuple[int, str]]:
        setting.set("passed on")
        return double_later.map([1, 2, 3]).result()

    @flow(task_runner=runner)
    async def later() -> Any:
        return await double_later.submit(await asyncio.to_thread(double.submit(1).result))

    assert copy_context().run(plain) == [(2, "passed on"), (4, "passed on"), (6, "passed on")]
    assert asyncio.run(later()) == (4, "")
    check_closed(runner, 2)


def test_retries_and_failures(runner: ExecutorTaskRunner, flowspan_harness: Harness) -> None:
    @task(retries=2)
    def flaky() -> int:
        attempt = get_run_context().task_run.run_count
        if attempt < 3:
            raise ConnectionError(attempt)
        return attempt

    @task
    def fails() -> None:
        raise ValueError("wrong")

    @task(timeout_seconds=0.1)
    def slow() -> None:
        while True:
            time.sleep(0.01)

    @flow(task_runner=runner, retries=1)
    def outer() -> int:
        futures = [flaky.submit(), fails.submit(), double.submit(fails.submit()), slow.submit()]
        assert futures[0].result() == 3
        with pytest.raises(ValueError, match="wrong"):
            futures[1].result()
        futures[2].wait()
        assert futures[2].state.name == "NotReady"
        with pytest.raises(RunTimeout):
            futures[3].result()
        if get_run_context().flow_run.run_count == 1:
            raise ConnectionError("the flow")
        return 1

    assert outer() == 1
    check_closed(runner, 2)


def test_nested_flows_and_tasks_in_a_full_pool(flowspan_harness: Harness) -> None:
    """A task that waits for one it submitted runs that itself: a bounded pool does not deadlock."""
    runner, inner_runner = ExecutorTaskRunner(max_workers=1), ExecutorTaskRunner(max_workers=1)

    @flow(task_runner=inner_runner)
    def inner(x: int) -> int:
        return double.submit(x).result()

    @task
    def nests(x: int) -> int:
        return double.submit(inner(x)).result()

    @flow(task_runner=runner)
    def outer() -> list[int]:
        return nests.map([1, 2]).result()

    assert outer() == [4, 8]
    check_closed(runner, 1)
    check_closed(inner_runner, 2)


def test_cancelling(runner: ExecutorTaskRunner, flowspan_harness: Harness) -> None:
    is_running = threading.Event()

    @task
    def waits() -> None:
        is_running.set()
        while True:
            time.sleep(0.01)
            double(1)

    @task
    async def waits_later() -> None:
        is_running.set()
        await asyncio.sleep(WAIT_S)

    double_anywhere = task(lambda x: 2 * x, name="double")

    @flow(task_runner=runner)
    def outer() -> int:
        for each in (waits, waits_later):
            is_running.clear()
            future = each.submit()
            assert is_running.wait(WAIT_S)
            never = double_anywhere.submit(future)
            assert never.cancel()
            assert future.cancel()
            for cancelled in (future, never):
                with pytest.raises(CancelRun):
                    cancelled.result(timeout=WAIT_S)
        return double_anywhere.submit(1).result()

    assert outer() == 2
    check_closed(runner, 1)
    names = [run.state.name for run in flowspan_harness.task_runs_of("waits")]
    assert names == ["Cancelled"]


def test_the_service_cancels_a_flow(runner: ExecutorTaskRunner, flowspan_harness: Harness) -> None:
    run_ids: list[Any] = []
    is_running = threading.Event()

    @task
    def waits() -> None:
        is_running.set()
        while True:
            time.sleep(0.01)
            get_run_context()
            nothing()

    @task
    def nothing() -> None: ...

    @flow(task_runner=runner)
    def outer() -> None:
        run_ids.append(get_run_context().flow_run.id)
        waits.submit()
        waits.submit().result()

    def cancel() -> None:
        is_running.wait(WAIT_S)
        flowspan_harness.client.set_flow_run_state(run_ids[0], Cancelling())

    canceller = threading.Thread(target=cancel)
    canceller.start()
    state: Any = outer(return_state=True)
    canceller.join()
    assert state.name == "Cancelled"
    check_closed(runner, 1)


def test_a_runner_can_call_functions_elsewhere(flowspan_harness: Harness) -> None:
    runner = RemoteTaskRunner()
    threads: list[str] = []

    @task(retries=1)
    def where(x: int) -> int:
        threads.append(threading.current_thread().name)
        if len(threads) == 1:
            raise ConnectionError("once")
        return x

    @task
    async def soon(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @flow(task_runner=runner)
    def outer() -> int:
        return soon.submit(where.submit(3)).result()

    assert outer() == 3
    assert len(threads) == 2
    assert all(name.startswith("far-away") for name in threads)
    assert "calls where" in flowspan_harness.task_runs_of("where")[0].logs
    check_closed(runner, 1)


def test_a_runner_that_refuses_a_call_fails_its_run(flowspan_harness: Harness) -> None:
    class Refuses(OnExecutor):
        def start(self, call: Callable[[], None]) -> None:
            raise ConnectionError("the cluster is gone")

    class Runner(ExecutorTaskRunner):
        def running(self, name: str) -> RunningTaskRunner:
            return Refuses(ThreadPoolExecutor())

    runner = Runner()

    @flow(task_runner=runner)
    def outer() -> Any:
        return double.submit(1)

    state: Any = outer(return_state=True)
    assert isinstance(state, State)
    assert state.is_failed()
    assert "the cluster is gone" in flowspan_harness.task_run("double").state.message
    check_closed(runner, 1)


@pytest.mark.parametrize("bad", [3, "threads", object(), lambda: None])
def test_an_option_that_is_no_task_runner(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"task_runner must be a task runner .* open\(name\)"):
        flow(task_runner=bad)(double.fn)


def test_a_runner_that_opens_something_else(flowspan_harness: Harness) -> None:
    class Bad:
        def open(self, name: str) -> Any:
            return ThreadPoolExecutor(1, name)

    @flow(task_runner=Bad())
    def outer() -> None:
        double.submit(1)

    with pytest.raises(TypeError, match=r"Bad\.open\(\) must return a running .*ThreadPoolExec"):
        outer()


def test_the_example_of_the_docs_works(flowspan_harness: Harness) -> None:
    page = Path(__file__).resolve().parents[2] / "docs/flows-and-tasks.md"
    _, _, section = page.read_text().partition("## Write your own task runner")
    names: dict[str, Any] = {"flow": flow}
    exec(section.partition("```python")[2].partition("```")[0], names)  # noqa: S102 - our own page

    @task
    def triple(x: int) -> int:
        return 3 * x

    @flow(task_runner=names["ExecutorTaskRunner"]())
    def outer() -> list[int]:
        return triple.map(range(3)).result()

    assert outer() == [0, 3, 6]
