"""Retries of flows and tasks, sync and async, as a real service stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support import run_queries as queries
from tests.support.reported_program import Told, told

from flowspan.v1 import (
    flow_run_service_pb2,
    flow_run_service_pb2_grpc,
    state_pb2,
    task_run_service_pb2,
    task_run_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc
    from tests.support.flow_processes import FlowProcess

PROGRAM = """
    import asyncio, os, threading, time
    from contextlib import suppress
    from flowspan import flow, get_run_logger, runtime, task
    from flowspan.states import Crashed, Failed
    from flowspan.task_runners import ProcessPoolTaskRunner
    from flowspan.tasks import exponential_backoff

    class WorkerGoneError(BaseException):
        pass

    def attempt():
        return runtime.task_run.run_count or runtime.flow_run.run_count

    @task
    def part(n):
        if n < 0:
            raise ValueError("negative")
        return n

    def fails_twice():
        if attempt() < 3:
            raise ConnectionError("not yet")
        return "done"

    def always_fails():
        raise ValueError("no")

    def returns_failed():
        return "done" if attempt() > 1 else Failed(message="not yet")

    def returns_failed_tasks():
        return [part.submit(1 if attempt() > 1 else -1), part.submit(2)]

    def crashes():
        if attempt() == 1:
            raise WorkerGoneError("gone")
        return part(2)

    def returns_crashed():
        return "done" if attempt() > 1 else Crashed(message="gone")

    def leaves():
        raise SystemExit(3)

    def only_first(definition, run, state):
        get_run_logger().info("asked: %s, attempt %s", state.name, run.run_count)
        return run.run_count == 1

    async def only_first_later(definition, run, state):
        await asyncio.sleep(0)
        return only_first(definition, run, state)

    def raises(*_):
        raise RuntimeError("the condition is broken")

    yes = lambda *_: True

    cases = {
        "at-once": (fails_twice, dict(retries=2)),
        "number": (fails_twice, dict(retries=2, retry_delay_seconds=0.01)),
        "list": (fails_twice, dict(retries=5, retry_delay_seconds=[0.01, 0.02])),
        "short-list": (fails_twice, dict(retries=5, retry_delay_seconds=[0.01])),
        "backoff": (fails_twice, dict(retries=2, retry_delay_seconds=exponential_backoff(0.01))),
        "callable": (fails_twice, dict(retries=2, retry_delay_seconds=lambda n: [n / 100])),
        "jitter": (
            fails_twice, dict(retries=2, retry_delay_seconds=0.01, retry_jitter_factor=1.0)
        ),
        "exhausted": (always_fails, dict(retries=1)),
        "condition": (always_fails, dict(retries=5, retry_condition_fn=only_first)),
        "condition-later": (always_fails, dict(retries=5, retry_condition_fn=only_first_later)),
        "condition-broken": (always_fails, dict(retries=5, retry_condition_fn=raises)),
        "returned": (returns_failed, dict(retries=1)),
        "returned-tasks": (returns_failed_tasks, dict(retries=1)),
        "crashed": (crashes, dict(retries=1, retry_condition_fn=yes)),
        "crashed-delay": (
            crashes, dict(retries=1, retry_condition_fn=yes, retry_delay_seconds=0.001)
        ),
        "returned-crashed": (returns_crashed, dict(retries=1, retry_condition_fn=yes)),
        "crashed-no-condition": (crashes, dict(retries=1)),
        "left": (leaves, dict(retries=1, retry_condition_fn=yes)),
    }

    def call(it):
        with suppress(BaseException):  # the test reads the end from the service
            outcome = it()
            return asyncio.run(outcome) if asyncio.iscoroutine(outcome) else outcome

    for name, (body, options) in cases.items():
        def plain(body=body):
            return body()

        async def later(body=body):
            await asyncio.sleep(0)
            return body()

        for what in (flow, task):
            for kind, function in (("plain", plain), ("async", later)):
                label = f"{name}-{what.__name__}-{kind}"
                extra = {"validate_parameters": False} if what is flow else {}
                call(what(name=label, **options, **extra)(function))

    # Deadlines: the first attempt never ends, the second gets the full timeout again.
    def slow_once():
        if attempt() == 1:
            time.sleep(600)

    async def slow_once_later():
        if attempt() == 1:
            await asyncio.sleep(600)

    def slow(what, kind, function):
        return what(name=f"slow-{what.__name__}-{kind}", retries=1, timeout_seconds=1)(function)

    async def both_later():
        await asyncio.gather(*(slow(what, "async", slow_once_later)() for what in (flow, task)))

    # Concurrently, in the main thread and in others.
    threads = [
        threading.Thread(target=slow(task, "plain", slow_once)),
        threading.Thread(target=lambda: asyncio.run(both_later())),
    ]
    for thread in threads:
        thread.start()
    slow(flow, "plain", slow_once)()
    for thread in threads:
        thread.join()

    # Submitted and mapped.
    @task(retries=1, retry_delay_seconds=0.001)
    def flaky(n):
        if attempt() == 1:
            raise ValueError(n)
        return n

    @task(retries=1, retry_delay_seconds=0.001)
    async def flaky_later(n):
        if attempt() == 1:
            raise ValueError(n)
        return n

    @flow
    def maps():
        return [flaky.map([1, 2]).result(), flaky_later.map([3, 4]).result()]

    assert maps() == [[1, 2], [3, 4]]

    # In a worker process that dies.
    def is_crash(task, run, state):
        return state.is_crashed()

    def note(task, run, state):
        get_run_logger().info("hook: %s, in %s", state.name, os.getpid() == main)

    main = os.getpid()

    @task(retries=1, retry_condition_fn=is_crash, on_running=[note], on_completion=[note])
    def dies():
        if attempt() == 1:
            os._exit(3)
        return "alive"

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def in_processes():
        return dies.submit().result()

    assert in_processes() == "alive"

    # Cancelled while waiting for the next attempt.
    async def always_fails_later():
        raise ValueError("no")

    options = dict(retries=3, retry_delay_seconds=600)
    call(flow(name="stopped-plain", **options)(always_fails))
    call(flow(name="stopped-async", **options)(always_fails_later))
"""


def cancel_waiting(channel: grpc.Channel, process: FlowProcess) -> None:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(channel)
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="by the test")
    for name in ("stopped-plain", "stopped-async"):

        def waiting(name: str = name) -> str:
            assert process.process.poll() is None, process.errors
            runs = [run for run in queries.flow_runs(channel) if run.flow_name == name]
            return runs[0].id if runs and runs[0].state.name == "AwaitingRetry" else ""

        run_id = queries.wait_until(waiting, name)
        stub.SetFlowRunState(flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("retries")
    with told(PROGRAM, folder=folder, meanwhile=cancel_waiting) as program:
        yield program


KINDS = pytest.mark.parametrize("kind", ["plain", "async"])
WHAT = pytest.mark.parametrize("what", ["flow", "task"])


def run_of(program: Told, label: str, what: str, kind: str) -> Any:
    name = f"{label}-{what}-{kind}"
    return program.flow(name) if what == "flow" else program.task(name)


def transitions(program: Told, run: Any, what: str) -> list[Any]:
    if what == "flow":
        flows = flow_run_service_pb2_grpc.FlowRunServiceStub(program.channel)
        request = flow_run_service_pb2.ListFlowRunTransitionsRequest(id=run.id)
        return list(flows.ListFlowRunTransitions(request).transitions)
    tasks = task_run_service_pb2_grpc.TaskRunServiceStub(program.channel)
    request = task_run_service_pb2.ListTaskRunTransitionsRequest(id=run.id)
    return list(tasks.ListTaskRunTransitions(request).transitions)


def delays_ms(program: Told, run: Any, what: str) -> list[float]:
    """Return the announced delay of each AwaitingRetry, in milliseconds."""
    waits = [each for each in transitions(program, run, what) if each.state.name == "AwaitingRetry"]
    return [
        (each.state.scheduled_time.ToNanoseconds() - each.state.time.ToNanoseconds()) / 1e6
        for each in waits
    ]


@KINDS
@WHAT
def test_without_a_delay_the_next_attempt_begins_at_once(
    program: Told, what: str, kind: str
) -> None:
    run = run_of(program, "at-once", what, kind)
    assert program.history(run) == ["Running", "Retrying", "Retrying", "Completed"]
    assert run.attempt == 3
    attempts = [each.attempt for each in transitions(program, run, what)]
    assert attempts == [1, 1, 2, 3, 3]


@KINDS
@WHAT
@pytest.mark.parametrize(
    ("label", "delays"),
    [
        ("number", [10, 10]),
        ("list", [10, 20]),
        ("short-list", [10, 10]),
        ("backoff", [10, 20]),
        ("callable", [20, 20]),
    ],
)
def test_with_a_delay_it_waits_for_it(
    program: Told, what: str, kind: str, label: str, delays: list[float]
) -> None:
    run = run_of(program, label, what, kind)
    assert program.history(run) == [
        "Running",
        "AwaitingRetry",
        "Retrying",
        "AwaitingRetry",
        "Retrying",
        "Completed",
    ]
    assert delays_ms(program, run, what) == pytest.approx(delays, abs=0.01)
    by_name = {each.state.name: each for each in transitions(program, run, what)}
    assert by_name["AwaitingRetry"].state.message == "ConnectionError: not yet"
    assert by_name["Retrying"].state.message == "ConnectionError: not yet"
    times = [each.state.time.ToNanoseconds() for each in transitions(program, run, what)]
    assert times[3] - times[2] >= delays[0] * 0.99e6


@KINDS
@WHAT
def test_jitter_lets_delays_grow_at_most_by_its_factor(program: Told, what: str, kind: str) -> None:
    delays = delays_ms(program, run_of(program, "jitter", what, kind), what)
    assert len(delays) == 2
    assert all(10 <= delay <= 20.01 for delay in delays)


def test_jitter_is_random(program: Told) -> None:
    delays = [
        delay
        for what in ("flow", "task")
        for kind in ("plain", "async")
        for delay in delays_ms(program, run_of(program, "jitter", what, kind), what)
    ]
    assert len(set(delays)) > 1


@KINDS
@WHAT
def test_after_the_last_attempt_it_has_failed(program: Told, what: str, kind: str) -> None:
    run = run_of(program, "exhausted", what, kind)
    assert program.history(run) == ["Running", "Retrying", "Failed"]
    assert run.state.failure.type == "ValueError"


@KINDS
@WHAT
@pytest.mark.parametrize("label", ["condition", "condition-later"])
def test_the_condition_is_asked_each_time(program: Told, what: str, kind: str, label: str) -> None:
    run = run_of(program, label, what, kind)
    assert program.history(run) == ["Running", "Retrying", "Failed"]
    asked = [text for text in program.logs(run) if text.startswith("asked")]
    assert asked == ["asked: Failed, attempt 1", "asked: Failed, attempt 2"]


@KINDS
@WHAT
def test_a_condition_that_raises_ends_the_retries(program: Told, what: str, kind: str) -> None:
    run = run_of(program, "condition-broken", what, kind)
    assert program.history(run) == ["Running", "Failed"]
    assert run.state.message == "ValueError: no"
    assert any("the condition is broken" in text for text in program.logs(run))


@KINDS
@WHAT
def test_a_returned_failed_state_is_retried(program: Told, what: str, kind: str) -> None:
    run = run_of(program, "returned", what, kind)
    assert program.history(run) == ["Running", "Retrying", "Completed"]


@KINDS
def test_a_flow_that_returns_failed_tasks_is_retried(program: Told, kind: str) -> None:
    run = run_of(program, "returned-tasks", "flow", kind)
    assert program.history(run) == ["Running", "Retrying", "Completed"]
    assert len(program.children(run)) == 4


@KINDS
@WHAT
@pytest.mark.parametrize("label", ["crashed", "returned-crashed"])
def test_a_crash_is_retried_where_the_condition_says_so(
    program: Told, what: str, kind: str, label: str
) -> None:
    run = run_of(program, label, what, kind)
    assert program.history(run) == ["Running", "Retrying", "Completed"]
    waited = run_of(program, "crashed-delay", what, kind)
    assert program.history(waited) == ["Running", "AwaitingRetry", "Retrying", "Completed"]


def test_a_task_whose_worker_process_died_is_retried_where_the_condition_says_so(
    program: Told,
) -> None:
    """The condition and the hooks are called in the process of the flow."""
    run = program.task("dies")
    assert program.history(run) == ["Running", "Retrying", "Completed"]
    hooks = [text for text in program.logs(run) if text.startswith("hook")]
    assert hooks == [f"hook: {name}, in True" for name in ("Running", "Retrying", "Completed")]


@KINDS
@WHAT
@pytest.mark.parametrize("label", ["crashed-no-condition", "left"])
def test_other_crashes_are_not(program: Told, what: str, kind: str, label: str) -> None:
    assert program.history(run_of(program, label, what, kind)) == ["Running", "Crashed"]


@KINDS
@WHAT
def test_each_attempt_has_the_whole_time(program: Told, what: str, kind: str) -> None:
    run = run_of(program, "slow", what, kind)
    assert program.history(run) == ["Running", "Retrying", "Completed"]
    by_name = {each.state.name: each.state for each in transitions(program, run, what)}
    assert "exceeded its timeout" in by_name["Retrying"].message


@pytest.mark.parametrize("name", ["flaky", "flaky_later"])
def test_submitted_tasks_are_retried(program: Told, name: str) -> None:
    runs = [run for run in program.tasks if run.task_name == name]
    assert [program.history(run) for run in runs] == [
        ["Running", "AwaitingRetry", "Retrying", "Completed"]
    ] * 2


@KINDS
def test_a_run_that_waits_for_its_retry_can_be_cancelled(program: Told, kind: str) -> None:
    run = program.flow(f"stopped-{kind}")
    assert program.history(run) == ["Running", "AwaitingRetry", "Cancelling", "Cancelled"]
