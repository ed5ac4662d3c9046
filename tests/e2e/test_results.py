"""Results that are stored, cached and kept, as a real service tells of them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.support import queries
from tests.support.cli import flowspan
from tests.support.flows import run_code

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
    assert again.splitlines() == ["computed later 1"]  # the memory is another process's

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
