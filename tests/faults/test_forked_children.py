"""Runs in child processes that end without cleanup: completed runs are Completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code
from tests.support.run_queries import flow_history, flow_runs, logs, task_history, task_runs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

PROGRAM = """
    import asyncio, multiprocessing, os, time
    from flowspan import flow, get_run_logger, task
    from flowspan.artifacts import create_link_artifact

    @task
    def step(number):
        return number + 1

    @flow
    def child_flow(number):
        get_run_logger().info("in a child")
        return step(number)

    @flow
    async def child_async_flow(number):
        return step(number)

    @flow
    def child_generator(number):
        yield step(number)

    @flow
    def child_submitting(number):
        return step.submit(number).result()

    @task
    async def async_step(number):
        return number + 1

    @task
    def yielding_step(number):
        yield number + 1

    def ended(value):  # in a plain run, a call of an asynchronous one gives its value at once
        return asyncio.run(value) if asyncio.iscoroutine(value) else value

    def run(kind):
        # The outermost run in the child.
        if kind == "flow":
            assert child_flow(1) == 2
        elif kind == "async flow":
            assert ended(child_async_flow(1)) == 2
        elif kind == "generator flow":
            assert list(child_generator(1)) == [2]
        elif kind == "submitting flow":
            assert child_submitting(1) == 2
        elif kind == "failing flow":
            child_flow("x", return_state=True)
        elif kind == "task":
            assert step(1) == 2
        elif kind == "async task":
            assert ended(async_step(1)) == 2
        elif kind == "generator task":
            assert list(yielding_step(1)) == [2]
        elif kind == "artifact":
            create_link_artifact("https://example.com", key="from-a-child")

    def fork_and_run(kind):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                run(kind)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0

    def run_and_exit(kind):
        run(kind)
        os._exit(0)
"""

OUTSIDE = PROGRAM + "\n    fork_and_run({kind!r})\n"
AFTER = PROGRAM + "\n    step(0)\n    fork_and_run({kind!r})\n"
IN_A_FLOW = (
    PROGRAM
    + """
    @flow
    def outer():
        fork_and_run({kind!r})

    outer()
"""
)
IN_A_TASK = (
    PROGRAM
    + """
    @task
    def forks():
        fork_and_run({kind!r})

    @flow
    def outer():
        forks()

    outer()
"""
)
IN_A_SUBMITTED_TASK = IN_A_TASK.replace("        forks()\n", "        forks.submit().result()\n")
IN_AN_ASYNC_FLOW = (
    PROGRAM
    + """
    @flow(timeout_seconds=600)
    async def outer():
        # A thread without a running loop, unlike the one that the child would find here.
        await asyncio.to_thread(fork_and_run, {kind!r})

    asyncio.run(outer())
"""
)
IN_A_WORKER = (
    PROGRAM
    + """
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def forks():
        fork_and_run({kind!r})

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def outer():
        forks.submit().result()

    if __name__ == "__main__":
        outer()
"""
)
IN_A_GRANDCHILD = (
    PROGRAM
    + """
    @flow
    def middle():
        fork_and_run({kind!r})

    @flow
    def outer():
        pid = os.fork()
        if not pid:
            middle()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    outer()
"""
)
PLACES = {
    "outside of runs": OUTSIDE,
    "after a run": AFTER,
    "in a flow": IN_A_FLOW,
    "in a task": IN_A_TASK,
    "in a submitted task": IN_A_SUBMITTED_TASK,
    "in an asynchronous flow": IN_AN_ASYNC_FLOW,
    "in a worker process": IN_A_WORKER,
    "in a forked child's flow": IN_A_GRANDCHILD,
}
KINDS = (
    "flow",
    "async flow",
    "generator flow",
    "submitting flow",
    "failing flow",
    "task",
    "async task",
    "generator task",
)


def check(service: ServiceProcess, *, failed: tuple[str, ...] = ()) -> None:
    """Check that all runs have completed, except for the given functions."""
    runs = flow_runs(service.channel)
    tasks = task_runs(service.channel)
    assert runs or tasks
    for run in runs:
        expected = "Failed" if run.flow_name in failed else "Completed"
        assert flow_history(service.channel, run.id)[-1] == expected, run
    for run in tasks:
        expected = "Failed" if run.task_name in failed else "Completed"
        assert task_history(service.channel, run.id)[-1] == expected, run


@pytest.mark.parametrize("place", PLACES)
def test_a_flow_in_a_forked_child_that_exits_at_once_has_completed(
    place: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = PLACES[place].format(kind="flow")
    run_code(code, home=flowspan_home, address=service.address)
    check(service)
    assert "child-flow" in {run.flow_name for run in flow_runs(service.channel)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_in_a_forked_child_is_stored_at_its_end(
    kind: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = IN_A_TASK.format(kind=kind)
    run_code(code, home=flowspan_home, address=service.address)
    check(service, failed=("child-flow", "step") if kind == "failing flow" else ())
    names = {run.flow_name for run in flow_runs(service.channel)}
    names |= {run.task_name for run in task_runs(service.channel)}
    assert names > {"outer", "forks"}


def test_an_artifact_of_a_forked_child_is_stored(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = (
        IN_A_FLOW.format(kind="artifact")
        + """
    from flowspan import get_client
    with get_client(sync_client=True) as client:
        print(client.read_latest_artifact("from-a-child").type)
"""
    )
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.split() == ["link"]


@pytest.mark.parametrize("how", ["sys.exit(3)", "raise ValueError"])
def test_a_child_that_leaves_through_its_parents_runs_does_not_end_them(
    how: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = (
        PROGRAM
        + f"""
    import sys
    from flowspan import get_client, runtime

    @task
    def forks():
        with get_client(sync_client=True) as client:  # by now, the service has the runs
            client.read_task_run(runtime.task_run.id)
        pid = os.fork()
        if not pid:
            {how}
        os.waitpid(pid, 0)

    @flow
    def outer():
        forks()

    outer()
"""
    )
    run_code(code, home=flowspan_home, address=service.address)
    (flow_run,), (task_run,) = flow_runs(service.channel), task_runs(service.channel)
    expected = ["Pending", "Running", "Completed"]
    assert flow_history(service.channel, flow_run.id) == expected
    assert task_history(service.channel, task_run.id) == expected
    said = [log.message for log in logs(service.channel, flow_run.id, descendants=True)]
    assert not [text for text in said if text.startswith(("Crashed", "Failed"))]


MULTIPROCESSING = (
    PROGRAM
    + """
    @flow
    def outer():
        context = multiprocessing.get_context({method!r})
        process = context.Process(target={target}, args=({kind!r},), daemon={daemon})
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode

    if __name__ == "__main__":
        outer()
"""
)


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("target", ["run", "run_and_exit"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing(
    method: str, target: str, *, daemon: bool, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = MULTIPROCESSING.format(method=method, target=target, kind="flow", daemon=daemon)
    run_code(code, home=flowspan_home, address=service.address)
    check(service)
    assert len(flow_runs(service.channel)) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_pool_that_is_terminated(
    method: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    """Leaving the block kills the workers, as the end of a program kills daemons."""
    code = (
        PROGRAM
        + f"""
    @flow
    def outer():
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            assert pool.map(child_flow, range(4)) == [1, 2, 3, 4]

    if __name__ == "__main__":
        outer()
"""
    )
    run_code(code, home=flowspan_home, address=service.address)
    check(service)
    assert len(flow_runs(service.channel)) == 5


def test_tasks_that_a_child_submits_are_stored_when_it_ends_by_itself(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = (
        PROGRAM
        + """
    @task
    def slow(number):
        time.sleep(0.3)
        return number

    @flow
    def outer():
        process = multiprocessing.get_context("fork").Process(target=slow.submit, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0

    outer()
"""
    )
    run_code(code, home=flowspan_home, address=service.address)
    check(service)
    assert len(task_runs(service.channel)) == 1


def test_child_does_not_end_the_run_of_its_parent(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    """A child that returns from the function reports in a session of its own."""
    code = """
        import os
        from flowspan import flow

        @flow
        def outer():
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0  # the child has reported and exited
                return "parent"
            raise ValueError("child")

        state = outer(return_state=True)
        print(state.type.name, flush=True)
    """
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.split() == ["FAILED", "COMPLETED"]
    (run,) = flow_runs(service.channel)
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Completed"]
