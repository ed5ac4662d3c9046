"""The harness and its pytest plugin (flowspan.testing): isolated, and removed after the test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import wait_until

from flowspan import flow, get_client, get_run_logger, task
from flowspan.artifacts import create_markdown_artifact, create_table_artifact
from flowspan.config import get_config
from flowspan.exceptions import CancelRun, ConfigError, FlowspanError
from flowspan.task_runners import ProcessPoolTaskRunner
from flowspan.testing import flowspan_test_harness, temporary_settings
from flowspan.testing.utilities import prefect_test_harness

if TYPE_CHECKING:
    from flowspan.testing import Harness


@task
def add(a: int) -> int:
    get_run_logger().info("adds %d", a)
    create_table_artifact([{"a": a}], key="rows")
    return a + 1


@flow(log_prints=True)
def work(a: int = 1) -> int:
    create_markdown_artifact("# Report", key="report")
    print("prints")  # noqa: T201 - logged
    return add(a)


@flow
async def work_async(a: int = 1) -> int:
    return add(a) + await add.submit(a)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def in_processes() -> int:
    return add.submit(1).result()


def test_what_runs_have_left_behind(flowspan_harness: Harness) -> None:
    state = work(5, return_state=True)
    run = flowspan_harness.run(state)
    assert run.states == ["Pending", "Running", "Completed"]
    assert run.state.is_completed()
    assert run.parameters == {"a": 5}
    assert "prints" in run.logs
    assert "adds 5" in run.logs
    assert run.artifact("report") == "# Report"
    assert [each.key for each in run.artifacts] == ["report", "rows"]
    (called,) = run.runs
    assert called.id == run.run_of(add).id == flowspan_harness.task_run("add").id
    assert (called.function_name, called.attempts, called.is_flow) == ("add", 1, False)
    assert called.logs == ["adds 5"]
    assert called.artifact("rows") == [{"a": 5}]
    assert flowspan_harness.run(called.id).id == called.id
    with pytest.raises(LookupError, match="no artifact 'other'; its keys: report, rows"):
        run.artifact("other")
    with pytest.raises(LookupError, match=r"no run of 'other'\. Functions with runs: work"):
        flowspan_harness.flow_run("other")


def test_a_harness_has_nothing_of_others() -> None:
    for _ in range(3):
        with flowspan_test_harness() as harness:
            work()
            assert len(harness.flow_runs) == 1
        assert not harness.home.exists()


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSPAN_LOGGING_LEVEL", "ERROR")
    monkeypatch.setenv("FLOWSPAN_ADDRESS", "localhost:1")  # The user's own.
    before = dict(os.environ)
    with flowspan_test_harness({"persist_results": True}) as harness:
        assert "FLOWSPAN_LOGGING_LEVEL" not in os.environ
        state = work(return_state=True)
        assert "adds 1" in harness.run(state).logs
        assert harness.flow_run().state.result() == 2  # It was stored.
    assert dict(os.environ) == before


def test_harnesses_in_harnesses() -> None:
    with flowspan_test_harness() as around:
        work(1)
        with flowspan_test_harness() as inside:
            work(2)
            work(3)
            assert [run.parameters["a"] for run in inside.flow_runs] == [2, 3]
        work(4)
        assert [run.parameters["a"] for run in around.flow_runs] == [1, 4]


def test_harnesses_that_end_in_another_order() -> None:
    before = dict(os.environ)
    first, second = flowspan_test_harness(), flowspan_test_harness()
    first.__enter__()
    harness = second.__enter__()
    first.__exit__(None, None, None)
    work()
    assert len(harness.flow_runs) == 1
    second.__exit__(None, None, None)
    assert dict(os.environ) == before


def test_all_that_runs_in_the_block_reports_to_it(flowspan_harness: Harness) -> None:
    work(1)
    thread = threading.Thread(target=work, args=(2,))
    thread.start()
    thread.join()
    assert in_processes() == 2
    assert asyncio.run(work_async(4)) == 10
    code = "from flowspan import flow\n@flow\ndef in_a_subprocess(): pass\nin_a_subprocess()"
    subprocess.run([sys.executable, "-c", code], check=True)
    names = [run.function_name for run in flowspan_harness.flow_runs]
    assert names == ["work", "work", "in-processes", "work-async", "in-a-subprocess"]
    assert flowspan_harness.flow_run("in_a_subprocess").state.is_completed()


def test_settings_for_a_block(flowspan_harness: Harness) -> None:
    with temporary_settings(logging_level="ERROR"):
        asyncio.run(work_async(1))
        in_processes()
    work(2)
    assert [bool(run.logs) for run in flowspan_harness.flow_runs] == [False, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"logging_levle": "INFO"}, "did you mean 'logging_level'"),
        ({"logging_level": "LOUD"}, "FLOWSPAN_LOGGING_LEVEL='LOUD'"),
        ({"home": "/tmp"}, "its own service and home"),  # noqa: S108 - it is refused
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    before = dict(os.environ)
    with pytest.raises(ConfigError, match=message), flowspan_test_harness(settings):
        pass
    assert dict(os.environ) == before


@pytest.mark.usefixtures("flowspan_harness")
def test_a_harness_does_not_begin_within_a_run() -> None:
    @flow
    def inside() -> None:
        with flowspan_test_harness():
            pass

    with pytest.raises(FlowspanError, match="cannot start inside a run"):
        inside()


def test_runs_that_go_on_are_cancelled_and_report_nowhere_else(flowspan_home: Path) -> None:
    begun, ended = threading.Event(), threading.Event()
    outcome: list[BaseException] = []

    @flow
    def goes_on() -> None:
        begun.set()
        ended.wait(60)
        add(1)  # It is rejected.

    def run() -> None:
        try:
            goes_on()
        except CancelRun as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    with flowspan_test_harness():
        thread.start()
        begun.wait(60)
    ended.set()
    thread.join()
    assert "harness" in str(outcome[0])
    assert not (flowspan_home / "service.json").exists()
    with flowspan_test_harness() as other:
        assert other.flow_runs == []


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_is_raised_in_the_block_ends_it(raised: type[BaseException]) -> None:
    homes: list[Path] = []

    @flowspan_test_harness()
    def work_and_raise() -> None:
        work()
        homes.append(Path(os.environ["FLOWSPAN_HOME"]))
        raise raised

    with pytest.raises(raised):
        work_and_raise()
    assert not homes[0].exists()
    assert "FLOWSPAN_ADDRESS" not in os.environ


ENDED = """
    import os, signal, sys
    from flowspan import flow
    from flowspan.testing import flowspan_test_harness

    @flow
    def work():
        pass

    with flowspan_test_harness() as harness:
        work()
        print("in", harness.home, harness.process_id, flush=True)
        {}
"""


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(3)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os.kill(os.getpid(), signal.SIGINT)",
        "sys.exit(4)",
        # A forked child that is still alive does not keep the service alive.
        "os.fork() or input(); os._exit(5)",
    ],
)
def test_a_process_that_ends_takes_the_service_with_it(flowspan_home: Path, end: str) -> None:
    with FlowProcess(ENDED.format(end), home=flowspan_home) as process:
        _, home, pid = process.wait_for_line("in ").split()
        process.process.wait(60)
        wait_until(
            lambda: not Path(home).exists() and not _is_alive(int(pid)),
            "the home and the service to be gone",
        )
        assert process.process.stdin is not None
        process.process.stdin.close()  # A child that reads it may end now.


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_service_that_was_killed_is_followed_by_another() -> None:
    with flowspan_test_harness({"flush_timeout_s": 0.1}) as harness:
        os.kill(harness.process_id, 9)
        work()  # It works as before.
    with flowspan_test_harness() as harness:
        work()
        assert len(harness.flow_runs) == 1


def test_the_process_that_forks_services_may_be_lost() -> None:
    from flowspan.testing import services  # noqa: PLC0415 - an internal view

    with flowspan_test_harness({"flush_timeout_s": 0.1}):
        assert services._server is not None
        services._server._process.kill()
        services._server._process.wait()
    with flowspan_test_harness() as harness:
        work()
        assert len(harness.flow_runs) == 1


# In a process of its own, whose files, threads and objects are all of the harnesses.
MANY_HARNESSES = """
import gc, os, threading, time
from flowspan import flow, task
from flowspan.testing import flowspan_test_harness

@task
def add(a):
    return a + 1

@flow
def work():
    return add(1)

def one():
    with flowspan_test_harness() as harness:
        work()
        add.submit(1).result()
        assert len(harness.task_runs) == 2

def count():
    gc.collect()
    return len(os.listdir("/dev/fd")), threading.active_count(), len(gc.get_objects())

for _ in range(5):
    one()
before = count()
for _ in range(20):
    one()
# Threads of the block's task runner need a moment to notice the end.
end = time.monotonic() + 20
while count()[:2] != before[:2] and time.monotonic() < end:
    time.sleep(0.05)
print(*(after - start for after, start in zip(count(), before)))
"""


@pytest.mark.slow
def test_many_harnesses_leave_nothing_behind(tmp_path: Path) -> None:
    output = run_code(MANY_HARNESSES, home=tmp_path)
    files, threads, objects = map(int, output.split()[-3:])
    assert (files, threads) == (0, 0)
    assert objects < 20, "less than one object for each harness"


@pytest.mark.asyncio
async def test_in_coroutines(flowspan_harness: Harness) -> None:
    assert await work_async(1) == 4
    async with get_client() as client:
        assert len(await client.read_flow_runs()) == 1
    assert flowspan_harness.flow_run(work_async).state.is_completed()


def test_as_a_decorator() -> None:
    @flowspan_test_harness()
    def plain() -> int:
        return work(1)

    @flowspan_test_harness()
    async def awaited() -> int:
        return await work_async(1)

    assert (plain(), plain(), asyncio.run(awaited())) == (2, 2, 4)


SUITE = """
    import unittest
    import pytest
    from flowspan import flow
    from flowspan.testing import flowspan_test_harness

    @flow
    def work(n):
        pass

    @pytest.mark.parametrize("n", range(4))
    def test_alone(flowspan_harness, n):
        work(n)
        assert [run.parameters for run in flowspan_harness.flow_runs] == [{"n": n}]

    seen = []

    @pytest.mark.parametrize("n", range(4))
    def test_shared(flowspan_session_harness, n):
        seen.append(n)
        work(n)
        found = [run.parameters["n"] for run in flowspan_session_harness.flow_runs]
        assert found == seen

    def test_alone_within_shared(flowspan_session_harness, flowspan_harness):
        work(9)
        assert len(flowspan_harness.flow_runs) == 1
        assert len(flowspan_session_harness.flow_runs) == len(seen)

    class TestFlows(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.harness = cls.enterClassContext(flowspan_test_harness())

        def test_in_unittest(self):
            work(1)
            self.assertTrue(self.harness.flow_run(work).state.is_completed())
"""


@pytest.mark.parametrize("arguments", [[], ["-n", "2"]])
def test_the_plugin_s_fixtures(tmp_path: Path, arguments: list[str]) -> None:
    import textwrap  # noqa: PLC0415 - used only here

    (tmp_path / "test_suite.py").write_text(textwrap.dedent(SUITE))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout


def test_the_plugin_costs_nothing(tmp_path: Path) -> None:
    code = """
    import sys, pytest
    before = set(sys.modules)
    import flowspan.testing.plugin
    new = {name for name in set(sys.modules) - before if not name.startswith("_")}
    assert new == {"flowspan", "flowspan.version", "flowspan.testing", "flowspan.testing.plugin"}
    """
    run_code(code, home=tmp_path)


@pytest.mark.parametrize("options", [{}, {"server_startup_timeout": 90}], ids=str)
def test_prefects_name_for_the_harness_keeps_the_delays_of_retries(
    options: dict[str, int],
) -> None:
    @flow
    def count() -> int:
        return 1

    with prefect_test_harness(**options) as harness:
        assert count() == 1
        assert get_config().home == harness.home
        assert get_config().skip_retry_delays is False
        assert harness.flow_run(count).state.is_completed()
    assert get_config().home != harness.home
