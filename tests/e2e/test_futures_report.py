"""Futures and their dependencies, against a real service: sync and async tasks in one flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support import run_queries as queries
from tests.support.flow_processes import run_code

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

CANCELS = """
    import asyncio, threading
    from flowspan import flow, task
    from flowspan.exceptions import CancelRun, RunTimeout
    from flowspan.futures import as_completed, wait

    begun = threading.Event()
    release = threading.Event()
    ended = []

    @task
    def step(x):
        return x

    @task
    async def step_later(x):
        return x

    @task
    def blocks():
        release.wait()

    @task
    async def asleep():
        begun.set()
        await asyncio.sleep(600)

    @task
    async def sleeps(n):
        await asyncio.sleep(600)

    @task(retries=1, retry_delay_seconds=600)
    def plain():
        asyncio.run(asleep())

    def note(future):
        ended.append((future.task_run_id, future.state.name, future.result(0, False)))

    def times_out(call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except RunTimeout as error:
            return isinstance(error, TimeoutError)

    {flow}
        running = plain.submit()
        pending = step.submit(1, wait_for=[running])
        {wait}

        # Waits with a timeout.
        blocked = blocks.submit()
        done = step_later.submit(1)
        done.wait()
        for future in (running, pending, blocked):
            assert times_out(future.result, timeout=0)
            assert times_out(future.result, 0)
            assert future.wait(timeout=0) is None and not future.done()
            assert not future.state.is_final()
        both = wait([blocked, done], timeout=0)
        assert (both.done, both.not_done) == ({{done}}, {{blocked}})
        ordered = as_completed([blocked, done], timeout=0.001)
        got = []
        try:
            {each} future in ordered:
                got.append(future)
        except RunTimeout:
            assert got == [done]
        else:
            raise AssertionError("did end")

        # Callbacks: after the end, or immediately.
        for future in (running, blocked):
            future.add_done_callback(note)
            future.add_done_callback(ended.append)
            future.remove_done_callback(ended.append)
        done.add_done_callback(note)
        assert ended.pop() == (done.task_run_id, "Completed", 1) and not ended
        release.set()
        blocked.wait()

        assert pending.cancel() and running.cancel()
        wait([pending, running])
        assert not running.cancel()
        assert [row[:2] for row in ended] == [
            (blocked.task_run_id, "Completed"), (running.task_run_id, "Cancelled")
        ], ended
        assert isinstance(ended[-1][2], CancelRun)

        # Async tasks, one and many.
        sleeping = sleeps.submit(1)
        many = sleeps.map([2, 3])
        assert sleeping.cancel() and many.cancel()
        many.wait()
        assert not many.cancel()
        for future in (sleeping, *many):
            assert isinstance(future.result(raise_on_failure=False), CancelRun)

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
    sleeping = [histories.pop(f"sleeps-{n}") for n in range(3)]
    assert all(history[-1] == "Cancelled" for history in sleeping)
    assert set(map(tuple, histories.values())) == {("Pending", "Running", "Completed")}


DEPENDS = """
    import asyncio, threading
    from collections import namedtuple
    from dataclasses import dataclass
    from pydantic import BaseModel
    from flowspan import allow_failure, flow, task, unmapped
    from flowspan.exceptions import *
    from flowspan.utilities.annotations import opaque, quote

    @dataclass
    class Box:
        inside: object

    class Model(BaseModel):
        inside: object

    Pair = namedtuple("Pair", "a b")
    futures = {{}}

    @task
    {a}def one():
        return 1

    @task
    {a}def bad():
        raise ValueError("bad")

    @task
    {a}def takes(value, extra=("a", "default")):
        return f"{{value!s}}, {{extra!s}}"

    @task
    {a}def add(x, y=0, *more, by=0):
        return x + y + sum(more) + by

    @flow
    {a}def subflow(value: int):
        return value

    @task
    {a}def waits(name, to_know):
        while name not in futures or to_know not in futures:
            {sleep}
        future = futures[name]
        return {get}

    @flow
    {a}def below(future):
        return {w}takes(future.unwrap())

    @task
    {a}def above(name):
        while name not in futures:
            {sleep}
        return {w}below(opaque(opaque(futures[name])))

    def error_of(call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except Exception as error:
            return f"{{type(error).__name__}}: {{error}}"

    @flow
    {a}def outer():
        future, failed = one.submit(), bad.submit()
        state = one.submit(return_state=True)
        failed.wait()

        # Anywhere in arguments.
        given = [
            [Box({{"k": future}})], Model(inside=(future,)), Pair(future, [state]), {{future}},
            allow_failure(failed), allow_failure([future, failed]), opaque([failed]),
            quote(failed),
        ]
        texts = [
            "[Box(inside={{'k': 1}})]", "inside=(1,)", "Pair(a=1, b=[1])", "{{1}}",
            "bad", "[1, ValueError('bad')]", "[<TaskFuture of 'bad-0': Failed>]",
            "<TaskFuture of 'bad-0': Failed>",
        ]
        texts = [text + ", ('a', 'default')" for text in texts]
        assert [takes.submit(value).result() for value in given] == texts
        assert [{w}takes(value) for value in given] == texts
        assert {w}subflow(future) == {w}subflow(value=state) == 1

        # Failed inputs.
        late = takes.with_options(name="late").submit(1, wait_for=[failed])
        assert isinstance(late.result(raise_on_failure=False), UpstreamFailed)
        assert late.state.name == "NotReady"
        for call in (takes.with_options(name="late-call"), subflow.with_options(name="late-flow")):
            for options in ({{"wait_for": [failed]}}, {{"wait_for": failed}}):
                state = {w}call(1, return_state=True, **options)
                assert (state.type.name, state.name) == ("PENDING", "NotReady"), state
            try:
                {w}call([failed])
            except UpstreamFailed as error:
                assert "'bad-0'" in str(error) and isinstance(error.__cause__, ValueError)
            else:
                raise AssertionError("began")

        # Maps: of several lists, over futures, and with unmapped values.
        sums = add.map([1, 2], (10, 20), [future, 5], by=unmapped(future))
        assert {get_all} == [13, 28]
        sums = add.map(x=sums, y=range(2))
        assert {get_all} == [13, 29]
        sums = add.map(one.map([]) + [future, state.type and future], wait_for=sums)
        assert {get_all} == [1, 1]
        states = add.map({{3, }}, y=7, return_state=True)
        assert [(state.name, state.result(_sync=True)) for state in states] == [("Completed", 10)]
        some = takes.with_options(name="some").map([1, future, failed])
        some.wait()
        assert [each.state.name for each in some] == ["Completed", "Completed", "NotReady"]
        assert add.map([], y=1) == []
        assert "MappingMissingIterable" in error_of(add.map, 1, by="text")
        unequal = error_of(add.map, [1, 2], [1], by=[1, 2, 3])
        assert unequal.startswith("MappingLengthMismatch") and "'by' has 3" in unequal, unequal

        # Deadlocks.
        for names in (["itself"], ["first", "second"]):
            for name, other in zip(names, names[1:] + names[:1]):
                futures[name] = waits.with_options(name=name).submit(other, name)
            for name in names:
                error = futures[name].result(raise_on_failure=False)
                assert isinstance(error, SelfDependency), error
        futures["above"] = above.submit("above")
        error = futures["above"].result(raise_on_failure=False)
        assert isinstance(error, SelfDependency), error

    {call}
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_dependencies(service: ServiceProcess, is_async: bool) -> None:
    code = DEPENDS.format(
        a="async " if is_async else "",
        w="await " if is_async else "",
        sleep="await asyncio.sleep(0)" if is_async else "pass",
        get="await future" if is_async else "future.result()",
        get_all="await sums" if is_async else "sums.result()",
        call="asyncio.run(outer())" if is_async else "outer()",
    )
    run_code(code, home=service.home / "client", address=service.address)
    runs = [*queries.task_runs(service.channel), *queries.flow_runs(service.channel)]
    states: dict[str, list[Any]] = {}
    for run in runs:
        name = getattr(run, "flow_name", "") or run.task_name
        states.setdefault(name, []).append(run.state)
    assert [len(states[name]) for name in ("late", "late-call", "late-flow")] == [1, 3, 3]
    for name in ("late", "late-call", "late-flow"):
        assert {state.name for state in states[name]} == {"NotReady"}
        assert all("bad-0" in state.message for state in states[name])
    assert sorted(state.name for state in states["some"]) == ["Completed", "Completed", "NotReady"]
    assert len(states["add"]) == 7, "an invalid map must not start any run"
    for name, words in (
        ("itself", "'itself-0' waits for itself"),
        ("first", "depends on itself: it waits for"),
        ("second", "depends on itself: it waits for"),
        ("below", "cannot end before"),
        ("above", "'above-0', which cannot end before"),
    ):
        (state,) = states[name]
        assert state.failure.type.endswith("SelfDependency"), name
        assert words in state.message, state.message
    (outer,) = states["outer"]
    assert outer.name == "Completed"


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
