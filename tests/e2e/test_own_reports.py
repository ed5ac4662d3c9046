"""Read your own writes: the API client finds its process's reports, wherever it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

# The programs below use the tests' own helpers.
ENV = {"PYTHONPATH": str(Path(__file__).parents[2])}
IMPORTS = """
import asyncio, os
from flowspan import flow, get_client, runtime, task
from flowspan.task_runners import ProcessPoolTaskRunner
from tests.support.read_your_writes import ask_all, ask_all_async
"""

WHERE = {
    "flow": """
        @flow
        def outer():
            ask_all()
        outer()
    """,
    "asynchronous flow": """
        @flow
        async def outer():
            await ask_all_async()
        asyncio.run(outer())
    """,
    "task": """
        @task
        def asks():
            ask_all()
        @flow
        def outer():
            asks()
        outer()
    """,
    "asynchronous task": """
        @task
        async def asks():
            await ask_all_async()
        @flow
        async def outer():
            await asks()
        asyncio.run(outer())
    """,
    "submitted task": """
        @task
        def asks():
            ask_all()
        @flow
        def outer():
            asks.submit().result()
        outer()
    """,
    "subflow": """
        @flow
        def middle():
            ask_all()
        @flow
        def outer():
            middle()
        outer()
    """,
    "generator": """
        @flow
        def outer():
            ask_all()
            yield 1
        assert list(outer()) == [1]
    """,
    "worker process": """
        @task
        def asks():
            ask_all()
        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def outer():
            asks.submit().result()
        if __name__ == "__main__":
            outer()
    """,
    "forked child": """
        @flow
        def child():
            ask_all()
        @flow
        def outer():
            pid = os.fork()
            if not pid:
                child()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        outer()
    """,
    "retried flow": """
        attempts = []
        @flow(retries=1)
        def outer():
            attempts.append(1)
            if len(attempts) == 1:
                raise ValueError
            with get_client(sync_client=True) as client:
                states = client.read_flow_run_states(runtime.flow_run.id)
                names = [state.name for state in states]
            assert names == ["Pending", "Running", "Retrying"], names
        outer()
    """,
}


def in_order(code: str) -> str:
    """Return the program for a place, preceded by its helpers."""
    lines = [line.removeprefix("        ") for line in code.splitlines()]
    return IMPORTS + "\n".join(lines) + '\nif __name__ == "__main__":\n    print("done")\n'


@pytest.mark.parametrize("where", WHERE)
def test_every_question_finds_what_the_process_has_reported(
    where: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = in_order(WHERE[where])
    assert "done" in run_code(code, home=flowspan_home, address=service.address, env=ENV)


@pytest.mark.parametrize("kind", ["flow", "task"])
@pytest.mark.parametrize("end", ["completion", "failure"])
def test_hooks_find_the_run_that_has_ended(
    kind: str, end: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = f"""
        from flowspan import flow, get_client, task

        def hook(_, run, state):
            with get_client(sync_client=True) as client:
                found = client.read_{kind}_run(run.id)
                assert found.state.is_final()
                print(found.state.name, len(client.read_{kind}_run_states(run.id)), flush=True)

        async def async_hook(_, run, state):
            async with get_client() as client:
                print((await client.read_{kind}_run(run.id)).state.name, flush=True)

        @{kind}(on_{end}=[hook, async_hook])
        def ends():
            if "{end}" == "failure":
                raise ValueError

        @flow
        def outer():
            ends(return_state=True)

        outer()
    """
    name = {"completion": "Completed", "failure": "Failed"}[end]
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.split() == [name, "3", name]


def test_the_end_of_a_flow_is_found_after_it(service: ServiceProcess, flowspan_home: Path) -> None:
    code = """
        from flowspan import flow, get_client, get_run_logger, task

        @task
        def alone():
            get_run_logger().info("alone")
            return 1

        @flow
        def outer():
            return alone()

        futures = [alone.submit() for _ in range(20)]
        values = [future.result() for future in futures]
        with get_client(sync_client=True) as client:
            assert len(list(client.read_task_runs())) == 20
            assert all(run.state.is_completed() for run in client.read_task_runs())
            outer()
            (run,) = client.read_flow_runs()
            assert run.state.is_completed()
        print("done")
    """
    assert "done" in run_code(code, home=flowspan_home, address=service.address)


# The process's own service does not answer, and a flush would wait for it for ten minutes.
PAUSED = """
    import os, time
    from contextlib import suppress
    from flowspan import flow, get_client, runtime, task
    from flowspan.exceptions import FlowspanError, ServiceUnavailableError

    @task
    def small(): ...

    @flow
    def outer():
        small()
        with get_client(sync_client=True) as client:
            client.read_flow_run(runtime.flow_run.id)
            print("paused, please", flush=True)
            input()
            small()
            {ask}
    outer()
    print("done", flush=True)
    os._exit(0)
"""


def test_a_client_of_another_service_does_not_wait(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service, other = start_service(), start_service()
    ask = f"""
            with get_client(sync_client=True, address="{other.address}") as elsewhere:
                print("found", len(list(elsewhere.read_flow_runs())), flush=True)
    """
    env = {"FLOWSPAN_FLUSH_TIMEOUT_S": "600"}
    code = PAUSED.format(ask=ask.strip())
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("paused, please")
        service.pause()
        process.say("")
        process.wait_for_line("found 0")
        service.go_on()
        process.wait_for_line("done")


def test_the_waiting_ends_with_the_patience_of_the_client(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    ask = """
            try:
                client.with_options(timeout_s=0.3).read_flow_run(runtime.flow_run.id)
            except FlowspanError as error:
                print("refused", error.code, flush=True)
    """
    env = {"FLOWSPAN_FLUSH_TIMEOUT_S": "600"}
    code = PAUSED.format(ask=ask.strip())
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("paused, please")
        service.pause()
        process.say("")
        process.wait_for_line("refused")
        service.go_on()
        process.wait_for_line("done")


@pytest.mark.parametrize("is_connected", [False, True])
def test_a_service_that_is_gone_is_not_waited_for(
    *, is_connected: bool, service: ServiceProcess, flowspan_home: Path
) -> None:
    ask = f"""
            try:
                if not {is_connected}:
                    client = get_client(sync_client=True)
                client.read_flow_run(runtime.flow_run.id)
            except FlowspanError as error:
                print("refused", error.code, flush=True)
                os._exit(0)
    """
    env = {"FLOWSPAN_FLUSH_TIMEOUT_S": "600"}
    code = PAUSED.format(ask=ask.strip())
    with FlowProcess(code, home=flowspan_home, address=service.address, env=env) as process:
        process.wait_for_line("paused, please")
        service.kill()
        process.say("")
        assert process.wait_for_line("refused") == "refused service_unavailable"
    service.restart()


def test_after_a_restart_the_client_finds_what_was_kept_meanwhile(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    ask = """
            found = None
            while found is None:  # the call may still use the broken connection
                with get_client(sync_client=True) as again, suppress(ServiceUnavailableError):
                    found = [run.state.name for run in again.read_task_runs()]
            print("found", *found, flush=True)
    """
    code = PAUSED.format(ask=ask.strip())
    with FlowProcess(code, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("paused, please")
        service.restart()
        process.say("")
        assert process.wait_for_line("found") == "found Completed Completed"
        process.wait_for_line("done")


def test_another_address_of_the_same_service_waits_too(flowspan_home: Path) -> None:
    """The local service, through its socket and through a link to the socket."""
    code = """
        import os
        from flowspan import flow, get_client, runtime
        from flowspan.config import get_config

        @flow
        def outer():
            with get_client(sync_client=True) as client:
                address = client.address
            path = address.removeprefix("unix:")
            link = os.path.join(os.path.dirname(path), "l.sock")
            os.symlink(path, link)
            for each in (address, f"unix://{path}", f"unix:{link}"):
                inner(each)

        @flow
        def inner(address):
            with get_client(sync_client=True, address=address) as client:
                print(client.read_flow_run(runtime.flow_run.id).state.name)

        outer()
    """
    assert run_code(code, home=flowspan_home).split() == ["Running"] * 3


def test_names_of_this_machine_are_the_same_service(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = f"""
        from flowspan import flow, get_client, runtime

        @flow
        def inner(address):
            with get_client(sync_client=True, address=address) as client:
                print(client.read_flow_run(runtime.flow_run.id).state.name)

        inner("127.0.0.1:{service.port}")
        inner("localhost:{service.port}")
    """
    output = run_code(code, home=flowspan_home, address=service.address)
    assert output.split() == ["Running"] * 2


def test_all_addresses_that_a_service_listens_at_are_the_same_service(
    service: ServiceProcess,
) -> None:
    code = """
        import json
        from flowspan import flow, get_client, runtime
        from flowspan.config import get_config

        @flow
        def inner(address):
            with get_client(sync_client=True, address=address) as client:
                print(client.read_flow_run(runtime.flow_run.id).state.name)

        addresses = json.loads((get_config().home / "service.json").read_text())["addresses"]
        assert len({each.startswith("unix:") for each in addresses}) == 2, addresses
        inner(addresses[0])  # the first read waits in any case
        for each in addresses:
            inner(each)
    """
    output = run_code(code, home=service.home, address=service.address)
    assert set(output.split()) == {"Running"}
