"""The reporter in processes that fork, spawn and end in every way."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.flow_processes import FlowProcess, run_code
from tests.support.run_queries import flow_history, flow_runs, wait_until

from flowspan.config import Config
from flowspan.reporter import list_spools

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.service import ServiceProcess

# The programs below use the tests' own helpers.
ENV = {"PYTHONPATH": str(Path(__file__).parents[2])}
COMPLETE = ["Pending", "Running", "Completed"]

CHILDREN = """
    import json, multiprocessing, sys, threading
    from flowspan.reporter import get_reporter
    from tests.support.engine_events import Journal

    def work(number):
        reporter = get_reporter()
        run_id = Journal(reporter).run()
        assert reporter.flush(60).acked
        return run_id, reporter.session_id

    if __name__ == "__main__":
        journal = Journal(get_reporter())
        ids = [journal.run() for _ in range(3)]
        stop = threading.Event()

        def keep_busy():  # so that the reporter's thread is in the middle of something at each fork
            while not stop.is_set():
                ids.append(journal.run())
                stop.wait(0.01)

        thread = threading.Thread(target=keep_busy)
        thread.start()
        with multiprocessing.get_context({method!r}).Pool(3) as pool:
            children = pool.map(work, range(12), chunksize=1)
            pool.close()
            pool.join()
        stop.set()
        thread.join()
        assert get_reporter().flush(60).acked
        sessions = {{session for _, session in children}}
        assert get_reporter().session_id not in sessions
        print(json.dumps(ids + [run_id for run_id, _ in children]))
"""

FORK_IN_A_FLOW = """
    import json, os
    from flowspan.reporter import get_reporter
    from tests.support.engine_events import Journal

    reporter = get_reporter()
    journal = Journal(reporter)
    first = journal.run()
    kept = reporter.emit  # code may use a reference from before the fork
    pids = []
    for _ in range(20):
        ids = [journal.run() for _ in range(3)]
        pid = os.fork()
        if not pid:
            get_reporter().emit = kept
            child = Journal(reporter)
            child.run()
            os._exit(0 if reporter.flush(60).acked else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 20
    assert reporter.flush(60).acked
    print(first)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_report_in_sessions_of_their_own(
    method: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = CHILDREN.format(method=method)
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    run_ids = json.loads(output)
    assert {run.id for run in flow_runs(service.channel)} == set(run_ids)
    for run_id in run_ids:
        assert flow_history(service.channel, run_id) == COMPLETE


FLOWS = """
    import multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    from flowspan import flow, task

    @task
    def double(number):
        return number * 2

    @flow
    def inner(number):
        return double(number)

    def work(number):
        return inner(number)

    @flow
    def outer():
        first = inner(0)
        context = multiprocessing.get_context({method!r})
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            return first + sum(pool.map(work, range(1, 7)))

    if __name__ == "__main__":
        print("total", outer())
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_flows_in_parent_and_children(
    method: str, service: ServiceProcess, flowspan_home: Path
) -> None:
    code = FLOWS.format(method=method)
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    assert "total 42" in output
    runs = flow_runs(service.channel)
    assert len(runs) == 8
    for run in runs:
        assert flow_history(service.channel, run.id) == COMPLETE


def test_forks_in_the_middle_of_reporting(service: ServiceProcess, flowspan_home: Path) -> None:
    run_code(FORK_IN_A_FLOW, home=flowspan_home, address=service.address, env=ENV)
    runs = flow_runs(service.channel)
    assert len(runs) == 1 + 20 * 3 + 20
    assert {flow_history(service.channel, run.id)[-1] for run in runs} == {"Completed"}


def test_a_forked_child_does_not_keep_the_parents_connection(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=3600.0, grace_s=0.5)
    code = """
        import os, time
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import Journal

        journal = Journal(get_reporter())
        run_id = journal.begin()
        assert get_reporter().flush(60).acked
        if not os.fork():
            os.close(1), os.close(2)  # the test reads both until they close
            time.sleep(20)
            os._exit(0)
        print("forked", flush=True)
        input()
    """
    with FlowProcess(code, home=flowspan_home, address=service.address, env=ENV) as process:
        process.wait_for_line("forked")
        process.kill()
        # The child holds no connection: the break is detected, although the lease is an hour.
        wait_until(
            lambda: [run.state.name for run in flow_runs(service.channel)] == ["Crashed"],
            "the parent's run to be Crashed",
        )


def test_a_child_of_multiprocessing_flushes_at_its_end(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    code = """
        import multiprocessing
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import Journal

        def work():
            print(Journal(get_reporter()).run(), flush=True)

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
    """
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    assert flow_history(service.channel, output.strip()) == COMPLETE


def test_the_end_of_a_process_flushes_and_says_goodbye(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=3600.0, grace_s=3600.0)
    code = """
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import Journal

        journal = Journal(get_reporter())
        print(journal.run())
        print(journal.begin())
    """
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    done, left = output.split()
    assert flow_history(service.channel, done) == COMPLETE
    # Only a Goodbye ends it so soon.
    wait_until(
        lambda: flow_history(service.channel, left) == ["Pending", "Running", "Crashed"],
        "the unfinished run to be Crashed",
    )


def test_ctrl_c_during_a_flush_leaves_everything_in_the_spool(flowspan_home: Path) -> None:
    code = """
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import Journal

        Journal(get_reporter()).run()
        try:
            print("flushing", flush=True)
            get_reporter().flush(60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    with FlowProcess(code, home=flowspan_home, address="127.0.0.1:1", env=ENV) as process:
        process.wait_for_line("flushing")
        process.process.send_signal(signal.SIGINT)
        assert "interrupted" in process.finish()
    (spool,) = list_spools(Config(home=flowspan_home))
    assert not spool.is_owned
    assert spool.size_bytes > 500


def test_busy_code_does_not_keep_the_reporter_from_its_heartbeats(
    start_service: Callable[..., ServiceProcess], flowspan_home: Path
) -> None:
    service = start_service(lease_s=1.5, grace_s=3600.0)
    code = """
        import time
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import COMPLETED, Journal, entered

        reporter = get_reporter()
        run_id = Journal(reporter).begin()
        assert reporter.flush(60).acked
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            sum(range(10_000))
        reporter.emit(entered(run_id, COMPLETED, "Completed"))
        print(run_id)
    """
    output = run_code(code, home=flowspan_home, address=service.address, env=ENV)
    # It never crashed, although it was silent for three leases.
    assert flow_history(service.channel, output.strip()) == COMPLETE


def test_many_processes_start_one_local_service(flowspan_home: Path) -> None:
    code = """
        from flowspan.reporter import get_reporter
        from tests.support.engine_events import Journal

        Journal(get_reporter()).run()
        assert get_reporter().flush(60).acked
        print(open(get_reporter()._get_config().home / "service.json").read())
    """
    processes = [FlowProcess(code, home=flowspan_home, env=ENV) for _ in range(4)]
    try:
        outputs = {process.finish() for process in processes}
    finally:
        for process in processes:
            process.end()
    assert len(outputs) == 1
    log = (flowspan_home / "service.log").read_text()
    assert log.count("Creating a new database") == 1
