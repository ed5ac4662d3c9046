"""Ctrl-C and SIGTERM: the immediate output, the effect of a second signal, the stored states."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess
from tests.support.run_queries import count_task_runs, flow_runs, task_runs, wait_until

from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from tests.support.service import ServiceProcess

CANCELLED, CRASHED = state_pb2.STATE_TYPE_CANCELLED, state_pb2.STATE_TYPE_CRASHED

START = """
    import asyncio, os, select, signal, sys, threading, time
    from flowspan import flow, task
    from flowspan.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

    STUBBORN = threading.Event()

    def crashed(flow, run, state): print("hook:", state.message, flush=True)

    @task
    def stubborn(i):
        print("ready: a task", flush=True)
        STUBBORN.wait(600)

    @task
    async def later(i):
        await asyncio.sleep(600)
"""

WAYS = {
    "threads": """
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2), on_crashed=[crashed])
    def outer():
        futures = stubborn.map(range(50))
        print("ready: mapped", flush=True)
        futures.wait()
    outer()
    """,
    "async": """
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2), on_crashed=[crashed])
    async def outer():
        futures = stubborn.map(range(50))
        print("ready: mapped", flush=True)
        while True:  # a signal just before the loop sleeps is handled when it wakes up
            await asyncio.sleep(0.05)
    asyncio.run(outer())
    """,
    "nested": """
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def inner():
        futures = stubborn.map(range(50))
        print("ready: mapped", flush=True)
        futures.wait()
    @flow(on_crashed=[crashed])
    def outer(): inner()
    outer()
    """,
}
WAITS = "waits up to 5 s for 2 task runs that are still running: 'stubborn-0', 'stubborn-1'"


def begun(code: str, service: ServiceProcess) -> FlowProcess:
    process = FlowProcess(START + code, home=service.home / "client", address=service.address)
    try:
        # Both tasks that have a thread, and the code that submitted all of them. A line may mix the
        # output of two threads, because Python writes line ends separately.
        while "".join(process.lines).count("ready:") < 3:
            process.wait_for_line("ready:")
    except BaseException:
        process.end()
        raise
    return process


def wait_for_error(process: FlowProcess, text: str) -> None:
    wait_until(lambda: text in process.errors or process.process.poll() is not None, text)
    assert text in process.errors


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_it_says_what_it_waits_for_and_a_second_one_does_not_wait(
    service: ServiceProcess, way: str, number: signal.Signals
) -> None:
    with begun(WAYS[way], service) as process:
        process.send_signal(number)
        wait_for_error(process, WAITS)
        assert "Crashed" not in process.errors, "the process must still be waiting"
        process.send_signal(number)
        process.finish(expected_code=-number)
    if number == signal.SIGINT:  # A second SIGTERM ends the process on the spot.
        assert "Interrupted from the keyboard" in process.errors
        assert "48 runs in it were cancelled" in process.errors
        assert "/flowspan/" not in process.errors
        assert process.errors.rstrip().endswith("KeyboardInterrupt")
        assert {run.state.type for run in flow_runs(service.channel)} == {CRASHED}
    # Runs that had not started never do, and the service was told before the wait.
    wait_until(lambda: count_task_runs(service.channel).get(CANCELLED, 0) == 48, "the tasks' end")


@pytest.mark.parametrize("way", WAYS)
def test_sigterm_ends_the_runs_before_the_process(service: ServiceProcess, way: str) -> None:
    ending = """
    def end_soon():
        while not any("waits up to" in line for line in said): time.sleep(0.01)
        STUBBORN.set()
    said = []
    import logging
    class Keep(logging.Handler):
        def emit(self, record): said.append(record.getMessage())
    for name in ("flowspan.flow_runs",): logging.getLogger(name).addHandler(Keep())
    threading.Thread(target=end_soon, daemon=True).start()
    """
    with begun(ending + WAYS[way], service) as process:
        process.send_signal(signal.SIGTERM)
        output = process.finish(expected_code=-signal.SIGTERM)
    assert "hook: Terminated from outside (SIGTERM)." in output
    assert "Traceback" not in process.errors
    runs = flow_runs(service.channel)
    assert {run.state.type for run in runs} == {CRASHED}
    assert {run.state.message for run in runs} == {"Terminated from outside (SIGTERM)."}


BLOCKED = {
    "a sleep in a subflow": """
    @flow(on_crashed=[crashed])
    def inner(): wait(lambda: time.sleep(600))
    @flow(on_crashed=[crashed])
    def outer(): wait(inner)
    outer()
    """,
    "a native wait in a task": """
    @task
    def step(): wait(lambda: select.select([], [], [], 600))
    @flow(on_crashed=[crashed])
    def outer(): wait(step)
    outer()
    """,
    "a loop that is blocked": """
    @flow(on_crashed=[crashed])
    async def outer(): wait(lambda: time.sleep(600))
    asyncio.run(outer())
    """,
    "a loop that an awaited task blocks": """
    @task
    async def step(): wait(lambda: time.sleep(600))
    @flow(on_crashed=[crashed])
    async def outer(): await asyncio.gather(later(1), step())
    asyncio.run(outer())
    """,
}


@pytest.mark.parametrize("where", BLOCKED)
def test_sigterm_breaks_off_code_that_blocks(service: ServiceProcess, where: str) -> None:
    waiting = """
    def wait(call):
        try:
            print("blocked", flush=True)
            call()
        finally: print("finally", flush=True)
    """
    code = START + waiting + BLOCKED[where]
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        for _ in range(BLOCKED[where].count("wait(")):
            process.wait_for_line("blocked")
        process.send_signal(signal.SIGTERM)
        output = process.finish(expected_code=-signal.SIGTERM)
    calls = BLOCKED[where].count("wait(")
    hooks = BLOCKED[where].count("on_crashed")
    assert output.count("finally") == calls
    assert output.count("hook: Terminated from outside (SIGTERM).") == hooks
    runs = flow_runs(service.channel)
    assert [run.state.type for run in runs] == [CRASHED] * hooks


GENERATORS = {
    "a flow": """
    @flow(on_crashed=[crashed])
    def values():
        yield 1
        wait(lambda: time.sleep(600))
        yield 2
    list(values())
    """,
    "a task": """
    @task
    def values():
        wait(lambda: time.sleep(600))
        yield 1
    list(values())
    """,
    "an async flow": """
    @flow(on_crashed=[crashed])
    async def values():
        yield 1
        try:
            print("blocked", flush=True)
            await asyncio.sleep(600)
        finally: print("finally", flush=True)
        yield 2
    async def consume():
        async for value in values(): pass
    asyncio.run(consume())
    """,
    "a flow that is closed": """
    @flow(on_crashed=[crashed])
    def values():
        try: yield 1
        finally: wait(lambda: time.sleep(600))
    each = values()
    next(each)
    each.close()
    """,
}


@pytest.mark.parametrize("where", GENERATORS)
def test_sigterm_ends_a_generator_while_its_own_code_runs(
    service: ServiceProcess, where: str
) -> None:
    waiting = """
    def wait(call):
        try:
            print("blocked", flush=True)
            call()
        finally: print("finally", flush=True)
    """
    code = START + waiting + GENERATORS[where]
    with FlowProcess(code, home=service.home / "client", address=service.address) as process:
        process.wait_for_line("blocked")
        process.process.send_signal(signal.SIGTERM)
        output = process.finish(expected_code=-signal.SIGTERM)
    hooks = code.count("on_crashed")
    assert output.count("finally") == 1
    assert output.count("hook: Terminated from outside (SIGTERM).") == hooks
    runs = [*flow_runs(service.channel), *task_runs(service.channel)]
    assert [run.state.type for run in runs] == [CRASHED]


def test_between_the_values_of_a_generator_sigterm_is_what_it_was(service: ServiceProcess) -> None:
    code = """
    @flow
    def values():
        for number in range(3):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            yield number
    for value in values():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    print("done")
    """
    with FlowProcess(
        START + code, home=service.home / "client", address=service.address
    ) as process:
        assert "done" in process.finish()


def test_sigterm_is_the_programs_where_it_handles_it(service: ServiceProcess) -> None:
    code = """
    signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True) or STUBBORN.set())
    @flow
    def outer():
        futures = stubborn.map(range(2))
        print("ready: mapped", flush=True)
        futures.wait()
    outer()
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    """
    with begun(code, service) as process:
        process.send_signal(signal.SIGTERM)
        assert "mine" in process.finish()
    (run,) = flow_runs(service.channel)
    assert run.state.name == "Completed"


def test_after_a_flow_sigterm_is_what_it_was(service: ServiceProcess) -> None:
    code = """
    @flow
    def outer(): assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    outer()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    @flow
    def forking():
        pid = os.fork()
        if not pid:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:  # not reached: nothing is raised in the child
                os._exit(0)
        print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    forking()
    """
    with FlowProcess(
        START + code, home=service.home / "client", address=service.address
    ) as process:
        assert f"child {-signal.SIGTERM}" in process.finish()


def test_workers_are_told_to_stop_and_it_is_said(service: ServiceProcess) -> None:
    code = """
    @task
    def stubborn(i):
        print("ready: a task", flush=True)
        time.sleep(600)
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def outer():
        futures = stubborn.map(range(20))
        print("ready: mapped", flush=True)
        futures.wait()
    outer()
    """
    with begun(code, service) as process:
        process.send_signal(signal.SIGINT)
        process.finish(expected_code=-signal.SIGINT)
    assert WAITS in process.errors
    assert "20 runs in it were cancelled" in process.errors
    assert {run.state.type for run in task_runs(service.channel)} == {CANCELLED}


def test_what_was_submitted_at_the_top_is_waited_for_with_a_word(service: ServiceProcess) -> None:
    code = """
    stubborn.submit(1)
    stubborn.submit(2)
    print("ready: submitted", flush=True)
    """
    with begun(code, service) as process:
        wait_for_error(process, "2 submitted task runs have not ended. Ctrl-C ends it at once.")
        process.send_signal(signal.SIGINT)
        process.finish()
    assert "Traceback" not in process.errors
