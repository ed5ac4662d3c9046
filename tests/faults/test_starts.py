"""A flow that ends its process at once still leaves its run, also after earlier runs."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, wait_until

from flowspan.config import Config
from flowspan.reporter import list_spools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

START = """
    import asyncio, json, os, random, signal, sys, threading, time
    from flowspan import flow, task

    @flow
    def harmless(): ...
"""
# The first line of user code ends the process, before anything can be sent.
DEATHS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(1)",
    "a fault in native code": "os.kill(os.getpid(), signal.SIGSEGV)",
    "os.abort": "os.abort()",
}
LATER_FLOWS = {
    "flow": """
    @flow
    def dies():
        {death}

    harmless()
    dies()
    """,
    "third flow": """
    @flow
    def dies():
        {death}

    harmless()
    time.sleep(0.1)
    harmless()
    dies()
    """,
    "async flow": """
    @flow
    async def dies():
        {death}

    harmless()
    asyncio.run(dies())
    """,
    "generator": """
    @flow
    def dies():
        {death}
        yield 1

    harmless()
    list(dies())
    """,
    "flow in a thread": """
    @flow
    def dies():
        {death}

    harmless()
    thread = threading.Thread(target=dies)
    thread.start()
    thread.join()
    """,
    "flow beside threads that compute": """
    @flow
    def dies():
        {death}

    def compute():
        while True: ...

    harmless()
    for _ in range(3):
        threading.Thread(target=compute, daemon=True).start()
    dies()
    """,
    "flow with its own name, tags and parameters": """
    @flow(flow_run_name="of {{size}}")
    def dies(size: int):
        {death}

    harmless()
    dies(3)
    """,
    "traced flow": """
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"

    @flow
    def dies():
        {death}

    harmless()
    dies()
    """,
    "flow after a task outside of flows": """
    @task
    def before(): ...

    @flow
    def dies():
        {death}

    before()
    dies()
    """,
    "on_running hook": """
    def hook(flow, run, state):
        {death}

    @flow(on_running=[hook])
    def dies(): ...

    harmless()
    dies()
    """,
    "forked child of a flow, its second flow": """
    @flow
    def dies():
        {death}

    @flow
    def outer():
        pid = os.fork()
        if not pid:
            harmless()
            dies()
        os.waitpid(pid, 0)

    outer()
    """,
    "forked child, its second flow": """
    @flow
    def dies():
        {death}

    harmless()
    pid = os.fork()
    if not pid:
        harmless()
        dies()
    os.waitpid(pid, 0)
    os._exit(1)
    """,
}
PUSH = """
    from flowspan.config import get_config
    from flowspan.reporter import push_spools
    results = push_spools(get_config())
    assert all(result.is_done for result in results), results
"""


def push(home: Path, service: ServiceProcess) -> None:
    """Send the spools as the next process does in the background."""
    run_code(PUSH, home=home, address=service.address)


def die(body: str, death: str, *, home: Path, address: str | None) -> None:
    code = START + body.format(death=DEATHS[death])
    with FlowProcess(code, home=home, address=address) as process:
        process.finish(expected_code=None)


@pytest.mark.parametrize("body", LATER_FLOWS)
def test_a_later_flow_that_is_killed_at_once_is_crashed(
    body: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    die(LATER_FLOWS[body], "SIGKILL", home=flowspan_home, address=service.address)
    push(flowspan_home, service)
    (run,) = (run for run in flow_runs(service.channel) if run.flow_name == "dies")
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Crashed"]
    others = [run for run in flow_runs(service.channel) if run.flow_name != "dies"]
    assert all(run.state.name == "Completed" for run in others)
    assert list_spools(Config(home=flowspan_home)) == []


@pytest.mark.parametrize("death", DEATHS)
def test_whatever_ends_the_process(
    death: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    die(LATER_FLOWS["flow"], death, home=flowspan_home, address=service.address)
    push(flowspan_home, service)
    (run,) = (run for run in flow_runs(service.channel) if run.flow_name == "dies")
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Crashed"]


def test_the_next_process_reports_it(service: ServiceProcess, flowspan_home: Path) -> None:
    die(LATER_FLOWS["flow"], "SIGKILL", home=flowspan_home, address=service.address)
    code = START + "    harmless()\n"
    run_code(code, home=flowspan_home, address=service.address)

    def is_crashed() -> bool:
        runs = [run for run in flow_runs(service.channel) if run.flow_name == "dies"]
        return [run.state.name for run in runs] == ["Crashed"]

    wait_until(is_crashed, "the run to be Crashed")


def test_what_the_service_knows_is_not_told_twice(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=1.0)
    code = """
        @flow
        def long():
            print("running", flush=True)
            time.sleep(60)

        harmless()
        long()
    """
    with FlowProcess(
        START + code.replace("\n    ", "\n"), home=flowspan_home, address=service.address
    ) as process:
        process.wait_for_line("running")
        process.kill()

    def long_run() -> str:
        runs = [run for run in flow_runs(service.channel) if run.flow_name == "long"]
        return runs[0].state.name if runs else ""

    # The run was killed unreported: the file on disk crashes it first, later its lease would.
    push(flowspan_home, service)
    wait_until(lambda: long_run() == "Crashed", "the run to be Crashed")
    time.sleep(1.5)
    push(flowspan_home, service)
    (run,) = (run for run in flow_runs(service.channel) if run.flow_name == "long")
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Crashed"]


def test_a_run_that_the_service_called_dead_is_not_started_again(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    """The file on disk is older than the service's knowledge."""
    service = start_service(lease_s=1.0)
    # Keep the file as it was when the run began, as if the process had died right then.
    code = """
        from flowspan.reporter.spool.run_starts import Starts
        Starts.forget = lambda self, *, if_true: None

        @flow
        def long():
            print("running", flush=True)
            time.sleep(60)

        harmless()
        harmless()
        long()
    """
    with FlowProcess(
        START + code.replace("\n    ", "\n"), home=flowspan_home, address=service.address
    ) as process:
        process.wait_for_line("running")
        wait_until(
            lambda: any(
                run.flow_name == "long" and run.state.name == "Running"
                for run in flow_runs(service.channel)
            ),
            "the run to be reported",
        )
        process.kill()

    def states() -> dict[str, list[str]]:
        return {run.id: flow_history(service.channel, run.id) for run in flow_runs(service.channel)}

    wait_until(lambda: any("Crashed" in each for each in states().values()), "the run to crash")
    before = states()
    assert len(list_spools(Config(home=flowspan_home))) == 1
    push(flowspan_home, service)
    assert states() == before
    assert list_spools(Config(home=flowspan_home)) == []


MANY = """
    @flow
    def long():
        time.sleep(60)

    # As if the process had died right after the service had stored the starts.
    from flowspan.reporter.spool.run_starts import Starts
    Starts.forget = lambda self, *, if_true: None
    harmless()
    for _ in range(5):
        threading.Thread(target=long, daemon=True).start()
    time.sleep(1)
    print("running", flush=True)
    time.sleep(60)
"""
STOPPED = """
    import os, signal
    from flowspan.config import get_config
    from flowspan.reporter import push_spools

    def stop(result):
        # The first answer belongs to a creation.
        if result.events or result.session_id:
            os.kill(os.getpid(), signal.SIGKILL)

    push_spools(get_config(), stop)
"""


def leave_starts(service: ServiceProcess, home: Path) -> dict[str, list[str]]:
    """Kill a process whose starts the service all knows; return the histories of its runs."""
    with FlowProcess(START + MANY, home=home, address=service.address) as process:
        process.wait_for_line("running")
        process.kill()

    def histories() -> dict[str, list[str]]:
        return {run.id: flow_history(service.channel, run.id) for run in flow_runs(service.channel)}

    wait_until(lambda: sum("Crashed" in each for each in histories().values()) == 5, "the crashes")
    return histories()


def test_a_push_that_is_killed_starts_no_run_again(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=1.0)
    before = leave_starts(service, flowspan_home)
    for _ in range(3):
        run_code(STOPPED, home=flowspan_home, address=service.address, expected_code=None)
    push(flowspan_home, service)
    assert {each: flow_history(service.channel, each) for each in before} == before


def test_a_damaged_creation_starts_no_run_again(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=1.0)
    before = leave_starts(service, flowspan_home)
    (path,) = (flowspan_home / "spool").glob("*.starts.spool")
    data = bytearray(path.read_bytes())
    # Within the batch of the first record, which is a creation.
    place = data.index(b"\xf5FSR") + 60
    data[place] ^= 0xFF
    path.write_bytes(data)
    run_code(PUSH.replace("assert all", "any"), home=flowspan_home, address=service.address)
    assert {each: flow_history(service.channel, each) for each in before} == before


def test_a_creation_that_came_alone_does_not_hide_that_the_run_began(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    """The service knows the run, but not its RUNNING."""
    code = """
    from flowspan.core.events import STATE
    from flowspan.reporter import get_reporter
    from flowspan.reporter.reporter import Reporter

    harmless()
    emit = Reporter.emit
    Reporter.emit = lambda self, event: None if event[0] == STATE else emit(self, event)

    @flow
    def dies():
        get_reporter().flush(5)
        os.kill(os.getpid(), signal.SIGKILL)

    from flowspan.reporter.spool.run_starts import Starts
    Starts.forget = lambda self, *, if_true: None
    from flowspan.drivers.process import get_process
    get_process().emit = lambda event: get_reporter().emit(event)
    dies()
    """
    with FlowProcess(START + code, home=flowspan_home, address=service.address) as process:
        process.finish(expected_code=None)
    (run,) = (run for run in flow_runs(service.channel) if run.flow_name == "dies")
    assert flow_history(service.channel, run.id) == ["Pending"]
    push(flowspan_home, service)
    assert flow_history(service.channel, run.id) == ["Pending", "Running", "Crashed"]


def test_starts_wait_while_another_process_sends_what_followed_them(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
    from flowspan.reporter.spool.run_starts import Starts
    Starts.forget = lambda self, *, if_true: None
    os.environ["FLOWSPAN_FLUSH_TIMEOUT_S"] = "0.1"
    harmless()
    print("up", flush=True)
    input()
    harmless()
    harmless()
    os._exit(1)
    """
    slow = """
    import time
    from flowspan.config import get_config
    from flowspan.reporter import push_spools

    def wait(result):
        print("sending", flush=True)
        input()

    push_spools(get_config(), wait)
    """
    with FlowProcess(START + code, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("up")
        service.kill()
        process.say("")
        process.finish(expected_code=1)
    service.restart()
    with FlowProcess(slow, home=flowspan_home, address=service.address) as adopter:
        adopter.wait_for_line("sending")
        run_code(PUSH.replace("assert all", "any"), home=flowspan_home, address=service.address)
        assert len(list((flowspan_home / "spool").glob("*.starts.spool"))) == 1
        for _ in range(20):
            adopter.say("")
        adopter.finish()
    push(flowspan_home, service)
    histories = [flow_history(service.channel, run.id) for run in flow_runs(service.channel)]
    assert histories == [["Pending", "Running", "Completed"]] * 3
    assert list_spools(Config(home=flowspan_home)) == []


def test_nothing_is_left_by_a_process_that_ends_well(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        for _ in range(20):
            harmless()
        from flowspan.config import get_config
        from flowspan.reporter import list_spools
        assert list_spools(get_config()) == []
        print(os.listdir(get_config().home / "spool"))
    """
    printed = run_code(
        START + code.replace("\n    ", "\n"), home=flowspan_home, address=service.address
    )
    assert ".starts.spool" in printed
    assert list((flowspan_home / "spool").iterdir()) == []


def test_a_home_that_cannot_be_written_is_no_trouble(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        os.environ["FLOWSPAN_HOME"] += "/file/home"
        for _ in range(3):
            harmless()
    """
    flowspan_home.mkdir()
    (flowspan_home / "file").write_text("")
    env = {"FLOWSPAN_LOGGING_TO_CONSOLE": "0"}
    program = START + code.replace("\n    ", "\n")
    with FlowProcess(program, home=flowspan_home, address=service.address, env=env) as process:
        process.finish()
        assert process.errors == ""
    assert len(flow_runs(service.channel)) == 3


KILLED = """
    journal = os.open(sys.argv[1] if len(sys.argv) > 1 else os.environ["JOURNAL"],
                      os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @flow
    def noted(seconds):
        from flowspan import runtime
        os.write(journal, (json.dumps(str(runtime.flow_run.id)) + "\\n").encode())
        time.sleep(seconds)

    def go_on():
        while True:
            noted(random.choice([0, 0, 0.001, 0.005, 0.02]))

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    # From Python 3.12 on, no thread can be started once the main thread has ended.
    for thread in threads:
        thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("service_is_away", [False, True])
def test_no_flow_that_began_is_unknown(
    service_is_away: bool,
    service: ServiceProcess,
    flowspan_home: Path,
    tmp_path: Path,
) -> None:
    """Processes that run flows in four threads are killed at random moments."""
    chance = random.Random(9)
    journals = [tmp_path / f"journal-{number}" for number in range(8)]
    for journal in journals:
        env = {"JOURNAL": str(journal), "FLOWSPAN_LOGGING_TO_CONSOLE": "0"}
        with FlowProcess(
            START + KILLED, home=flowspan_home, address=service.address, env=env
        ) as process:
            wait_until(
                lambda journal=journal: journal.exists() and journal.stat().st_size > 0,
                "the first flow",
            )
            if service_is_away:
                service.kill()
            time.sleep(chance.uniform(0.0, 0.3))
            process.kill()
        if service_is_away:
            service.restart()
    push(flowspan_home, service)
    began = {json.loads(line) for journal in journals for line in journal.read_text().splitlines()}
    assert len(began) > 8
    known = {run.id: run for run in flow_runs(service.channel)}
    assert began - known.keys() == set()
