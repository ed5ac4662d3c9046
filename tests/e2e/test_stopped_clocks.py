"""Flows in tests that freeze, move or replace the clock: they run and report real times."""

from __future__ import annotations

from datetime import UTC, datetime
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import run_code

from flowspan import clock

if TYPE_CHECKING:
    from pathlib import Path

    from flowspan.testing import Harness

STOPPED = {
    "freezegun": "freezegun.freeze_time('2020-01-01')",
    "freezegun, ahead": "freezegun.freeze_time('2090-01-01')",
    "freezegun, ticking": "freezegun.freeze_time('2020-01-01', tick=True)",
    "freezegun, jumping": "freezegun.freeze_time('2020-01-01', auto_tick_seconds=3600)",
    "time-machine": "time_machine.travel('2020-01-01', tick=False)",
    "time-machine, ahead": "time_machine.travel('2090-01-01', tick=True)",
    "patched clocks": "patched(CLOCKS)",
    "patched waits": "patched(WAITS)",
    "patched, all": "patched(CLOCKS | WAITS)",
}

PRELUDE = """
    import asyncio, contextlib, sys, threading, time
    from unittest import mock
    import freezegun, time_machine
    from flowspan import flow, get_client, get_run_logger, task
    from flowspan.cache_policies import INPUTS
    from flowspan.futures import as_completed
    from flowspan.task_runners import ProcessPoolTaskRunner
    from flowspan.transactions import transaction
    from flowspan.variables import Variable

    async def no_sleep(*_args):
        pass

    CLOCKS = {
        ("time", "time"): lambda: 1e9, ("time", "time_ns"): lambda: 10**18,
        ("time", "monotonic"): lambda: 5.0, ("time", "monotonic_ns"): lambda: 5 * 10**9,
        ("time", "perf_counter"): lambda: 5.0,
    }
    WAITS = {("time", "sleep"): lambda _: None, ("asyncio", "sleep"): no_sleep}

    @contextlib.contextmanager
    def patched(replacements):
        with contextlib.ExitStack() as stack:
            for (module, name), value in replacements.items():
                stack.enter_context(mock.patch.object(sys.modules[module], name, value))
            yield

    tries = []

    def fail_once(place):
        if place not in tries:
            tries.append(place)
            raise ValueError("once")

    @task
    def add(x):
        get_run_logger().info("adds")
        return x + 1

    @task(retries=1, retry_delay_seconds=0.01, timeout_seconds=60)
    def retried(x):
        fail_once("plain")
        return x

    @task(retries=1, retry_delay_seconds=0.01, timeout_seconds=60)
    async def retried_async(x):
        fail_once("async")
        return x

    @task(timeout_seconds=0.2)
    async def late():
        await asyncio.Event().wait()

    @task(cache_policy=INPUTS)
    def cached(x):
        return x

    @task(timeout_seconds=30)
    def generated():
        yield 1
        yield 2

    @flow(timeout_seconds=60)
    def sub():
        return add.submit(1).result(timeout=60)
"""

WAYS = """
    @flow(log_prints=True)
    def calls():
        print("prints")
        assert add(1) == 2 and retried("call") == "call"
        assert sub() == 2 and list(generated()) == [1, 2]
        assert (cached(1), cached(1)) == (1, 1)

    @flow
    def submits():
        futures = [add.submit(1), retried.submit("submit"), *add.map([3, 4])]
        done = [future.result() for future in as_completed(futures, timeout=60)]
        assert sorted(done, key=str) == [2, 4, 5, "submit"]
        assert retried_async.submit("submit async").result(timeout=60) == "submit async"

    @flow(timeout_seconds=60)
    async def awaits():
        futures = [add.submit(1), retried_async.submit("await")]
        done = [await future async for future in as_completed(futures, timeout=60)]
        assert sorted(done, key=str) == [2, "await"]
        assert await retried_async("called") == "called"
        assert (await late(return_state=True)).name == "TimedOut"

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def in_processes():
        assert add.submit(1).result(timeout=60) == 2
        assert retried.submit("in a process").result(timeout=60) == "in a process"

    @flow(timeout_seconds=60)
    def in_a_thread():
        with transaction():
            assert add(1) == 2

    @flow
    def sets_a_variable():
        Variable.set("name", 1)
        assert Variable.get("name") == 1

    async def read():
        async with get_client() as client:
            return [run.state.name async for run in client.read_flow_runs()]

    def check():
        calls()
        submits()
        asyncio.run(awaits())
        in_processes()
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        sets_a_variable()
        with get_client(sync_client=True) as client:
            run = next(iter(client.read_flow_runs()))
            assert client.wait_for_flow_run(run.id, timeout=60).state.is_completed()
        assert asyncio.run(read()) == ["Completed"] * 7
"""


def now() -> datetime:
    return datetime.fromtimestamp(clock.now_ns() // 1000 / 1e6, UTC)


def run_program(code: str, harness: Harness) -> None:
    run_code(dedent(PRELUDE) + dedent(code), home=harness.home / "client")


def all_runs(harness: Harness) -> list[Any]:
    return [run.record for run in (*harness.flow_runs, *harness.task_runs)]


@pytest.mark.parametrize("stopped", STOPPED)
def test_flows_where_the_clock_is_stopped(flowspan_harness: Harness, stopped: str) -> None:
    began = now()
    run_program(f"{dedent(WAYS)}\nwith {STOPPED[stopped]}:\n    check()\n", flowspan_harness)
    ended = now()
    runs = all_runs(flowspan_harness)
    assert {run.state.name for run in runs} == {"Completed", "Cached", "TimedOut"}
    for run in runs:  # By the real clock, in the actual order.
        times = [began, run.created_at, run.started_at or run.created_at, run.ended_at, ended]
        assert times == sorted(times)
        assert run.run_duration_s >= 0
    for run in flowspan_harness.flow_runs:
        assert all(began <= record.logged_at <= ended for record in run.log_records)


@pytest.mark.parametrize("stopped", STOPPED)
def test_a_clock_that_is_stopped_in_the_middle_of_a_flow(
    flowspan_harness: Harness, stopped: str
) -> None:
    code = f"""
    @flow
    def work():
        add(1)
        with {STOPPED[stopped]}:
            add(2)
            inside()
        add(3)

    @flow
    def inside():
        return retried.submit(1).result()

    work()
    """
    began = now()
    run_program(code, flowspan_harness)
    runs = all_runs(flowspan_harness)
    assert [run.state.name for run in runs] == ["Completed"] * 6
    parents = {run.id: run for run in runs}
    for run in runs:
        assert began <= run.created_at
        if run.parent_run_id:
            parent = parents[run.parent_run_id]
            assert parent.started_at <= run.created_at
            assert run.ended_at <= parent.ended_at


def test_a_cached_result_expires_by_the_program_s_clock(flowspan_harness: Harness) -> None:
    code = """
    from datetime import timedelta
    calls = []

    @task(cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
    def load(x):
        calls.append(x)

    @flow
    def work():
        load(1)

    with freezegun.freeze_time("2030-01-01") as clock:
        work()
        clock.tick(timedelta(minutes=59))
        work()
        assert len(calls) == 1
        clock.tick(timedelta(minutes=2))
        work()
        assert len(calls) == 2
    with time_machine.travel("2030-01-01 01:30Z", tick=False):
        work()
    assert len(calls) == 2
    """
    run_program(code, flowspan_harness)


@pytest.mark.parametrize("stopped", ["freezegun", "time-machine", "patched, all"])
def test_a_local_service_is_started_where_the_clock_is_stopped(
    flowspan_home: Path, stopped: str
) -> None:
    code = f"""
    with {STOPPED[stopped]}:
        assert sub() == 2
        with get_client(sync_client=True) as client:
            assert [run.state.name for run in client.read_flow_runs()] == ["Completed"]
    """
    run_code(dedent(PRELUDE) + dedent(code), home=flowspan_home)


def test_a_time_machine_that_is_imported_after_the_first_flow(flowspan_harness: Harness) -> None:
    code = """
    from flowspan import flow

    @flow
    def work():
        pass

    work()
    import time_machine
    with time_machine.travel("2020-01-01", tick=False):
        work()
    """
    began = now()
    run_code(code, home=flowspan_harness.home / "client")
    first, second = all_runs(flowspan_harness)
    assert began <= first.ended_at <= second.created_at <= second.ended_at


def test_a_logger_that_raises_leaves_no_run_open(flowspan_harness: Harness) -> None:
    code = """
    def no_time():
        raise RuntimeError("no time for you")

    @flow
    def work():
        return 1

    with mock.patch.object(time, "time", no_time), mock.patch.object(time, "time_ns", no_time):
        assert work() == 1
    """
    run_program(code, flowspan_harness)
    run = flowspan_harness.flow_run()
    assert run.state.is_completed()
    assert run.logs[0] == "Begins (flow 'work')."
    assert run.logs[1].startswith("Completed after ")
