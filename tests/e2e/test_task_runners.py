"""Task runners on a service: the limit of threads, event loops, and unstoppable tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.reported_program import Told, told

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
    import asyncio, json, threading, time
    from flowspan import flow, task
    from flowspan.states import AwaitingRetry, Late, Paused, Scheduled, Suspended
    from flowspan.task_runners import ThreadPoolTaskRunner

    class Meter:
        "The peak number of concurrent visitors, and their threads."

        def __init__(self):
            self.lock, self.inside, self.most, self.threads = threading.Lock(), 0, 0, set()
            self.two_met = threading.Event()

        def enter(self):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.threads.add(threading.current_thread().name)
                if self.inside == 2:
                    self.two_met.set()

        def leave(self):
            with self.lock:
                self.inside -= 1

        def say(self, label):
            print(f"{label}: {json.dumps([self.most, len(self.threads)])}", flush=True)

    meters = {}

    @task
    def bounded(name, n):
        meters[name].enter()
        assert meters[name].two_met.wait(60)  # the first stays until the second has come
        time.sleep(0.02)
        meters[name].leave()
        return n

    @task
    async def bounded_later(name, n):
        meters[name].enter()
        while not meters[name].two_met.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        meters[name].leave()
        return n

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def bounded_flow(name, kind):
        meters[name] = Meter()
        called = bounded if kind == "plain" else bounded_later
        futures = [called.submit(name, n) for n in range(8)]
        assert [future.result() for future in futures] == list(range(8))
        meters[name].say(name)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    async def bounded_flow_later(name, kind):
        meters[name] = Meter()
        called = bounded if kind == "plain" else bounded_later
        assert await called.map(name, range(8)) == list(range(8))
        meters[name].say(name)

    class Gate:
        "Opens when `count` visitors wait at it: all pass together or none does."

        def __init__(self, count):
            self.left, self.open = count, asyncio.Event()

        async def wait(self):
            self.left -= 1
            if not self.left:
                self.open.set()
            await self.open.wait()

    @task
    async def meets(gate, n):
        await gate.wait()
        return n, threading.current_thread().name

    @flow
    async def gathered():
        gate = Gate(20)
        found = await asyncio.gather(*(meets(gate, n) for n in range(20)))
        gate = Gate(3)
        async with asyncio.TaskGroup() as group:
            more = [group.create_task(meets(gate, n)) for n in range(3)]
        threads = {name for _, name in found} | {one.result()[1] for one in more}
        print(f"gathered: {json.dumps([len(found), sorted(threads)])}", flush=True)

    release = threading.Event()

    @task(timeout_seconds=0.1)
    def blocked():
        release.wait()  # in C, where no exception can be raised

    @flow
    def blocking_flow():
        future = blocked.submit()
        future.wait()
        return future.state.name  # not the state, so that the flow completes

    @flow
    async def blocking_flow_later():
        future = blocked.submit()
        await asyncio.to_thread(future.wait)
        return future.state.name

    makers = {made().name: made for made in (Scheduled, Late, AwaitingRetry, Paused, Suspended)}

    @flow
    def never_ends_so(name):
        return makers[name]()

    for kind in ("plain", "async"):
        bounded_flow("bounded " + kind, kind)
        asyncio.run(bounded_flow_later("bounded later " + kind, kind))
    asyncio.run(gathered())
    print("blocked:", blocking_flow(), flush=True)
    print("blocked later:", asyncio.run(blocking_flow_later()), flush=True)
    release.set()
    for name in makers:
        ended = never_ends_so.with_options(name="returns " + name)(name, return_state=True)
        assert ended.is_failed(), ended
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with told(PROGRAM, folder=tmp_path_factory.mktemp("runners")) as what:
        yield what


@pytest.mark.parametrize("flow", ["bounded", "bounded later"])
def test_no_more_tasks_run_at_once_than_max_workers(program: Told, flow: str) -> None:
    assert json.loads(program.printed(f"{flow} plain")) == [2, 2]
    most, threads = json.loads(program.printed(f"{flow} async"))
    assert (most, threads) == (2, 1), "a loop in one thread"
    runs = [run for run in program.tasks if run.task_name.startswith("bounded")]
    assert len(runs) == 32
    assert {run.state.name for run in runs} == {"Completed"}


def test_asynchronous_tasks_run_at_once_without_threads(program: Told) -> None:
    assert json.loads(program.printed("gathered")) == [20, ["MainThread"]]
    runs = [run for run in program.tasks if run.task_name == "meets"]
    assert [run.state.name for run in runs] == ["Completed"] * 23
    assert {run.flow_run_id for run in runs} == {program.flow("gathered").id}


@pytest.mark.parametrize("flow", ["blocking-flow", "blocking-flow-later"])
def test_a_thread_that_cannot_be_interrupted_is_told_of_and_left_behind(
    program: Told, flow: str
) -> None:
    label = "blocked later" if flow.endswith("later") else "blocked"
    assert program.printed(label) == "TimedOut"
    run: Any = program.flow(flow)
    (blocked,) = program.children(run)
    assert program.history(blocked) == ["Running", "TimedOut"]
    assert any("could not be interrupted" in line for line in program.logs(blocked))
    assert program.history(run) == ["Running", "Completed"]


@pytest.mark.parametrize("name", ["Scheduled", "Late", "AwaitingRetry", "Paused", "Suspended"])
def test_a_flow_cannot_end_with_a_state_that_is_no_end(program: Told, name: str) -> None:
    run = program.flow(f"returns {name}")
    assert run.state.name == "Failed"
    assert name in run.state.message
