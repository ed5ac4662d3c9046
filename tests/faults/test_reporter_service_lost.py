"""Promise 6 of the reporter alone: emitted events reach the service once it is up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.engine_events import Journal
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, wait_until

from flowspan.config import Config
from flowspan.reporter import Reporter, list_spools, push_spools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.service import ServiceProcess

TIMEOUT_S = 60.0
# The programs below use the tests' own helpers.
ENV = {"PYTHONPATH": str(Path(__file__).parents[2])}
IMPATIENT = {**ENV, "FLOWSPAN_FLUSH_TIMEOUT_S": "0.2"}

EMIT_AND_WAIT = """
    from flowspan.reporter import get_reporter
    from tests.support.engine_events import Journal

    reporter = get_reporter()
    journal = Journal(reporter)
    for _ in range(50):
        print("run", journal.run())
    print("open", journal.begin())
    print("emitted", flush=True)
    input()
"""

EMIT_AND_END = """
    from flowspan.reporter import get_reporter
    from tests.support.engine_events import Journal

    print("run", Journal(get_reporter()).run())
"""


@pytest.fixture
def make_reporter(flowspan_home: Path) -> Iterator[Callable[..., Reporter]]:
    reporters: list[Reporter] = []

    def make(address: str, **settings: object) -> Reporter:
        reporter = Reporter(Config(address=address, home=flowspan_home, **settings))  # type: ignore[arg-type] # from the caller
        reporters.append(reporter)
        return reporter

    yield make
    for reporter in reporters:
        reporter.close()


@pytest.mark.parametrize("crash_point", ["before_commit:4", "after_commit:4", "before_ack:2"])
def test_promise_acked_is_durable_and_the_rest_is_sent_again(
    crash_point: str,
    start_service: Callable[..., ServiceProcess],
    make_reporter: Callable[..., Reporter],
) -> None:
    service = start_service(crash_point=crash_point)
    reporter = make_reporter(service.address)
    journal = Journal(reporter)
    for _ in range(200):
        journal.run(log_count=1)
        reporter.flush(0.02)
        if not service.is_running:
            break
    assert service.wait() == -9
    service.restart()
    wait_until(lambda: reporter.flush(1.0).acked, "all to be acked")
    journal.check(service.channel)


def test_promise_flow_outlives_service_that_is_down_at_launch(
    service: ServiceProcess, make_reporter: Callable[..., Reporter], flowspan_home: Path
) -> None:
    service.kill()
    reporter = make_reporter(service.address)
    journal = Journal(reporter)
    for _ in range(50):
        journal.run()
    outcome = reporter.flush(0.3)
    assert not outcome.acked
    assert outcome.spooled
    (spool,) = list_spools(Config(home=flowspan_home))
    assert spool.is_owned
    assert spool.session_id == reporter.session_id

    service.restart()
    wait_until(lambda: reporter.flush(1.0).acked, "all to be acked")
    journal.check(service.channel)
    assert list_spools(Config(home=flowspan_home)) == []


def test_promise_flow_outlives_service_that_is_killed_again_and_again(
    service: ServiceProcess, make_reporter: Callable[..., Reporter], flowspan_home: Path
) -> None:
    reporter = make_reporter(service.address)
    journal = Journal(reporter)
    for _ in range(4):
        for _ in range(30):
            journal.run()
        service.kill()
        for _ in range(30):
            journal.run()
        service.restart()
    assert reporter.flush(TIMEOUT_S).acked
    journal.check(service.channel)
    assert list_spools(Config(home=flowspan_home)) == []


def test_promise_flow_outlives_service_though_its_process_is_killed_then(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    service.kill()
    with FlowProcess(
        EMIT_AND_WAIT, home=flowspan_home, address=service.address, env=ENV
    ) as process:
        process.wait_for_line("emitted")
        time.sleep(0.5)  # Only events emitted a moment before the kill may be lost.
        process.kill()
    run_ids = [line.split()[1] for line in process.lines if line.startswith("run ")]
    (open_id,) = [line.split()[1] for line in process.lines if line.startswith("open ")]
    assert len(run_ids) == 50

    service.restart()
    output = run_code(EMIT_AND_END, home=flowspan_home, address=service.address, env=ENV)
    runs = wait_until(
        lambda: len(found := flow_runs(service.channel)) == 52 and found, "the spooled runs"
    )
    assert {run.id for run in runs} == {*run_ids, open_id, output.split()[1]}
    wait_until(lambda: not list_spools(Config(home=flowspan_home)), "the spool to be deleted")
    for run_id in run_ids:
        assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]
    # The session was ended on its behalf: no process executes this run any more.
    assert flow_history(service.channel, open_id) == ["Pending", "Running", "Crashed"]


def test_promise_flow_outlives_service_when_it_ends_without(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    service.kill()
    code = EMIT_AND_END + "\n    get_reporter().flush()\n"
    with FlowProcess(code, home=flowspan_home, address=service.address, env=IMPATIENT) as process:
        run_id = process.finish().split()[1]
    (spool,) = list_spools(Config(home=flowspan_home))
    assert not spool.is_owned
    # One line gives its path and the command to run.
    (line,) = process.errors.splitlines()
    assert str(spool.path) in line
    assert "flowspan spool push" in line

    service.restart()
    seen: list[int] = []
    config = Config(home=flowspan_home, address=service.address)
    (result,) = push_spools(config, lambda now: seen.append(now.events))
    assert result.is_done
    assert result.events == seen[-1] == 5
    assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]
    assert push_spools(config) == []


def test_a_spool_for_another_address_is_left_alone(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    other = "127.0.0.1:1"
    run_code(EMIT_AND_END, home=flowspan_home, address=other, env=IMPATIENT)
    (spool,) = list_spools(Config(home=flowspan_home))
    assert spool.address == other
    config = Config(home=flowspan_home, address=service.address)
    (left,) = push_spools(config)
    assert not left.is_done
    assert other in left.left
    (result,) = push_spools(config, any_address=True)
    assert result.is_done
    assert len(flow_runs(service.channel)) == 1


def test_promise_flow_outlives_service_and_only_one_process_brings_what_was_left(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    service.kill()
    for _ in range(3):
        run_code(EMIT_AND_END, home=flowspan_home, address=service.address, env=IMPATIENT)
    assert len(list_spools(Config(home=flowspan_home))) == 3
    service.restart()
    code = EMIT_AND_END + "\n    get_reporter().flush()\n    input()\n"
    with (
        FlowProcess(code, home=flowspan_home, address=service.address, env=ENV) as one,
        FlowProcess(code, home=flowspan_home, address=service.address, env=ENV) as other,
    ):
        wait_until(lambda: len(flow_runs(service.channel)) == 5, "all runs")
        for process in (one, other):
            process.say("")
            process.finish()
            assert not process.errors
    wait_until(lambda: not list_spools(Config(home=flowspan_home)), "the spools to be deleted")


def test_promise_flow_outlives_service_that_has_lost_its_database(
    service: ServiceProcess, make_reporter: Callable[..., Reporter]
) -> None:
    reporter = make_reporter(service.address)
    journal = Journal(reporter)
    journal.run()
    assert reporter.flush(TIMEOUT_S).acked
    service.kill()
    for path in service.home.glob("flowspan.db*"):
        path.unlink()
    service.restart()
    after = Journal(reporter)
    after.run()
    assert reporter.flush(TIMEOUT_S).acked
    after.check(service.channel)
