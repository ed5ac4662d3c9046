"""Futures and what depends on them, against a real service: both kinds of functions in one flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import queries
from tests.support.flows import run_code

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

CANCELS = """
    import asyncio, threading
    from flowspan import flow, task
    from flowspan.futures import as_completed, wait

    begun = threading.Event()

    @task
    def step(x):
        return x

    @task
    async def asleep():
        begun.set()
        await asyncio.sleep(600)

    @task(retries=1, retry_delay_seconds=600)
    def plain():
        asleep()

    {flow}
        running = plain.submit()
        pending = step.submit(1, wait_for=[running])
        {wait}
        assert pending.cancel() and running.cancel()
        wait([pending, running])
        assert not running.cancel()
        values = sorted([future.result() {each} future in as_completed(step.map([1, 2]))])
        assert values == [1, 2]

    {call}
"""
BOTH = [
    ["@flow\n    def outer():", "begun.wait()", "for", "outer()"],
    [
        "@flow\n    async def outer():",
        "await asyncio.to_thread(begun.wait)",
        "async for",
        "asyncio.run(outer())",
    ],
]


@pytest.mark.parametrize("parts", BOTH, ids=["plain", "async"])
def test_cancelled_futures(service: ServiceProcess, parts: list[str]) -> None:
    code = CANCELS.format(**dict(zip(["flow", "wait", "each", "call"], parts, strict=True)))
    run_code(code, home=service.home / "client", address=service.address)
    (outer,) = queries.flow_runs(service.channel)
    assert outer.state.name == "Completed"
    tasks = {run.name: run for run in queries.task_runs(service.channel)}
    histories = {name: queries.task_history(service.channel, tasks[name].id) for name in tasks}
    assert histories.pop("step-0") == ["Pending", "Cancelled"]
    assert histories.pop("plain-0") == histories.pop("asleep-0")
    assert tasks["plain-0"].state.name == "Cancelled"
    assert tasks["plain-0"].state.message == "The future of the run was cancelled."
    assert set(map(tuple, histories.values())) == {("Pending", "Running", "Completed")}


DEPENDS = """
    import asyncio
    from dataclasses import dataclass
    from flowspan import allow_failure, flow, task
    from flowspan.exceptions import SelfDependency
    from flowspan.utilities.annotations import opaque

    @dataclass
    class Box:
        inside: object

    futures = {{}}

    @task
    {a}def one():
        return 1

    @task
    {a}def bad():
        raise ValueError("bad")

    @task
    {a}def takes(value):
        return str(value)

    @task
    {a}def circular(name):
        while name not in futures:
            {sleep}
        return {get}

    @flow
    {a}def outer():
        future, failed = one.submit(), bad.submit()
        results = [
            takes.submit([Box({{"k": future}})]),
            takes.submit(allow_failure(failed)),
            takes.submit(opaque([failed])),
        ]
        assert [each.result() for each in results] == [
            "[Box(inside={{'k': 1}})]", "bad", "[<TaskFuture of 'bad-0': Failed>]"
        ]
        late = takes.with_options(name="late").submit(1, wait_for=[failed])
        futures["it"] = circular.submit("it")
        error = futures["it"].result(raise_on_failure=False)
        assert isinstance(error, SelfDependency), error
        late.wait()

    {call}
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_dependencies(service: ServiceProcess, is_async: bool) -> None:
    code = DEPENDS.format(
        a="async " if is_async else "",
        sleep="await asyncio.sleep(0)" if is_async else "pass",
        get="await futures[name]" if is_async else "futures[name].result()",
        call="asyncio.run(outer())" if is_async else "outer()",
    )
    run_code(code, home=service.home / "client", address=service.address)
    tasks = {run.name: run.state for run in queries.task_runs(service.channel)}
    assert tasks["late-0"].name == "NotReady"
    assert "bad-0" in tasks["late-0"].message
    assert tasks["circular-0"].failure.type.endswith("SelfDependency")
    assert "waits for itself" in tasks["circular-0"].message
    (outer,) = queries.flow_runs(service.channel)
    assert outer.state.name == "Completed"


def test_cancelling_a_future_ends_the_code_in_a_worker_process(service: ServiceProcess) -> None:
    code = """
        import pathlib, time
        from flowspan import flow, task
        from flowspan.task_runners import ProcessPoolTaskRunner

        @task
        def blocks(begun):
            pathlib.Path(begun).touch()
            time.sleep(600)

        @task
        def numbers(count):
            yield from range(count)

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def outer(begun):
            future = blocks.submit(begun)
            while not pathlib.Path(begun).exists():
                time.sleep(0.005)
            assert future.cancel()
            future.wait()
            return numbers.submit(3).result()

        assert outer(__file__ + ".begun") == [0, 1, 2]
    """
    run_code(code, home=service.home / "client", address=service.address)
    blocks, numbers = queries.task_runs(service.channel)
    history = queries.task_history(service.channel, blocks.id)
    assert history == ["Pending", "Running", "Cancelled"]
    assert numbers.state.name == "Completed"
