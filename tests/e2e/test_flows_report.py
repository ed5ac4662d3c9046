"""Events of flows and tasks arrive at a real service as reported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support import run_queries as queries
from tests.support.flow_processes import FlowProcess, run_code

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

BOTH_KINDS = """
    import asyncio, logging
    from flowspan import flow, get_run_logger, tags, task

    attempts = 0

    @task(tags=["io"], retries=2, retry_delay_seconds=0.01)
    def flaky(x: int) -> int:
        global attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("not yet")
        logging.getLogger("mine").warning("attempt two")
        return x

    @task
    async def later(x: int) -> int:
        return x

    @task
    def bad():
        raise ValueError("bad data")

    @flow(log_prints=True)
    def inner(x: int):
        print("printed", x)
        return flaky(x)

    @flow(flow_run_name="day-{day}")
    async def outer(day: str, thing=print):
        get_run_logger().info("begins")
        with tags("nested"):
            inner("5")
        futures = later.map(range(3))
        after_bad = later.submit(bad.submit())
        after_bad.wait()
        return [future.result() for future in futures]

    assert asyncio.run(outer("monday")) == [0, 1, 2]
"""


def by_name(runs: list[Any], attribute: str) -> dict[str, Any]:
    return {getattr(run, attribute): run for run in runs}


def test_a_tree_of_both_kinds(service: ServiceProcess) -> None:
    run_code(BOTH_KINDS, home=service.home / "client", address=service.address)
    flows = by_name(queries.flow_runs(service.channel), "flow_name")
    tasks = by_name(queries.task_runs(service.channel), "name")
    assert set(flows) == {"outer", "inner"}
    assert set(tasks) == {"flaky-0", "later-0", "later-1", "later-2", "later-3", "bad-0"}

    outer, inner = flows["outer"], flows["inner"]
    assert outer.name == "day-monday"
    parameters = json.loads(outer.parameters.data)
    assert parameters["day"] == "monday"
    assert "$unserializable" in parameters["thing"]
    assert json.loads(inner.parameters.data) == {"x": 5}
    assert (inner.parent_run_id, inner.root_run_id) == (outer.id, outer.id)
    assert list(inner.tags) == ["nested"]
    assert tasks["flaky-0"].flow_run_id == inner.id
    assert list(tasks["flaky-0"].tags) == ["io", "nested"]
    assert tasks["flaky-0"].attempt == 2
    assert queries.task_history(service.channel, tasks["flaky-0"].id) == [
        "Pending",
        "Running",
        "AwaitingRetry",
        "Retrying",
        "Completed",
    ]
    failure = tasks["bad-0"].state.failure
    assert (failure.type, failure.message) == ("ValueError", "bad data")
    assert tasks["later-3"].state.name == "NotReady"
    assert queries.flow_history(service.channel, outer.id) == ["Pending", "Running", "Completed"]

    logs = list(queries.logs(service.channel, outer.id, descendants=True))
    texts = {log.message for log in logs}
    assert {"begins", "printed 5", "attempt two"} <= texts
    assert any(text.startswith("Parameter 'thing'") for text in texts)
    (second,) = [log for log in logs if log.message == "attempt two"]
    assert (second.run_id, second.attempt, second.logger) == (tasks["flaky-0"].id, 2, "mine")


def test_promise_a_failure_comes_with_its_cause_and_the_process_fails(
    service: ServiceProcess,
) -> None:
    code = """
        from flowspan import flow

        @flow
        def outer():
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise KeyError("k") from error

        outer()
    """
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        process.finish(expected_code=1)
    assert "KeyError: 'k'" in process.errors
    (run,) = queries.flow_runs(service.channel)
    assert run.state.failure.type == "KeyError"
    assert run.state.failure.cause.type == "ZeroDivisionError"
    assert "in outer" in run.state.failure.stack_trace


def cancel(service: ServiceProcess, run_id: str) -> None:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="by the test")
    stub.SetFlowRunState(flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state))


def running(service: ServiceProcess, count: int) -> Any:
    """Return the flow run of this number once it runs; or None."""
    runs = queries.flow_runs(service.channel)
    is_there = len(runs) == count and runs[-1].state.name == "Running"
    return runs[-1] if is_there else None


def test_promise_a_run_is_cancelled_from_outside(service: ServiceProcess) -> None:
    code = """
        import asyncio, time
        from flowspan import flow, task

        @task
        def step():
            time.sleep(0.01)

        @task(retries=5, retry_delay_seconds=600)
        def waits():
            raise ValueError

        @flow
        def busy():
            while True:
                step()

        @flow
        def asleep():
            waits()

        @flow
        async def later():
            await asyncio.gather(asyncio.sleep(600), asyncio.sleep(600))

        for function in (busy, asleep, lambda **options: asyncio.run(later(**options))):
            print("ended", function(return_state=True), flush=True)
    """
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        for count in (1, 2, 3):
            run = queries.wait_until(lambda count=count: running(service, count), "the run")
            cancel(service, run.id)
            assert "Cancelled" in process.wait_for_line("ended")
        process.finish()
    for run in queries.flow_runs(service.channel):
        assert run.state.type == state_pb2.STATE_TYPE_CANCELLED
        history = queries.flow_history(service.channel, run.id)
        assert history == ["Pending", "Running", "Cancelling", "Cancelled"]


def test_ctrl_c_is_a_crash_that_the_client_reports_itself(service: ServiceProcess) -> None:
    code = """
        import os, signal
        from flowspan import flow, task

        @task
        def interrupted():
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()

        @flow
        def outer():
            interrupted()

        outer()
    """
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        process.finish(expected_code=None)
    assert process.process.returncode != 0
    (flow_run,) = queries.flow_runs(service.channel)
    (task_run,) = queries.task_runs(service.channel)
    for run in (flow_run, task_run):
        assert run.state.name == "Crashed"
        assert "keyboard" in run.state.message


def test_submitted_outside_of_flows_is_there_after_the_process(service: ServiceProcess) -> None:
    code = """
        import asyncio, time
        from flowspan import task

        @task
        def slow(x):
            time.sleep(0.2)

        @task
        async def slow_later(x):
            await asyncio.sleep(0.2)

        slow.map(range(3))
        slow_later.map(range(3))
    """
    run_code(code, home=service.home / "client", address=service.address)
    runs = queries.task_runs(service.channel)
    assert [run.state.name for run in runs] == ["Completed"] * 6
