"""Stored, cached and reused results, as a real service reports them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.support import run_queries as queries
from tests.support.cli import flowspan
from tests.support.flow_processes import FlowProcess, run_code

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

CACHED = """
    import asyncio
    from datetime import timedelta
    from flowspan import flow, task
    from flowspan.cache_policies import INPUTS

    @task(cache_policy=INPUTS, cache_expiration=timedelta(hours=1), result_serializer="json")
    def plain(x):
        print("computed plain", x)
        return {"x": x}

    @task(cache_policy=INPUTS, result_storage="memory://results")
    async def later(x):
        print("computed later", x)
        return [x]

    @flow(persist_result=True, result_serializer="compressed/pickle")
    async def nightly():
        await asyncio.gather(later(1), asyncio.sleep(0))
        assert await later(1) == [1]
        return [plain(1), plain(1), plain.map([1, 2]).result()]

    found = asyncio.run(nightly())
    assert found == [{"x": 1}, {"x": 1}, [{"x": 1}, {"x": 2}]], found
"""


def states(service: ServiceProcess) -> list[str]:
    runs = sorted(queries.task_runs(service.channel), key=lambda run: run.id)
    return [f"{run.name} {run.state.name}" for run in runs]


def test_results_are_found_again_by_other_processes(service: ServiceProcess) -> None:
    home = service.home / "client"
    first = run_code(CACHED, home=home, address=service.address)
    assert sorted(first.splitlines()) == [
        "computed later 1",
        "computed plain 1",
        "computed plain 2",
    ]
    assert states(service) == [
        "later-0 Completed",
        "later-1 Cached",
        "plain-0 Completed",
        "plain-1 Cached",
        "plain-2 Cached",
        "plain-3 Completed",
    ]
    again = run_code(CACHED, home=home, address=service.address)
    assert again.splitlines() == ["computed later 1"]  # The memory belongs to another process.

    cached = [run for run in queries.task_runs(service.channel) if run.name == "plain-1"][-1]
    assert queries.task_history(service.channel, cached.id) == ["Pending", "Cached"]
    assert cached.state.result.encoding == "flowspan.result-reference+json"
    reference = json.loads(cached.state.result.data)
    assert reference["serializer"] == "json"
    assert reference["url"].startswith((home / "results").as_uri())
    assert b'"x": 1' in (home / "results" / reference["key"]).read_bytes()

    shown = flowspan("run", "show", cached.id, "--json", env={"FLOWSPAN_ADDRESS": service.address})
    assert shown.objects[0]["state"]["result_reference"]["url"] == reference["url"]


def test_the_api_leads_to_results(service: ServiceProcess) -> None:
    code = """
        from flowspan import flow, get_client

        @flow(persist_result=True)
        def answers():
            return {"answer": 42}

        state = answers(return_state=True)
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(state.run_id)
        assert run.state.result() == {"answer": 42}, run.state
    """
    run_code(code, home=service.home / "client", address=service.address)


def test_the_result_of_another_program_is_read_only_where_it_is_trusted(
    service: ServiceProcess,
) -> None:
    """A run may name any location for its result, and any client may report it."""
    bomb = """
        from pathlib import Path
        from flowspan import flow

        class Bomb:
            def __reduce__(self):
                return Path.touch, (Path("{exploded}"),)

        @flow(persist_result=True)
        def mallory():
            return Bomb()

        mallory()
    """
    read = """
        import asyncio
        from pathlib import Path
        from flowspan import get_client
        from flowspan.exceptions import UntrustedResult

        exploded = Path("{exploded}")

        async def read_all():
            async with get_client() as client:
                return [run async for run in client.read_flow_runs()]

        (run,) = asyncio.run(read_all())
        try:
            run.state.result()
        except UntrustedResult as error:
            assert "{elsewhere}" in str(error) and "trust=True" in str(error)
        else:
            raise AssertionError("it was read")
        assert not exploded.exists()
        asyncio.run(run.state.aresult(trust="{elsewhere}/results"))
        assert exploded.exists()
        exploded.unlink()
        run.state.result(trust=True)
        assert exploded.exists()
        exploded.unlink()
    """
    elsewhere, exploded = service.home / "elsewhere", service.home / "exploded"
    values = {"elsewhere": str(elsewhere), "exploded": str(exploded)}
    run_code(bomb.format(**values), home=elsewhere, address=service.address)
    run_code(read.format(**values), home=service.home / "client", address=service.address)


RETRIED = """
    import asyncio
    from flowspan import flow, task

    calls = []
    attempts = []

    @task
    def load(x):
        calls.append(x)
        return x

    @task
    async def later(x):
        calls.append(x)
        return x

    @flow(retries=2, retry_delay_seconds=0.01)
    def plain():
        values = [load(1), *load.map([2, 3]).result()]
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("not yet")
        return values + [load(4)]

    @flow(retries=1)
    async def asynchronous():
        values = await asyncio.gather(later(1), later(2))
        later.submit(3).wait()
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("not yet")
        return values

    assert plain() == [1, 2, 3, 4]
    assert calls.pop() == 4 and sorted(calls) == [1, 2, 3], calls
    calls.clear(), attempts.clear()
    assert asyncio.run(asynchronous()) == [1, 2]
    assert sorted(calls) == [1, 2, 3], calls
"""


def test_a_retried_flow_keeps_its_tasks_results(service: ServiceProcess) -> None:
    run_code(RETRIED, home=service.home / "client", address=service.address)
    counts: dict[str, Any] = {}
    for line in states(service):
        name, state = line.split()
        counts.setdefault(f"{re.sub('-.*', '', name)} {state}", []).append(line)
    assert {name: len(lines) for name, lines in counts.items()} == {
        "load Completed": 4,
        "load Cached": 3,
        "later Completed": 3,
        "later Cached": 3,
    }
    assert not (service.home / "client" / "results").exists()


TRANSACTIONS = """
    import asyncio
    from flowspan import flow, task
    from flowspan.transactions import atransaction, transaction

    undone = []

    @task(persist_result=True)
    def step(name):
        return name

    @step.on_rollback
    def undo(txn):
        undone.append(txn.key is not None)

    @task(on_rollback=[undo])
    async def later(name):
        return name

    @flow
    def plain():
        with transaction():
            step("kept")
        with transaction("key") as block:
            step("a")
            with transaction():
                step.submit("b").wait()
            raise ValueError("no")

    @flow
    async def asynchronous():
        async with atransaction():
            await later("c")
            await asyncio.gather(later("d"), later("e"))
            raise ValueError("no")

    assert plain(return_state=True).is_failed()
    assert asyncio.run(asynchronous(return_state=True)).is_failed()
    assert undone == [True, True, False, False, False], undone
"""


def test_what_a_transaction_rolls_back_is_shown(service: ServiceProcess) -> None:
    run_code(TRANSACTIONS, home=service.home / "client", address=service.address)
    assert states(service) == [
        "step-0 Completed",
        "step-1 RolledBack",
        "step-2 RolledBack",
        "later-0 RolledBack",
        "later-1 RolledBack",
        "later-2 RolledBack",
    ]
    runs = {run.name: run for run in queries.task_runs(service.channel)}
    for name in ("step-1", "later-0"):
        history = queries.task_history(service.channel, runs[name].id)
        assert history == ["Pending", "Running", "Completed", "RolledBack"]
    assert not runs["step-1"].state.HasField("result")
    assert len(list((service.home / "client" / "results").iterdir())) == 1


ONE_COMPUTES = """
    import sys
    from pathlib import Path
    from flowspan import flow, task
    from flowspan.cache_policies import INPUTS
    from flowspan.locking.filesystem import FileSystemLockManager

    locks = FileSystemLockManager(Path(sys.argv[0]).parent / "locks")

    @task(cache_policy=INPUTS.configure(isolation_level="SERIALIZABLE", lock_manager=locks))
    def slow(x):
        print("computing", flush=True)
        input()
        return x

    @flow
    def needs():
        return slow(1)

    print("got", needs(), flush=True)
"""


def test_of_two_processes_one_computes(service: ServiceProcess) -> None:
    options: dict[str, Any] = {"home": service.home / "client", "address": service.address}
    with FlowProcess(ONE_COMPUTES, **options) as first:
        first.wait_for_line("computing")
        with FlowProcess(ONE_COMPUTES, **options) as killed:
            queries.wait_until(lambda: len(states(service)) == 2, "the second run to exist")
            killed.kill()
        with FlowProcess(ONE_COMPUTES, **options) as second:
            queries.wait_until(lambda: len(states(service)) == 3, "the third run to exist")
            first.say("")
            assert first.finish() == "computing\ngot 1\n"
            assert second.finish() == "got 1\n"


def test_a_lock_ends_with_its_holder(service: ServiceProcess) -> None:
    options: dict[str, Any] = {"home": service.home / "client", "address": service.address}
    with FlowProcess(ONE_COMPUTES, **options) as first:
        first.wait_for_line("computing")
        with FlowProcess(ONE_COMPUTES, **options) as second:
            queries.wait_until(lambda: len(states(service)) == 2, "the second run to exist")
            first.kill()
            second.wait_for_line("computing")
            second.say("")
            assert "got 1" in second.finish()
