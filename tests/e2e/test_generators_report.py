"""Generator functions as flows and tasks, against a real service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support import queries
from tests.support.flows import run_code

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

PLAIN = """
    from flowspan import flow, task

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
"""
ASYNC = """
    import asyncio
    from flowspan import flow, task

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
"""


@pytest.mark.parametrize("code", [PLAIN, ASYNC], ids=["plain", "async"])
def test_generators_of_both_kinds(service: ServiceProcess, code: str) -> None:
    run_code(code, home=service.home / "client", address=service.address)
    whole, early, kept = queries.flow_runs(service.channel)
    assert whole.state.name == early.state.name == kept.state.name == "Completed"
    assert early.state.message == kept.state.message == "Closed by its consumer after 1 value."
    tasks = queries.task_runs(service.channel)
    # A generator that a body has open is Python's to close: at the end of the loop it is cancelled.
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
