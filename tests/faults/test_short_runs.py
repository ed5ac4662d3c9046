"""Short runs, while services that know the joined event and others take turns."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.engine_events import COMPLETED, RUNNING, created, entered, flow_record, logged
from tests.support.proxy import Proxy
from tests.support.report_client import new_id
from tests.support.run_queries import flow_history, logs, task_history, wait_until
from tests.support.version_skew import SkewProxy

from flowspan.config import Config
from flowspan.core.events import RunRecord
from flowspan.reporter import Reporter
from flowspan.v1 import report_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.service import ServiceProcess

REPORT = "/flowspan.v1.ReportService/Report"
TIMEOUT_S = 60.0


def without_capabilities(method: str, frame: bytes) -> Iterable[bytes]:
    """Rewrite the Welcome as a service of version 0.1 would send it."""
    if method != REPORT:
        return [frame]
    response = report_service_pb2.ReportResponse.FromString(frame)
    if response.HasField("welcome"):
        del response.welcome.capabilities[:]
    return [response.SerializeToString()]


def joined_count(proxy: SkewProxy) -> int:
    """Return the number of joined events that came through."""
    frames = [
        report_service_pb2.ReportRequest.FromString(frame)
        for call in proxy.recorded
        if call.method == REPORT
        for frame in call.requests
    ]
    return sum(event.HasField("run_completed") for frame in frames for event in frame.batch.events)


class Tasks:
    """A flow run and its tasks, emitted as the engine does."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        record = flow_record(new_id())
        self.flow_run_id = record.id
        self.run_ids: list[str] = []
        reporter.emit(created(record))
        reporter.emit(entered(record.id, RUNNING, "Running"))
        # Without a connection, events go to the spool, and are not joined.
        assert reporter.wait_welcome(TIMEOUT_S) is not None

    def run(self, count: int) -> None:
        for _ in range(count):
            record = RunRecord(
                new_id(),
                is_flow=False,
                function_name="t",
                run_name="t-1",
                parent_run_id=self.flow_run_id,
                root_run_id=self.flow_run_id,
                flow_run_id=self.flow_run_id,
            )
            self.run_ids.append(record.id)
            self.reporter.emit(created(record))
            self.reporter.emit(entered(record.id, RUNNING, "Running"))
            self.reporter.emit(logged(record.id, record.id))
            self.reporter.emit(entered(record.id, COMPLETED, "Completed"))

    def end(self) -> None:
        self.reporter.emit(entered(self.flow_run_id, COMPLETED, "Completed"))

    def check(self, service: ServiceProcess) -> None:
        """Compare with the service: it has each run and each log record once."""
        expected = ["Pending", "Running", "Completed"]
        assert flow_history(service.channel, self.flow_run_id) == expected
        for run_id in self.run_ids:
            assert task_history(service.channel, run_id) == expected
        found = logs(service.channel, self.flow_run_id, descendants=True)
        assert sorted(record.message for record in found) == sorted(self.run_ids)


@pytest.mark.parametrize("seed", [1, 2])
def test_promise_exactly_once_while_old_and_new_services_take_turns(
    seed: int, service: ServiceProcess, flowspan_home: Path
) -> None:
    dice = random.Random(seed)
    with (
        SkewProxy(service.address, responses=without_capabilities) as old,
        SkewProxy(service.address) as new,
        Proxy(new.address) as proxy,
    ):
        reporter = Reporter(Config(address=proxy.address, home=flowspan_home))
        tasks = Tasks(reporter)
        try:
            tasks.run(20)
            assert reporter.flush(TIMEOUT_S).acked
            proxy.cut_after = lambda: int(10 ** dice.uniform(3.0, 5.0))
            proxy.cut()
            while proxy.cut_count < 12:
                proxy.retarget(dice.choice((old, new)).address)
                tasks.run(dice.randint(1, 40))
                reporter.flush(0.05)
            proxy.cut_after = lambda: None
            proxy.retarget(old.address)
            proxy.cut()
            tasks.run(20)
            tasks.end()
            wait_until(lambda: reporter.flush(TIMEOUT_S).acked, "all to be acked")
        finally:
            reporter.close()
        assert joined_count(new) > 10
        assert joined_count(old) == 0
    tasks.check(service)


def test_a_spool_from_a_newer_service_is_sent_to_an_older_one(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    with (
        SkewProxy(service.address, responses=without_capabilities) as old,
        SkewProxy(service.address) as new,
        Proxy(new.address) as proxy,
    ):
        config = Config(address=proxy.address, home=flowspan_home)
        reporter = Reporter(config)
        tasks = Tasks(reporter)
        tasks.run(5)
        assert reporter.flush(TIMEOUT_S).acked
        before = joined_count(new)
        assert before > 0
        proxy.is_swallowing = True
        # Built for the newer service, which does not answer any more.
        tasks.run(50)
        time.sleep(0.1)
        tasks.end()
        assert reporter.flush(0.5).spooled
        reporter.close(0.1)
        proxy.is_swallowing = False
        proxy.retarget(old.address)
        proxy.cut()
        other = Reporter(config)
        try:
            second = Tasks(other)
            second.end()
            assert other.flush(TIMEOUT_S).acked
            done = ["Pending", "Running", "Completed"]
            wait_until(
                lambda: flow_history(service.channel, tasks.flow_run_id) == done, "the spool"
            )
        finally:
            other.close()
        assert joined_count(old) == 0
    tasks.check(service)
