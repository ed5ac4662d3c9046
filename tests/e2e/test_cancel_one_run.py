"""A cancel of one task run or nested flow run reaches it, and only it, wherever it runs."""

from __future__ import annotations

import textwrap
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import flow_history, flow_runs, task_history, task_runs, wait_until

from flowspan.client import get_client
from flowspan.exceptions import FlowspanError
from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess

    from flowspan.client import SyncFlowspanClient

PROLOGUE = """
    import asyncio, os, sys, time
    from pathlib import Path
    from flowspan import flow, task
    from flowspan.exceptions import CancelRun
    from flowspan.task_runners import ProcessPoolTaskRunner

    GO = Path(os.environ["FLOWSPAN_HOME"], "go")

    def waits():
        from flowspan.core.run import current_run  # a global of it could not be pickled
        print("waiting", flush=True)
        # Plain code is not interrupted: the command must be there before its next safe point.
        while not GO.exists() and not current_run.get().scope.cancelled:
            time.sleep(0.01)

    @task
    def after():
        return "after"

    @task
    def fails_at_first():
        raise ValueError("so it is retried")

    @task
    async def sleeps():
        print("waiting", flush=True)
        await asyncio.sleep(3600)

    @task
    def blocks():
        waits()
        after()

    @task
    def retried():
        fails_at_first.with_options(retries=1, retry_delay_seconds=3600)()

    @task
    def held_up():
        print("waiting", flush=True)
        after(sleeps.submit())

    @task
    async def stays(seconds=3600):
        print("waiting", flush=True)
        await asyncio.sleep(seconds)

    @task
    async def around():
        await asyncio.gather(stays(), stays())

    @task
    def plain_around():
        asyncio.run(stays())
"""

PROGRAMS = {
    "submitted to threads": """
        @flow
        def etl():
            future = blocks.submit()
            future.wait()
            print("ended", future.state.type.value, after(), flush=True)
        etl()
    """,
    "submitted, asynchronous": """
        @flow
        async def etl():
            future = sleeps.submit()
            while not future.done():
                await asyncio.sleep(0.01)
            print("ended", future.state.type.value, after(), flush=True)
        asyncio.run(etl())
    """,
    "submitted to a process": """
        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def etl():
            future = sleeps.submit()
            future.wait()
            print("ended", future.state.type.value, after(), flush=True)
        etl()
    """,
    "submitted outside of flows": """
        future = blocks.submit()
        future.wait()
        print("ended", future.state.type.value, after(), flush=True)
    """,
    "direct": """
        @flow
        def etl():
            print("ended", blocks(return_state=True).type.value, after(), flush=True)
        etl()
    """,
    "direct, waits for a retry": """
        @flow
        def etl():
            state = fails_at_first.with_options(retries=1, retry_delay_seconds=3600)(
                return_state=True
            )
            print("ended", state.type.value, after(), flush=True)
        etl()
    """,
    "direct, whose call waits for a retry": """
        @flow
        def etl():
            print("ended", retried(return_state=True).type.value, after(), flush=True)
        etl()
    """,
    "direct, waits for a future": """
        @flow
        def etl():
            print("ended", held_up(return_state=True).type.value, after(), flush=True)
        etl()
    """,
    "direct, within a deadline": """
        @flow
        def etl():
            bounded = held_up.with_options(timeout_seconds=3600)
            print("ended", bounded(return_state=True).type.value, after(), flush=True)
        etl()
    """,
    "direct, asynchronous": """
        @flow
        async def etl():
            state = await sleeps(return_state=True)
            print("ended", state.type.value, after(), flush=True)
        asyncio.run(etl())
    """,
    "direct, asynchronous, with calls": """
        @flow
        async def etl():
            state = await around(return_state=True)
            print("ended", state.type.value, after(), flush=True)
        asyncio.run(etl())
    """,
    "direct, with an asynchronous call": """
        @flow
        def etl():
            print("ended", plain_around(return_state=True).type.value, after(), flush=True)
        etl()
    """,
    "direct, asynchronous, in a synchronous flow": """
        @flow
        def etl():
            state = asyncio.run(sleeps(return_state=True))
            print("ended", state.type.value, after(), flush=True)
        etl()
    """,
    "direct, asynchronous, in a worker process": """
        @task
        async def outer():
            state = await sleeps(return_state=True)
            return state.type.value

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def etl():
            print("ended", outer.submit().result(), after(), flush=True)
        etl()
    """,
    "direct, in a worker process": """
        @task
        def outer():
            return blocks(return_state=True).type.value

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def etl():
            print("ended", outer.submit().result(), after(), flush=True)
        etl()
    """,
    "generator": """
        @task
        def numbers():
            yield 1
            waits()
            yield 2
            yield 3

        @flow
        def etl():
            seen = []
            try:
                for n in numbers():
                    seen.append(n)
            except CancelRun:
                print("ended", "CANCELLED", after(), flush=True)
            assert seen == [1, 2], seen
        etl()
    """,
    "asynchronous generator": """
        @task
        async def numbers():
            yield 1
            print("waiting", flush=True)
            await asyncio.sleep(3600)

        @flow
        async def etl():
            try:
                async for n in numbers():
                    pass
            except CancelRun:
                print("ended", "CANCELLED", after(), flush=True)
        asyncio.run(etl())
    """,
}
"""Programs in which a task run waits; it ends when GO exists, if it is not cancelled before."""

CANCELLED = {
    "direct, waits for a retry": "fails_at_first",
    "direct, whose call waits for a retry": "retried",
    "direct, waits for a future": "held_up",
    "direct, within a deadline": "held_up",
    "direct, asynchronous, with calls": "around",
    "direct, with an asynchronous call": "plain_around",
    "submitted to threads": "blocks",
    "submitted outside of flows": "blocks",
    "direct": "blocks",
    "direct, in a worker process": "blocks",
    "generator": "numbers",
    "asynchronous generator": "numbers",
}
"""The task that is cancelled, if it is not `sleeps`."""


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[SyncFlowspanClient]:
    with get_client(sync_client=True, address=service.address) as client:
        yield client


def program(service: ServiceProcess, code: str) -> FlowProcess:
    whole = textwrap.dedent(PROLOGUE) + textwrap.dedent(code)
    return FlowProcess(whole, home=service.home / "client", address=service.address)


def begun(service: ServiceProcess, name: str, count: int = 1) -> list[Any]:
    """Wait until runs of a task are running or wait for a retry; return them in order."""
    kinds = {state_pb2.STATE_TYPE_RUNNING, state_pb2.STATE_TYPE_SCHEDULED}

    def found() -> list[Any] | None:
        runs = [run for run in task_runs(service.channel) if run.task_name == name]
        is_begun = len(runs) == count and all(run.state.type in kinds for run in runs)
        return sorted(runs, key=lambda run: str(run.name)) if is_begun else None

    runs: list[Any] = wait_until(found, f"{count} runs of {name}")
    return runs


def state_names(service: ServiceProcess) -> dict[str, list[str]]:
    """Return the names of the last states of all task runs, by task."""
    names: dict[str, list[str]] = {}
    for run in task_runs(service.channel):
        names.setdefault(run.task_name, []).append(run.state.name)
    return names


@pytest.mark.parametrize("name", PROGRAMS)
def test_promise_cancel_of_one_task_run_ends_it_alone(
    service: ServiceProcess, client: SyncFlowspanClient, name: str
) -> None:
    target = CANCELLED.get(name, "sleeps")
    with program(service, PROGRAMS[name]) as process:
        if "retry" in name:
            (waiting,) = begun(service, "fails_at_first")
            wait_until(
                lambda: "AwaitingRetry" in task_history(service.channel, waiting.id), "the delay"
            )
        else:
            process.wait_for_line("waiting")
        (run,) = begun(service, target)
        if target == "around":
            begun(service, "stays", 2)
        for _ in range(2):  # the second changes nothing
            answer = client.cancel_task_run(run.id, reason="enough")
            assert answer.run.state.name in {"Cancelling", "Cancelled"}
        assert process.wait_for_line("ended").split() == ["ended", "CANCELLED", "after"]
        process.finish()
    names = state_names(service)
    assert names.pop("after")[-1] == "Completed"
    assert names.pop("outer", ["Completed"]) == ["Completed"]
    assert {each for states in names.values() for each in states} == {"Cancelled"}
    assert task_history(service.channel, run.id)[-2:] == ["Cancelling", "Cancelled"]
    for flow_run in flow_runs(service.channel):
        assert flow_history(service.channel, flow_run.id) == ["Pending", "Running", "Completed"]


def test_one_of_three_mapped_runs(service: ServiceProcess, client: SyncFlowspanClient) -> None:
    code = """
        @flow
        async def etl():
            futures = stays.map([3600, 3600, 3600])
            while not futures[1].done():
                await asyncio.sleep(0.01)
            print("ended", *(each.state.type.value for each in futures), flush=True)
            futures[0].cancel()
            futures[2].cancel()
        asyncio.run(etl())
    """
    with program(service, code) as process:
        second = begun(service, "stays", 3)[1]
        client.cancel_task_run(second.id, reason="enough")
        assert process.wait_for_line("ended").split()[1:] == ["RUNNING", "CANCELLED", "RUNNING"]
        process.finish()
    assert task_history(service.channel, second.id)[-2:] == ["Cancelling", "Cancelled"]


def test_nested_flow(service: ServiceProcess, client: SyncFlowspanClient) -> None:
    code = """
        @flow
        def inner():
            blocks()

        @flow
        def etl():
            print("ended", inner(return_state=True).type.value, after(), flush=True)
        etl()
    """
    with program(service, code) as process:
        process.wait_for_line("waiting")
        begun(service, "blocks")
        (inner,) = [run for run in flow_runs(service.channel) if run.flow_name == "inner"]
        for _ in range(2):
            client.cancel_flow_run(inner.id, reason="enough")
        assert process.wait_for_line("ended").split() == ["ended", "CANCELLED", "after"]
        process.finish()
    assert flow_history(service.channel, inner.id)[-2:] == ["Cancelling", "Cancelled"]


def test_caller_gets_cancel_run(service: ServiceProcess, client: SyncFlowspanClient) -> None:
    code = """
        @flow
        async def etl():
            try:
                await sleeps()
            except CancelRun as stop:
                print("ended", stop, flush=True)
            await asyncio.sleep(0.01)  # is not interrupted
            return after()
        assert asyncio.run(etl()) == "after"
    """
    with program(service, code) as process:
        (run,) = begun(service, "sleeps")
        client.cancel_task_run(run.id, reason="enough")
        assert process.wait_for_line("ended") == "ended enough"
        process.finish()


def test_ended_and_unknown_runs(service: ServiceProcess, client: SyncFlowspanClient) -> None:
    code = """
        @flow
        def etl():
            after()
            blocks()
        etl()
    """
    with program(service, code) as process:
        begun(service, "blocks")
        (ended,) = [run for run in task_runs(service.channel) if run.task_name == "after"]
        answer = client.cancel_task_run(ended.id, reason="late")
        assert not answer.verdict.is_accepted
        with pytest.raises(FlowspanError):
            client.cancel_task_run(uuid.uuid4(), reason="never was")
        (service.home / "client/go").touch()
        process.finish()
    assert state_names(service) == {"after": ["Completed", "Completed"], "blocks": ["Completed"]}
