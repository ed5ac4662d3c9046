"""Generator functions as flows and tasks, against a real service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import run_queries as queries
from tests.support.flow_processes import FlowProcess

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    import grpc
    from tests.support.service import ServiceProcess

PLAIN = """
    import time
    from contextlib import suppress
    from flowspan import flow, task
    from flowspan.exceptions import CancelRun, RunTimeout

    attempts = []

    @task
    def step(x):
        return x

    @task(retries=1, log_prints=True)
    def numbers(count):
        attempts.append(1)
        print("attempt", len(attempts))
        for i in range(count):
            yield step(i)
        if len(attempts) == 1:
            raise ValueError("once")

    @flow
    def pages():
        for value in numbers(2):
            yield value
        yield from numbers.submit(1).result()

    assert list(pages()) == [0, 1, 0, 1, 0]

    for page in pages():
        break  # closed early
    kept = pages()
    next(kept)  # still open when the process ends

    @task
    def endless():
        while True:
            yield 0
            step(0)

    @task(timeout_seconds=0.3)
    def patient():
        yield 1
        yield 2
        time.sleep(600)

    @flow
    def others():
        values = patient()
        first = next(values)
        time.sleep(0.35)  # the consumer's time does not count
        assert [first, next(values)] == [1, 2]
        with suppress(RunTimeout):
            next(values)
            raise AssertionError("was in time")
        future = endless.submit()
        future.cancel()
        future.wait()

        # Nested, mapped, with sent values and a return value.
        def nested(n):
            for i in numbers(n):
                for j in numbers(i):
                    yield i, j
        assert list(task(nested)(3)) == [(1, 0), (2, 0), (2, 1)]
        assert numbers.map([1, 2]).result() == [[0], [0, 1]]
        assert numbers(1, return_state=True).result() == [0]

    others()

    @flow
    def cancelled():
        while True:
            yield

    with suppress(CancelRun):
        for _ in cancelled():
            time.sleep(0.001)
        raise AssertionError("went on")
"""
ASYNC = """
    import asyncio
    from contextlib import suppress
    from flowspan import flow, task
    from flowspan.exceptions import CancelRun, RunTimeout

    attempts = []

    @task
    async def step(x):
        return x

    @task(retries=1, log_prints=True)
    async def numbers(count):
        attempts.append(1)
        print("attempt", len(attempts))
        for i in range(count):
            yield await step(i)
        if len(attempts) == 1:
            raise ValueError("once")

    @flow
    async def pages():
        async for value in numbers(2):
            yield value
        for value in await numbers.submit(1):
            yield value

    async def main():
        assert [page async for page in pages()] == [0, 1, 0, 1, 0]
        early = pages()
        await anext(early)
        await early.aclose()
        global kept
        kept = pages()
        await anext(kept)  # still open when the loop ends

    asyncio.run(main())

    @task
    async def endless():
        while True:
            yield 0
            await asyncio.sleep(0)

    @task(timeout_seconds=0.3)
    async def patient():
        yield 1
        yield 2
        await asyncio.sleep(600)

    @flow
    async def others():
        values = patient()
        first = await anext(values)
        await asyncio.sleep(0.35)  # the consumer's time does not count
        assert [first, await anext(values)] == [1, 2]
        with suppress(RunTimeout):
            await anext(values)
            raise AssertionError("was in time")
        future = endless.submit()
        future.cancel()
        future.wait()

        async def nested(n):
            async for i in numbers(n):
                async for j in numbers(i):
                    yield (i, j)
        assert [pair async for pair in task(nested)(3)] == [(1, 0), (2, 0), (2, 1)]
        assert await numbers.map([1, 2]) == [[0], [0, 1]]
        state = await numbers(1, return_state=True)
        assert await state.result() == [0]

    asyncio.run(others())

    @flow
    async def cancelled():
        while True:
            yield

    async def consume():
        with suppress(CancelRun):
            async for _ in cancelled():
                await asyncio.sleep(0.001)
            raise AssertionError("went on")

    asyncio.run(consume())
"""


def cancel_when_it_runs(channel: grpc.Channel, process: FlowProcess) -> None:
    """Cancel the run of the flow of this name from outside, once it runs."""

    def running() -> str:
        assert process.process.poll() is None, process.errors
        runs = queries.flow_runs(channel)
        is_there = runs and runs[-1].flow_name == "cancelled" and runs[-1].state.name == "Running"
        return runs[-1].id if is_there else ""

    run_id = queries.wait_until(running, "the run")
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING)
    stub.SetFlowRunState(flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state))


@pytest.mark.parametrize("code", [PLAIN, ASYNC], ids=["plain", "async"])
def test_generators_of_both_kinds(service: ServiceProcess, code: str) -> None:
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        cancel_when_it_runs(service.channel, process)
        process.finish()
    whole, early, kept, others, cancelled = queries.flow_runs(service.channel)
    assert whole.state.name == early.state.name == kept.state.name == "Completed"
    assert early.state.message == kept.state.message == "Closed by its consumer after 1 value."
    assert queries.flow_history(service.channel, cancelled.id) == [
        "Pending", "Running", "Cancelling", "Cancelled",
    ]  # fmt: skip
    assert others.state.name == "Completed"
    by_name = {run.task_name: run for run in queries.task_runs(service.channel)}
    assert by_name["patient"].state.name == "TimedOut"
    assert "exceeded its timeout of 0.3 s" in by_name["patient"].state.message
    assert by_name["endless"].state.name == "Cancelled"
    tasks = [run for run in queries.task_runs(service.channel) if run.flow_run_id != others.id]
    # Python closes a generator that a body leaves open: at the end of the loop it is cancelled.
    assert {run.state.name for run in tasks if run.flow_run_id != early.id} == {"Completed"}
    (retried, submitted) = [
        run for run in tasks if run.flow_run_id == whole.id and run.name.startswith("numbers")
    ]
    history = queries.task_history(service.channel, retried.id)
    assert history == ["Pending", "Running", "Retrying", "Completed"]
    parents = [run.parent_run_id for run in tasks if run.name.startswith("step")]
    assert parents.count(retried.id) == 4
    assert parents.count(submitted.id) == 1
    logs = [log for log in queries.logs(service.channel, retried.id) if "attempt" in log.message]
    assert [(log.message, log.attempt) for log in logs] == [("attempt 1", 1), ("attempt 2", 2)]
