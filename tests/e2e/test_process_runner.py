"""Tasks in worker processes report to a real service like tasks in threads."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.support import run_queries as queries
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.otlp import OtlpReceiver

from flowspan.v1 import flow_run_service_pb2, flow_run_service_pb2_grpc, state_pb2

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

TREE = """
    import logging, os, sys
    from flowspan import flow, get_run_logger, runtime, tags, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    print("the main module runs in", os.getpid(), file=sys.stderr)

    class Point:
        def __init__(self, x):
            self.x = x

    @task
    def leaf(x):
        return x + OFFSET

    @task
    async def soon(x):
        return x

    @flow
    def branch(x: int):
        logging.getLogger("mine").warning("in the branch")
        return leaf(x) + leaf.submit(0).result()

    @task(tags=["outer"], retries=1)
    def plain(point, parent_id):
        assert os.getppid() == parent_id
        attempt = runtime.task_run.run_count
        get_run_logger().info("attempt %d of %s", attempt, runtime.task_run.name)
        if attempt == 1:
            raise ConnectionError("not yet")
        print("printed by", runtime.flow_run.name, runtime.flow_run.parameters["size"])
        return Point(branch(str(point.x)))

    @task
    async def awaiting(x, parent_id):
        assert os.getppid() == parent_id
        value = await soon(x)
        return value + branch(5) + (await soon.submit(1))

    @flow(flow_run_name="top", task_runner=ProcessPoolTaskRunner(max_workers=2), log_prints=True)
    def top(size: int):
        pid = os.getpid()
        with tags("around"):
            first = plain.submit(Point(size), pid)
        second = awaiting.submit(7, pid)
        third = task(lambda point, n: (type(point) is Point, point.x, n), name="third")
        return third.submit(first, second).result(), first.result().x, type(first.result()) is Point

    OFFSET = 10
    print(top(3))
"""


def by_name(runs: list[Any]) -> dict[str, Any]:
    return {run.name: run for run in runs}


def test_promise_a_tree_across_processes_is_one_tree(service: ServiceProcess) -> None:
    with OtlpReceiver() as spans:
        env = {"FLOWSPAN_OTLP_ENDPOINT": f"http://127.0.0.1:{spans.port}"}
        home = service.home / "client"
        with FlowProcess(TREE, home=home, address=service.address, env=env) as process:
            output = process.finish()
        assert "((True, 23, 33), 23, True)" in output
        assert process.errors.count("the main module runs in") == 1

        flows = {run.id: run for run in queries.flow_runs(service.channel)}
        (top,) = [run for run in flows.values() if run.name == "top"]
        branches = [run for run in flows.values() if run.flow_name == "branch"]
        every_task = queries.task_runs(service.channel)
        tasks = by_name(every_task)
        assert len(branches) == 2
        plain, awaiting = tasks["plain-0"], tasks["awaiting-0"]
        assert {run.parent_run_id for run in branches} == {plain.id, awaiting.id}
        assert all(run.root_run_id == top.id for run in (*branches, *every_task))
        leaves = [run for run in every_task if run.name.startswith("leaf-")]
        assert len(leaves) == 4
        assert {run.flow_run_id for run in leaves} == {run.id for run in branches}
        assert list(plain.tags) == ["outer", "around"]
        (inside,) = [run for run in branches if run.parent_run_id == plain.id]
        assert list(inside.tags) == ["around"]
        history = ["Pending", "Running", "Retrying", "Completed"]
        assert queries.task_history(service.channel, plain.id) == history

        logs = list(queries.logs(service.channel, top.id, descendants=True))
        of_plain = [(log.message, log.attempt) for log in logs if log.run_id == plain.id]
        assert ("attempt 1 of plain-0", 1) in of_plain
        assert ("attempt 2 of plain-0", 2) in of_plain
        assert ("printed by top 3", 2) in of_plain
        in_branch = [log for log in logs if log.message == "in the branch"]
        assert {log.run_id for log in in_branch} == {run.id for run in branches}

        count = len(flows) + len(every_task) + 2  # And two attempts.
        spans.wait_for(lambda found: len(found) >= count, f"{count} spans")
        of_run = {span.run_id: span for span in spans.spans if span.run_id}
        by_id = {span.span_id: span for span in spans.spans}
        assert len({span.trace_id for span in spans.spans}) == 1
        for run in (*branches, *leaves):
            parent = by_id[of_run[run.id].parent_id]
            while not parent.run_id:  # Of an attempt.
                parent = by_id[parent.parent_id]
            assert parent.run_id == run.parent_run_id
        for log in in_branch:
            assert log.span_id == of_run[log.run_id].span_id


TROUBLE = """
    import asyncio, ctypes, os, signal, sys, threading, time
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    @task
    def child():
        time.sleep(600)

    @task
    def exits():
        print("on its way out", flush=True)
        exits_inside()

    @flow
    def exits_inside():
        os._exit(7)

    @task
    def is_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def faults():
        ctypes.string_at(0)

    @task(timeout_seconds=1)
    def sleeps():
        try:
            child()
        finally:
            print("cleaned up")

    @task(timeout_seconds=1)
    async def awaits():
        try:
            await asyncio.sleep(600)
        finally:
            print("cleaned up")

    @flow
    def blocks_inside():
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock

    @task(timeout_seconds=1)
    def blocks():
        blocks_inside()

    @task
    def makes():
        return threading.Lock()

    @task
    def takes(lock):
        raise AssertionError

    class Picky(Exception):
        def __init__(self, path, *, line):
            super().__init__(path)
            self.line = line

    @task
    def raises():
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise Picky("a.txt", line=3) from error

    @task
    def large(n):
        return bytes(n)

    @task
    def steady(go_on):
        while not os.path.exists(go_on):
            time.sleep(0.01)
        return os.getpid()

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2), log_prints=True)
    def trouble(path: str):
        survivor = steady.submit(path)
        pids = []
        for one in (exits, is_killed, faults, sleeps, awaits, blocks, makes, raises):
            state = one.submit(return_state=True)
            print(one.name, repr(state))
        state = takes.submit(threading.Lock(), return_state=True)
        print("takes", repr(state))
        try:
            raises.submit().result()
        except Picky as error:
            assert error.line == 3 and type(error.__cause__) is ZeroDivisionError
        assert len(large.submit(50_000_000).result()) == 50_000_000
        open(path, "w").close()
        return survivor.result()

    assert trouble(sys.argv[0] + ".go")
"""


def test_promise_a_worker_that_dies_or_hangs_takes_its_own_run_with_it_alone(
    service: ServiceProcess,
) -> None:
    with OtlpReceiver() as spans:
        env = {"FLOWSPAN_OTLP_ENDPOINT": f"http://127.0.0.1:{spans.port}"}
        home = service.home / "client"
        output = run_code(TROUBLE, home=home, address=service.address, env=env)
        lost = ("exits-inside", "blocks-inside")
        spans.wait_for(lambda _: all(name in spans.names for name in (*lost, "trouble")), "all")
    for name, caller in zip(lost, ("exits", "blocks"), strict=True):
        assert spans.one(name).is_synthetic, "a killed process leaves no hole in the trace"
        assert spans.one(name).parent_id == spans.one(caller).span_id
    said = dict(line.split(" ", 1) for line in output.splitlines() if " " in line)
    assert output.count("cleaned up") == 2
    runs = by_name(queries.task_runs(service.channel))
    ends = {name.removesuffix("-0"): run.state for name, run in runs.items()}
    for name, words in {
        "exits": "ended with exit code 7",
        "is_killed": "was ended by SIGKILL",
        "faults": "was ended by SIGSEGV",
    }.items():
        assert ends[name].type == state_pb2.STATE_TYPE_CRASHED
        assert words in ends[name].message
        assert words in said[name]
        assert ends[name].failure.type == "flowspan.exceptions.WorkerProcessDied"
    for name in ("sleeps", "awaits", "blocks"):
        assert ends[name].name == "TimedOut"
        assert ends[name].message.endswith("exceeded its timeout of 1 s.")
    assert "in sleeps" in ends["sleeps"].failure.stack_trace
    assert "of type _thread.lock" in ends["makes"].message
    assert "Task 'makes'" in ends["makes"].message
    assert "argument 'lock' (of type _thread.lock)" in ends["takes"].message
    failure = ends["raises"].failure
    assert (failure.type, failure.cause.type) == ("Picky", "ZeroDivisionError")
    assert "in raises" in failure.stack_trace
    assert ends["steady"].name == "Completed"

    flows = {run.flow_name: run for run in queries.flow_runs(service.channel)}
    assert flows["trouble"].state.name == "Completed"
    assert flows["exits-inside"].state.type == state_pb2.STATE_TYPE_CRASHED
    assert flows["blocks-inside"].state.type == state_pb2.STATE_TYPE_CANCELLED
    (child,) = [run for name, run in runs.items() if name.startswith("child-")]
    assert child.state.type == state_pb2.STATE_TYPE_CANCELLED
    logs = [log.message for log in queries.logs(service.channel, runs["blocks-0"].id)]
    assert any("was killed" in text for text in logs)
    logs = [log.message for log in queries.logs(service.channel, runs["exits-0"].id)]
    assert "on its way out" in logs


WAITING = """
    import asyncio, os, time
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    def say(line):
        os.write(1, f"{line}\\n".encode())  # one write, as two processes print

    @flow
    def inside():
        say(f"waiting {os.getpid()}")
        time.sleep(600)

    @task
    def waits():
        inside()

    @task
    async def awaits():
        say(f"waiting {os.getpid()}")
        await asyncio.sleep(600)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def outer():
        first, second = waits.submit(), awaits.submit()
        never = waits.submit()
        first.wait(), second.wait(), never.wait()

    outer()
"""


def cancel(service: ServiceProcess, run_id: str) -> None:
    stub = flow_run_service_pb2_grpc.FlowRunServiceStub(service.channel)
    state = state_pb2.State(type=state_pb2.STATE_TYPE_CANCELLING, message="by the test")
    stub.SetFlowRunState(flow_run_service_pb2.SetFlowRunStateRequest(id=run_id, state=state))


def wait_for_flow(service: ServiceProcess, name: str) -> Any:
    def found() -> Any:
        return next((r for r in queries.flow_runs(service.channel) if r.flow_name == name), None)

    return queries.wait_until(found, f"flow {name} to exist")


def wait_for_workers(process: FlowProcess) -> list[int]:
    return [int(process.wait_for_line("waiting").split()[1]) for _ in range(2)]


def is_gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_promise_cancelling_reaches_the_workers(service: ServiceProcess) -> None:
    with FlowProcess(WAITING, home=service.home / "client", address=service.address) as process:
        pids = wait_for_workers(process)
        outer = wait_for_flow(service, "outer")
        cancel(service, outer.id)
        process.finish(expected_code=1)
    assert "CancelRun: by the test" in process.errors
    for run in (*queries.flow_runs(service.channel), *queries.task_runs(service.channel)):
        assert run.state.type == state_pb2.STATE_TYPE_CANCELLED, run
    assert len(queries.task_runs(service.channel)) == 3
    for pid in pids:
        queries.wait_until(lambda pid=pid: is_gone(pid), "the end of the worker")


def test_a_nested_flow_in_a_worker_is_cancelled_alone(service: ServiceProcess) -> None:
    code = (
        WAITING.replace("first.wait(), second.wait(), never.wait()", "return first")
        .replace("first, second = waits.submit(), awaits.submit()", "first = waits.submit()")
        .replace("never = waits.submit()", "")
    )
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        process.wait_for_line("waiting")
        inside = wait_for_flow(service, "inside")
        cancel(service, inside.id)
        process.finish(expected_code=1)
    ends = {run.flow_name: run.state.name for run in queries.flow_runs(service.channel)}
    assert ends["inside"] == "Cancelled"


MANY = """
    import os, threading
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    runner = ProcessPoolTaskRunner(max_workers=1)

    @task
    def where(x):
        return x, os.getpid(), os.getppid()

    @flow(task_runner=runner)
    def shared(x: int):
        return where.map([x, x])

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def nested(x: int):
        return where.submit(x).result(), os.getpid()

    @task
    def calls_nested(x):
        return nested(x)

    @flow(task_runner=runner)
    def deep():
        return calls_nested.submit(9).result(), os.getpid()

    ends = []
    threads = [
        threading.Thread(target=lambda x=x: ends.append(shared(x, return_state=True)))
        for x in (1, 2)
    ]
    [thread.start() for thread in threads]
    (((x, pid, parent), middle), top) = deep()
    assert (x, parent) == (9, middle) and len({pid, middle, top}) == 3
    [thread.join() for thread in threads]
    results = [[state.result() for state in end.data] for end in ends]
    assert sorted({one[0] for result in results for one in result}) == [1, 2]
    workers = [{one[1] for one in result} for result in results]
    assert [len(pids) for pids in workers] == [1, 1], "used again, and one at a time"
    assert workers[0] != workers[1], "each flow run has its own"
"""


def test_flows_on_threads_and_nested_ones_have_workers_of_their_own(
    service: ServiceProcess,
) -> None:
    run_code(MANY, home=service.home / "client", address=service.address)
    flows = queries.flow_runs(service.channel)
    assert sorted(run.flow_name for run in flows) == ["deep", "nested", "shared", "shared"]
    assert {run.state.name for run in flows} == {"Completed"}
    tasks = {run.id: run for run in queries.task_runs(service.channel)}
    (deepest,) = [run for run in flows if run.flow_name == "nested"]
    assert tasks[deepest.parent_run_id].name == "calls_nested-0"
    (below,) = [run for run in tasks.values() if run.parent_run_id == deepest.id]
    assert below.state.name == "Completed"


ENDINGS = """
    import asyncio, ctypes, os, time
    from flowspan import flow, runtime, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    runner = ProcessPoolTaskRunner(max_workers=2)

    def after_a_crash(task, run, state):
        return state.is_crashed()

    @task(retries=1, retry_condition_fn=after_a_crash, task_run_name="{name}")
    def crashes_once(name, path):
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(3)
        return os.getpid()

    @task(on_failure=[lambda task, run, state: print("hook in", os.getpid())])
    def fails():
        raise ValueError("no")

    class Thing:
        pass

    @task
    async def soon(x):
        await asyncio.sleep(0)
        assert type(runtime.flow_run.parameters.get("thing")) in (Thing, type(None))
        return x

    @task
    def sleeps():
        time.sleep(600)

    @task(retries=1, retry_condition_fn=after_a_crash)
    async def crashes_once_later(path):
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(3)
        await asyncio.sleep(0)

    @task
    async def dozes(path):
        open(path, "w").close()
        await asyncio.sleep(600)

    @task(timeout_seconds=1)
    async def blocks_later():
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock, and the loop

    @flow(task_runner=runner)
    async def later(path: str):
        await crashes_once_later.submit(path)
        future = dozes.submit(path + ".begun")
        while not os.path.exists(path + ".begun"):
            await asyncio.sleep(0.005)
        assert future.cancel()
        future.wait()
        assert blocks_later.submit(return_state=True).name == "TimedOut"

    @flow(task_runner=runner)
    async def in_a_coroutine(path: str, thing: object):
        pid = await crashes_once.submit("again", path)
        assert pid != os.getpid()
        first = soon.submit(1)
        assert await soon.submit([first, 2]) == [1, 2]
        state = fails.submit(return_state=True)
        assert state.is_failed()
        return await soon.submit(3)

    @flow(task_runner=runner, timeout_seconds=0.5)
    def too_slow():
        sleeps.submit().wait()

    @flow(task_runner=runner)
    def raises():
        sleeping = sleeps.submit()
        soon.submit(1).wait()
        raise SystemExit("enough")

    print("parent", os.getpid())
    assert asyncio.run(in_a_coroutine(os.environ["FLOWSPAN_HOME"] + "/crashed", Thing())) == 3
    asyncio.run(later(os.environ["FLOWSPAN_HOME"] + "/crashed-later"))
    assert too_slow(return_state=True).name == "TimedOut"
    raises()
"""


def test_how_runs_with_workers_end(service: ServiceProcess) -> None:
    output = run_code(
        ENDINGS, home=service.home / "client", address=service.address, expected_code=1
    )
    lines = output.splitlines()
    (parent,) = [line.split()[1] for line in lines if line.startswith("parent ")]
    assert f"hook in {parent}" in lines, "hooks must run in the parent process"
    tasks = queries.task_runs(service.channel)
    (again,) = [run for run in tasks if run.name == "again"]
    history = ["Pending", "Running", "Retrying", "Completed"]
    assert queries.task_history(service.channel, again.id) == history
    (again,) = [run for run in tasks if run.task_name == "crashes_once_later"]
    assert queries.task_history(service.channel, again.id) == history
    by_task = {run.task_name: run for run in tasks}
    assert by_task["dozes"].state.message == "The future of the run was cancelled."
    assert by_task["dozes"].state.name == "Cancelled"
    assert by_task["blocks_later"].state.name == "TimedOut"
    logs = queries.logs(service.channel, by_task["blocks_later"].id)
    assert any("was killed" in log.message for log in logs)
    flows = {run.flow_name: run for run in queries.flow_runs(service.channel)}
    assert flows["in-a-coroutine"].state.name == "Completed"
    assert flows["too-slow"].state.name == "TimedOut"
    assert flows["raises"].state.type == state_pb2.STATE_TYPE_CRASHED
    sleeping = [run for run in tasks if run.name.startswith("sleeps-")]
    assert [run.state.type for run in sleeping] == [state_pb2.STATE_TYPE_CANCELLED] * 2


FORKS = """
    import os, sys
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner

    def fork(how):
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if how == "exit":
            sys.exit(3)
        if how == "raise":
            raise ValueError("in the child")

    forks = task(fork, name="forks")

    @task
    async def forks_later(how):
        return fork(how)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def forking():
        ways = ("exit", "raise", "return")
        # From Python 3.14 on, asyncio itself hangs in a child that a coroutine forked.
        kinds = (forks, forks_later) if sys.version_info < (3, 14) else (forks, forks)
        return [one.submit(how).result() for one in kinds for how in ways]

    codes = forking()
    assert codes == [3, 1, 0, 3, 1, 0], codes
"""


def test_how_a_forked_child_ends_is_not_how_its_run_ends(service: ServiceProcess) -> None:
    run_code(FORKS, home=service.home / "client", address=service.address)
    states = [run.state.name for run in queries.task_runs(service.channel)]
    assert states == ["Completed"] * 6
