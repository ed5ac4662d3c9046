"""Traces tell waiting from work: each place where a run exists and its code does not run yet."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import run_code
from tests.support.otlp import OtlpReceiver, ReceivedSpan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

OWN_PROVIDER = """
    import os
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=os.environ["MINE"])))
    trace.set_tracer_provider(provider)
"""
FLOWSPANS_PROVIDER = """
    import os
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = os.environ["MINE"]
"""


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(params=[FLOWSPANS_PROVIDER, OWN_PROVIDER], ids=["fast", "own provider"])
def provider(request: pytest.FixtureRequest) -> str:
    """Return the first lines of a program: with flowspan's provider, or one of its own."""
    return request.param


def seconds(span: ReceivedSpan) -> float:
    return (span.end_ns - span.start_ns) / 1e9


def waits_of(receiver: OtlpReceiver, run: ReceivedSpan) -> list[str | None]:
    """Return the reasons of the waits of a run, in order; check that they lie within it."""
    found = [span for span in receiver.named("waiting") if span.parent_id == run.span_id]
    for span in found:
        assert run.start_ns <= span.start_ns < span.end_ns <= run.end_ns
        assert seconds(span) >= 0.01
    for before, after in pairwise(found):
        assert before.end_ns <= after.start_ns
    return [span.attributes.get("flowspan.wait.reason") for span in found]


def test_the_start_of_a_worker_process_is_no_work(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    code = (
        provider
        + """
    import time
    from flowspan import flow, get_client, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def nap(number):
        time.sleep(0.05)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def parallel():
        nap.map([1, 2]).wait()

    parallel()
    """
    )
    env = {"MINE": receiver.endpoint}
    run_code(code, home=flowspan_home, address=service.address, env=env)

    first, second = receiver.named("nap")
    assert seconds(first) > 0.15, "a worker process takes long to start"
    assert waits_of(receiver, first) == ["process"]
    assert waits_of(receiver, second) == ["process"], "the only worker was busy"
    for span in (first, second):
        (wait,) = [each for each in receiver.named("waiting") if each.parent_id == span.span_id]
        queued_s = span.attributes["flowspan.queued_s"]
        assert queued_s == pytest.approx((wait.end_ns - span.start_ns) / 1e9, abs=1e-6)
        assert span.attributes["flowspan.run_s"] == pytest.approx(seconds(span) - queued_s)
        assert span.attributes["flowspan.run_s"] >= 0.05
        assert [name for name, _, _ in span.events] == ["flowspan.running"]


def test_inputs_and_then_a_thread(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    code = (
        provider
        + """
    import time
    from flowspan import flow, task
    from flowspan.task_runners import ThreadPoolTaskRunner

    @task
    def slow(number):
        time.sleep(0.1)
        return number

    @task
    def add(number):
        return number + 1

    @task
    async def add_later(number):
        return number + 1

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def narrow():
        first, second = slow.map([1, 2])
        third = add.submit(first)
        last = add_later.submit(second)
        return third.result() + last.result()

    assert narrow() == 5
    """
    )
    run_code(code, home=flowspan_home, address=service.address, env={"MINE": receiver.endpoint})

    first, second = receiver.named("slow")
    assert set(waits_of(receiver, first)) <= {"thread"}, "at most a moment, on a busy machine"
    assert waits_of(receiver, second) == ["thread"]
    assert waits_of(receiver, receiver.one("add")) == ["input", "thread"]
    # Its thread is new, and may take a while to start.
    assert waits_of(receiver, receiver.one("add_later"))[0] == "input"


def test_the_delay_of_a_retry_and_the_lock_of_a_result(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    code = (
        provider
        + """
    import time
    from flowspan import flow, task
    from flowspan.cache_policies import INPUTS
    from flowspan.locking.memory import MemoryLockManager
    from flowspan.transactions import IsolationLevel

    locked = INPUTS.configure(
        isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=MemoryLockManager()
    )

    @task(cache_policy=locked, persist_result=True)
    def compute(number):
        time.sleep(0.3)
        return number

    calls = []

    @task(retries=1, retry_delay_seconds=0.1)
    def flaky():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")

    @task(retries=1, retry_delay_seconds=0.1)
    async def flaky_later(calls=[]):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")

    @flow
    async def inner():
        await flaky_later()

    @flow
    def outer():
        futures = compute.map([1, 1])
        flaky()
        futures.wait()

    outer()
    import asyncio
    asyncio.run(inner())
    """
    )
    run_code(code, home=flowspan_home, address=service.address, env={"MINE": receiver.endpoint})

    assert waits_of(receiver, receiver.one("flaky")) == ["retry"]
    assert waits_of(receiver, receiver.one("flaky_later")) == ["retry"]
    computed = {span.attributes["flowspan.state.name"]: span for span in receiver.named("compute")}
    assert "lock" in waits_of(receiver, computed["Cached"])
    assert "lock" not in waits_of(receiver, computed["Completed"])


def test_runs_that_never_begin_show_what_they_waited_for(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    code = (
        provider
        + """
    import time
    from flowspan import flow, task

    @task
    def slow():
        time.sleep(0.1)
        raise ValueError("no")

    @task
    def add(number):
        return number + 1

    @flow
    def failing():
        future = add.submit(slow.submit())
        future.wait()
        return 1

    failing()
    """
    )
    run_code(code, home=flowspan_home, address=service.address, env={"MINE": receiver.endpoint})

    add = receiver.one("add")
    assert add.attributes["flowspan.state.name"] == "NotReady"
    # On a busy machine, the run may wait for a thread as well, which learns of the failure.
    assert waits_of(receiver, add) in (["input"], ["input", "thread"])


def test_a_task_that_is_called_waits_for_nothing(
    service: ServiceProcess, receiver: OtlpReceiver, flowspan_home: Path, provider: str
) -> None:
    code = (
        provider
        + """
    from flowspan import flow, task

    @task
    def add(number):
        return number + 1

    @task
    def count():
        yield from range(3)

    @flow
    def inner():
        return add(1)

    @flow
    def outer():
        return add(inner()) + sum(count())

    outer()
    """
    )
    run_code(code, home=flowspan_home, address=service.address, env={"MINE": receiver.endpoint})
    runs = [span for span in receiver.spans if span.name in ("add", "count", "inner")]
    assert len(runs) == 4
    assert [waits_of(receiver, span) for span in runs] == [[]] * 4
