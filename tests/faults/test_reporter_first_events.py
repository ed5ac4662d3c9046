"""A process that is killed before the service is up still leaves its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, task_history, task_runs, wait_until

from flowspan.config import Config
from flowspan.reporter import list_spools

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import ServiceProcess

# The first line of user code ends the process, before anything can be sent.
DEATHS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(1)",
    "a fault in native code": "os.kill(os.getpid(), signal.SIGSEGV)",
}
STARTS = {
    "flow": """
        @flow
        def dies():
            {death}
        dies()
    """,
    "async flow": """
        @flow
        async def dies():
            {death}
        asyncio.run(dies())
    """,
    "generator": """
        @flow
        def dies():
            {death}
            yield 1
        list(dies())
    """,
    "task": """
        @task
        def dies():
            {death}
        dies()
    """,
    "submitted task": """
        @task
        def dies():
            {death}
        dies.submit().result()
    """,
    "forked child": """
        @flow
        def dies():
            {death}
        pid = os.fork()
        if not pid:
            dies()
        os.waitpid(pid, 0)
        os._exit(1)
    """,
    "traced flow": """
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
        @flow
        def dies():
            {death}
        dies()
    """,
}


def program(start: str, death: str) -> str:
    lines = [line.removeprefix("    ") for line in STARTS[start].format(death=death).splitlines()]
    return "    import asyncio, os, signal\n    from flowspan import flow, task\n" + "\n".join(
        lines
    )


def die(start: str, death: str, *, home: Path, address: str | None) -> None:
    with FlowProcess(program(start, DEATHS[death]), home=home, address=address) as process:
        process.finish(expected_code=None)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("death", ["SIGKILL", "os._exit"])
def test_a_run_that_is_killed_at_once_is_crashed_once_the_service_is_there(
    start: str, death: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    service.kill()
    die(start, death, home=flowspan_home, address=service.address)
    (spool,) = list_spools(Config(home=flowspan_home))
    assert not spool.is_owned
    service.restart()
    run_code(
        """
        from flowspan.config import get_config
        from flowspan.reporter import push_spools
        assert all(result.is_done for result in push_spools(get_config()))
        """,
        home=flowspan_home,
        address=service.address,
    )
    expected = ["Pending", "Running", "Crashed"]
    if start.endswith("task"):
        (run,) = task_runs(service.channel)
        assert task_history(service.channel, run.id) == expected
    else:
        (run,) = flow_runs(service.channel)
        assert flow_history(service.channel, run.id) == expected


@pytest.mark.parametrize("death", DEATHS)
def test_a_run_that_is_killed_before_its_local_service_is_up_leaves_a_trace(
    death: str, flowspan_home: Path
) -> None:
    die("flow", death, home=flowspan_home, address=None)
    assert len(list_spools(Config(home=flowspan_home))) == 1
    code = """
        import time
        from flowspan import flow, get_client
        from flowspan.client import RunFilter, StateType
        from flowspan.config import get_config
        from flowspan.reporter import list_spools

        @flow
        def next_one():
            # This process sends the events of the previous one.
            while any(not spool.is_owned for spool in list_spools(get_config())):
                time.sleep(0.02)

        next_one()
        crashed = RunFilter(function_names=("dies",), state_types=(StateType.CRASHED,))
        with get_client(sync_client=True) as client:
            while not list(client.read_flow_runs(crashed)):
                time.sleep(0.02)
        print("crashed")
    """
    assert "crashed" in run_code(code, home=flowspan_home)


@pytest.mark.parametrize("start", ["flow", "task"])
def test_a_run_that_is_killed_at_once_is_crashed_where_the_service_is_up(
    start: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    die(start, "SIGKILL", home=flowspan_home, address=service.address)
    run_code(
        """
        from flowspan.config import get_config
        from flowspan.reporter import push_spools
        assert all(result.is_done for result in push_spools(get_config()))
        """,
        home=flowspan_home,
        address=service.address,
    )
    runs = flow_runs if start == "flow" else task_runs
    history = flow_history if start == "flow" else task_history
    wait_until(lambda: runs(service.channel), "the run to exist")
    (run,) = runs(service.channel)
    wait_until(lambda: history(service.channel, run.id)[-1] == "Crashed", "the run to be Crashed")


def test_what_was_kept_for_the_first_connection_is_gone_after_it(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        from flowspan import flow
        from flowspan.config import get_config
        from flowspan.reporter import list_spools

        @flow
        def small(): ...

        small()
        assert list_spools(get_config()) == []
        print("done")
    """
    assert "done" in run_code(code, home=flowspan_home, address=service.address)


def test_a_home_that_cannot_be_written_is_no_trouble_while_the_service_answers(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    flowspan_home.mkdir()
    (flowspan_home / "file").write_text("")
    code = """
        import os
        os.environ["FLOWSPAN_HOME"] += "/file/home"
        from flowspan import flow

        @flow
        def small(): ...

        small()
    """
    env = {"FLOWSPAN_CONSOLE_LOG": "false"}
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        process.finish()
        assert process.errors == ""
    assert len(flow_runs(service.channel)) == 1
