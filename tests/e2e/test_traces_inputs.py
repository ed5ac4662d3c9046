"""Traces from the outside: inputs of runs, and cached and rolled-back runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code
from tests.support.otlp import ERROR, OtlpReceiver, ReceivedSpan

from flowspan import get_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def endpoint_of(receiver: OtlpReceiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}


PLAIN_INPUTS = """
    from flowspan import flow, task
    from flowspan.artifacts import create_link_artifact

    calls = []

    @task(retries=1)
    def load(day):
        calls.append(day)
        if len(calls) == 1:
            raise ConnectionError("not yet")
        return day

    @task
    def total(days, floor=0):
        create_link_artifact("https://x/y", key="total")
        return sum(days)

    @flow
    def report():
        first = load(1, return_state=True)
        others = load.map([2, 3])
        submitted = total.submit([first, *others], wait_for=[first])
        total([1], floor=submitted)

    report()
"""

LATER_INPUTS = """
    import asyncio
    from flowspan import flow, task
    from flowspan.artifacts import acreate_link_artifact

    calls = []

    @task(retries=1)
    async def load(day):
        calls.append(day)
        if len(calls) == 1:
            raise ConnectionError("not yet")
        return day

    @task
    async def total(days, floor=0):
        await acreate_link_artifact("https://x/y", key="total")
        return sum(days)

    @flow
    async def report():
        first = await load(1, return_state=True)
        others = load.map([2, 3])
        submitted = total.submit([first, *others], wait_for=[first])
        await total([1], floor=submitted)

    asyncio.run(report())
"""


IN_PROCESSES = """
    from flowspan.task_runners import ProcessPoolTaskRunner
""" + PLAIN_INPUTS.replace("@flow", "@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))")


@pytest.mark.parametrize(
    "code", [PLAIN_INPUTS, LATER_INPUTS, IN_PROCESSES], ids=["plain", "async", "processes"]
)
def test_a_task_links_to_those_whose_results_it_takes(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, code: str
) -> None:
    run_code(code, home=flowspan_home, address=service.address, env=endpoint_of(receiver))

    report = receiver.one("report")
    loads = {span.attributes["flowspan.run.name"]: span for span in receiver.named("load")}
    totals = {span.attributes["flowspan.run.name"]: span for span in receiver.named("total")}
    assert {span.parent_id for span in (*loads.values(), *totals.values())} == {report.span_id}
    indexes = {name: span.attributes.get("flowspan.map.index") for name, span in loads.items()}
    assert indexes == {"load-0": None, "load-1": 0, "load-2": 1}

    def link(span: ReceivedSpan, name: str) -> tuple[str, dict[str, str]]:
        return span.span_id, {"flowspan.input.name": name, "flowspan.run.id": span.run_id}

    taken = [link(loads[f"load-{number}"], "days") for number in range(3)]
    assert totals["total-0"].links == [*taken, link(loads["load-0"], "wait_for")]
    assert totals["total-1"].links == [link(totals["total-0"], "floor")]
    assert loads["load-0"].attributes["flowspan.attempts"] == 2
    assert report.links == []

    with get_client(sync_client=True, address=service.address) as client:
        made = {str(each.run_id): str(each.id) for each in client.read_artifacts()}
    for span in totals.values():  # Also if the task ran in another process.
        (event,) = [about for name, _, about in span.events if name == "flowspan.artifact"]
        assert event == {
            "flowspan.artifact.id": made[span.run_id],
            "flowspan.artifact.type": "link",
            "flowspan.artifact.key": "total",
        }


KEPT = """
    from flowspan import flow, task
    from flowspan.cache_policies import INPUTS

    @task(cache_policy=INPUTS)
    def load(day):
        return {"day": day}

    @task
    def book(seat):
        return seat

    @book.on_rollback
    def cancel(transaction):
        pass

    @task
    def travel(days):
        book(12)
        raise ValueError("no train")

    @flow
    def plan():
        load(1)
        travel(load.submit(1), return_state=True)

    plan()
"""

LATER_KEPT = """
    import asyncio
    from flowspan import flow, task
    from flowspan.cache_policies import INPUTS

    @task(cache_policy=INPUTS)
    async def load(day):
        return {"day": day}

    @task
    async def book(seat):
        return seat

    @book.on_rollback
    async def cancel(transaction):
        pass

    @task
    async def travel(days):
        await book(12)
        raise ValueError("no train")

    @flow
    async def plan():
        await load(1)
        await travel(load.submit(1), return_state=True)

    asyncio.run(plan())
"""


@pytest.mark.parametrize("code", [KEPT, LATER_KEPT], ids=["plain", "async"])
def test_cached_and_rolled_back_tasks(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, code: str
) -> None:
    run_code(code, home=flowspan_home, address=service.address, env=endpoint_of(receiver))

    loaded, cached = receiver.named("load")
    names = [span.attributes["flowspan.state.name"] for span in (loaded, cached)]
    assert names == ["Completed", "Cached"]
    assert (cached.status, cached.attributes["flowspan.attempts"]) == (0, 0)
    assert "flowspan.cached" in [name for name, _, _ in cached.events]
    travel, book = receiver.one("travel"), receiver.one("book")
    assert travel.status == ERROR
    assert [span_id for span_id, _ in travel.links] == [cached.span_id]

    rollback = receiver.one("book rollback")
    assert rollback.parent_id == book.span_id
    assert rollback.attributes["flowspan.state.name"] == "RolledBack"
    assert [name for name, _, _ in rollback.events] == ["flowspan.rolled_back"]
    assert book.attributes["flowspan.state.name"] == "Completed"
    assert (book.status, rollback.status) == (0, 0)


def test_parameters_are_attributes_on_request(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path
) -> None:
    """Of flows and tasks, with futures and in worker processes; secrets are not shown."""
    code = """
        from flowspan import flow, task
        from flowspan.task_runners import ProcessPoolTaskRunner

        @task
        def load(day, token):
            return [day] * 300

        @task
        def inner(rows, limit=3):
            pass

        @task
        def store(rows, options):
            inner(rows)

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def nightly(day: str, api_key: str, n: int = 3):
            store.submit(load.submit(day, token="t0ps3cret"), {"password": "t0ps3cret"}).wait()

        nightly("monday", "t0ps3cret")
    """
    env = {**endpoint_of(receiver), "FLOWSPAN_TRACE_PARAMETERS": "true"}
    run_code(code, home=flowspan_home, address=service.address, env=env)

    def shown(name: str) -> dict[str, str]:
        prefix = "flowspan.parameter."
        attributes = receiver.one(name).attributes
        return {
            key.removeprefix(prefix): value
            for key, value in attributes.items()
            if key.startswith(prefix)
        }

    assert shown("nightly") == {"day": "monday", "api_key": "[redacted]", "n": "3"}
    assert shown("load") == {"day": "monday", "token": "[redacted]"}
    assert shown("store") == {
        "rows": "<result of load-0>",
        "options": '{"password":"[redacted]"}',
    }
    assert shown("inner")["rows"].startswith('["monday","monday"')
    assert not [span for span in receiver.all_spans if "t0ps3cret" in str(span)]
    receiver.spans.clear()
    receiver.all_spans.clear()
    run_code(code, home=flowspan_home, address=service.address, env=endpoint_of(receiver))
    assert shown("nightly") == shown("load") == {}
